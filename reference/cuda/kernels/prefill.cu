// Prefill on the matrix units (16-bit elements), after FlashAttention-2 (arXiv:2307.08691): a block of WARPS warps owns
// TILE_Q query rows, 16 per warp, and walks over tiles of TILE_K keys with double buffering. Queries stay in registers;
// scores and weights never leave them. Tiles that the mask hides entirely are not loaded; only tiles on its edge are
// tested pair by pair. The last query tiles, the longest under a causal mask, are started first.
//
// Defines: ELEMENT, HEAD_DIM, V_DIM (multiples of 16), WARPS, TILE_K (multiple of 16), BLOCKS (per multiprocessor, what the
// register budget is set for). The query tile must fit into the two stages.
#include "matrix.cuh"

constexpr int TILE_Q = 16 * WARPS;
constexpr int K_STRIDE = tile_stride<Element, HEAD_DIM>();
constexpr int V_STRIDE = tile_stride<Element, V_DIM>();
constexpr int STAGE = TILE_K * (K_STRIDE + V_STRIDE);

KERNEL MAX_THREADS(WARPS * WARP, BLOCKS)
prefill_attention(const Element* q, const Element* k, const Element* v, Element* out, float* lse, const int* lengths,
                  int heads, int kv_heads, int q_len, int capacity, int causal, int window, int sinks,
                  float scale_log2) {
    DYNAMIC_SHARED(memory);
    Element* stages = reinterpret_cast<Element*>(memory);

    const int head = static_cast<int>(blockIdx.y);
    const int sequence = static_cast<int>(blockIdx.z);
    const int q0 = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * TILE_Q;
    const int warp_row = thread_index() / WARP * 16;
    const int quad_row = lane_index() / 4;
    const int quad_column = lane_index() % 4 * 2;

    const KeyLayout layout = {lengths, nullptr, 0, 1, kv_heads, capacity, 0};
    const KeySet keys = key_set(layout, sequence, head / (heads / kv_heads));
    const Mask mask = {q_len, keys.length, causal, window, sinks};
    const int tiles = tile_end(mask, q0, q0 + TILE_Q, TILE_K);
    const long long first_query = (static_cast<long long>(sequence) * heads + head) * q_len;

    const auto load_keys = [&](int tile, int stage) {
        const auto source = [&](int r) -> long long {
            const int key = tile * TILE_K + r;
            return key < keys.length ? keys.first_row + key : -1;
        };
        Element* k_tile = stages + stage * STAGE;
        copy_tile<Element, HEAD_DIM>(k_tile, k, HEAD_DIM, TILE_K, source);
        copy_tile<Element, V_DIM>(k_tile + TILE_K * K_STRIDE, v, V_DIM, TILE_K, source);
    };

    // Queries pass through the memory of the stages, which hold no keys yet.
    copy_tile<Element, HEAD_DIM>(stages, q, HEAD_DIM, TILE_Q, [&](int r) -> long long {
        return q0 + r < q_len ? first_query + q0 + r : -1;
    });
    commit_copies();
    wait_copies<0>();
    block_barrier();
    unsigned q_rows[HEAD_DIM / 16][4];
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; ++step) load_left<K_STRIDE>(q_rows[step], stages, warp_row, 16 * step);
    block_barrier();

    int tile = next_tile(mask, q0, q0 + TILE_Q, 0, tiles, TILE_K);
    if (tile < tiles) load_keys(tile, 0);
    commit_copies();

    Softmax softmax;
    float result[V_DIM / 8][4];
    clear(result);
    for (int stage = 0; tile < tiles; stage ^= 1) {
        const int next = next_tile(mask, q0, q0 + TILE_Q, tile + 1, tiles, TILE_K);
        if (next < tiles) load_keys(next, stage ^ 1);
        commit_copies();
        wait_copies<1>();
        block_barrier();

        const Element* k_tile = stages + stage * STAGE;
        float scores[TILE_K / 8][4];
        clear(scores);
        add_scores<K_STRIDE, HEAD_DIM>(scores, q_rows, k_tile, 0);
        const int k0 = tile * TILE_K;
        if (!all_visible(mask, q0, q0 + TILE_Q, k0, k0 + TILE_K)) {
#pragma unroll
            for (int n = 0; n < TILE_K / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int query = q0 + warp_row + quad_row + i / 2 * 8;
                    if (!visible(mask, query, k0 + 8 * n + quad_column + i % 2)) scores[n][i] = minus_infinity();
                }
            }
        }
        softmax.update(scores, result, scale_log2);
        add_values<V_STRIDE, V_DIM>(result, scores, k_tile + TILE_K * K_STRIDE, 0, 0);
        block_barrier();
        tile = next;
    }
    softmax.finish();

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int query = q0 + warp_row + quad_row + 8 * half;
        if (query >= q_len) continue;
        const long long place = first_query + query;
        const float inverse = softmax.inverse_sum(half);
#pragma unroll
        for (int n = 0; n < V_DIM / 8; ++n) {
            const unsigned pair = pack<Element>(result[n][2 * half] * inverse, result[n][2 * half + 1] * inverse);
            *reinterpret_cast<unsigned*>(out + place * V_DIM + 8 * n + quad_column) = pair;
        }
        if (quad_column == 0) lse[place] = softmax.lse(half, scale_log2) * LN_2;
    }
}
