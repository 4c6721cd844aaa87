// Attention probability received by each key, summed over queries: the score of H2O-like policies, which a fused kernel
// never holds. A second pass over q and k, given each row's log-sum-exp. One warp per key and query head, any number format.
//
// Defines: ELEMENT, HEAD_DIM.
#include "attention.cuh"

constexpr int PARTS = (HEAD_DIM + WARP - 1) / WARP;

KERNEL column_sum(const ELEMENT* q, const ELEMENT* k, const float* lse, float* sums, const int* lengths, int batch,
                  int heads, int kv_heads, int q_len, int capacity, int causal, int window, int sinks,
                  float scale_log2) {
    const long long warp = static_cast<long long>(blockIdx.x) * (block_threads() / WARP) + thread_index() / WARP;
    if (warp >= static_cast<long long>(batch) * heads * capacity) return;
    const int key = static_cast<int>(warp % capacity);
    const long long batch_head = warp / capacity;
    const int head = static_cast<int>(batch_head % heads);
    const int sequence = static_cast<int>(batch_head / heads);
    const int lane = thread_index() % WARP;

    const KeyLayout layout = {lengths, nullptr, 0, 1, kv_heads, capacity, 0};
    const KeySet keys = key_set(layout, sequence, head / (heads / kv_heads));
    const Mask mask = {q_len, keys.length, causal, window, sinks};
    float sum = 0.0f;
    if (key < keys.length) {
        float k_part[PARTS];
        for (int i = 0; i < PARTS; ++i) {
            const int d = i * WARP + lane;
            k_part[i] = d < HEAD_DIM ? to_float(k[(keys.first_row + key) * HEAD_DIM + d]) * scale_log2 : 0.0f;
        }
        for (int query = 0; query < q_len; ++query) {
            if (!visible(mask, query, key)) continue;
            const long long row = batch_head * q_len + query;
            float score = 0.0f;
            for (int i = 0; i < PARTS; ++i) {
                const int d = i * WARP + lane;
                if (d < HEAD_DIM) score += k_part[i] * to_float(q[row * HEAD_DIM + d]);
            }
            sum += fast_exp2(warp_sum(score) - lse[row] / LN_2);
        }
    }
    if (lane == 0) sums[warp] = sum;
}
