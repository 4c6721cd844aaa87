// One warp per query row: the streaming dataflow of memory-free attention, one key after the other.
//
// Each key updates a running maximum, a running sum and a running output; nothing else is kept, whatever the length. Any
// number format and head size, masks, ragged lengths, tables of pages or kept keys, and a split of the keys over warps
// (joined by merge.cu). Written to be read: it is the CUDA form of the recurrence, and slow.
//
// Defines: ELEMENT, HEAD_DIM, V_DIM.
#include "attention.cuh"

constexpr int Q_PARTS = (HEAD_DIM + WARP - 1) / WARP;
constexpr int V_PARTS = (V_DIM + WARP - 1) / WARP;

KERNEL row_attention(const ELEMENT* q, const ELEMENT* k, const ELEMENT* v, ELEMENT* out, float* lse,
                     float* split_out, float* split_lse, const int* lengths, const int* table, int table_entries,
                     int block_rows, int batch, int heads, int kv_heads, int q_len, int capacity, int pooled,
                     int k_stride, int v_stride, int causal, int window, int sinks, int splits, float scale_log2) {
    const long long rows = static_cast<long long>(batch) * heads * q_len;
    const long long warp = static_cast<long long>(blockIdx.x) * (block_threads() / WARP) + thread_index() / WARP;
    if (warp >= rows * splits) return;
    const long long row = warp % rows;
    const int split = static_cast<int>(warp / rows);
    const int lane = thread_index() % WARP;
    const int query = static_cast<int>(row % q_len);
    const int head = static_cast<int>(row / q_len % heads);
    const int sequence = static_cast<int>(row / q_len / heads);

    const KeyLayout layout = {lengths, table, table_entries, block_rows, kv_heads, capacity, pooled};
    const KeySet keys = key_set(layout, sequence, head / (heads / kv_heads));
    const Mask mask = {q_len, keys.length, causal, window, sinks};
    const int per_split = (keys.length + splits - 1) / splits;
    const int first = split * per_split;
    const int last = min(first + per_split, keys.length);

    float q_part[Q_PARTS];
    for (int i = 0; i < Q_PARTS; ++i) {
        const int d = i * WARP + lane;
        q_part[i] = d < HEAD_DIM ? to_float(q[row * HEAD_DIM + d]) * scale_log2 : 0.0f;
    }
    float maximum = minus_infinity();
    float sum = 0.0f;
    float result[V_PARTS] = {};

    for (int key = first; key < last; ++key) {
        if (!visible(mask, query, key)) continue;
        const long long place = keys.first_row + keys.rows.row(key);
        float score = 0.0f;
        for (int i = 0; i < Q_PARTS; ++i) {
            const int d = i * WARP + lane;
            if (d < HEAD_DIM) score += q_part[i] * to_float(k[place * k_stride + d]);
        }
        score = warp_sum(score);
        const float top = fmaxf(maximum, score);
        const float correction = fast_exp2(maximum - top);
        const float weight = fast_exp2(score - top);
        sum = sum * correction + weight;
        for (int i = 0; i < V_PARTS; ++i) {
            const int d = i * WARP + lane;
            if (d < V_DIM) result[i] = result[i] * correction + weight * to_float(v[place * v_stride + d]);
        }
        maximum = top;
    }

    const float scale = sum > 0.0f ? 1.0f / sum : 0.0f;
    const float row_lse = sum > 0.0f ? maximum + log2f(sum) : minus_infinity();
    for (int i = 0; i < V_PARTS; ++i) {
        const int d = i * WARP + lane;
        if (d >= V_DIM) continue;
        if (splits == 1) {
            out[row * V_DIM + d] = round_like(result[i] * scale, ELEMENT{});
        } else {
            split_out[warp * V_DIM + d] = result[i] * scale;
        }
    }
    if (lane == 0) {
        if (splits == 1) {
            lse[row] = row_lse * LN_2;
        } else {
            split_lse[warp] = row_lse;
        }
    }
}
