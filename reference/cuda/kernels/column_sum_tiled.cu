// Column sums (column_sum.cu) on the matrix units (16-bit elements): a block of WARPS warps owns 16 keys per
// warp and walks over tiles of as many queries with double buffering. Keys are the left operand, so that a key's sum runs along a fragment
// row and needs no atomic addition.
//
// Defines: ELEMENT, HEAD_DIM (multiple of 16), WARPS.
#include "matrix.cuh"

constexpr int TILE = 16 * WARPS;
constexpr int STRIDE = tile_stride<Element, HEAD_DIM>();

KERNEL MAX_THREADS(WARPS * WARP, 2)
column_sum_tiled(const Element* q, const Element* k, const float* lse, float* sums, const int* lengths, int heads,
                 int kv_heads, int q_len, int capacity, int causal, int window, int sinks, float scale_log2) {
    DYNAMIC_SHARED(memory);
    Element* k_tile = reinterpret_cast<Element*>(memory);
    Element* stages = k_tile + TILE * STRIDE;

    const int k0 = static_cast<int>(blockIdx.x) * TILE;
    const int head = static_cast<int>(blockIdx.y);
    const int sequence = static_cast<int>(blockIdx.z);
    const int warp_row = thread_index() / WARP * 16;
    const int quad_row = lane_index() / 4;
    const int quad_column = lane_index() % 4 * 2;

    const KeyLayout layout = {lengths, nullptr, 0, 1, kv_heads, capacity, 0};
    const KeySet keys = key_set(layout, sequence, head / (heads / kv_heads));
    const Mask mask = {q_len, keys.length, causal, window, sinks};
    const int tiles = (q_len + TILE - 1) / TILE;
    const long long batch_head = static_cast<long long>(sequence) * heads + head;
    const long long first_query = batch_head * q_len;

    const auto next_queries = [&](int tile) {
        while (tile < tiles && !any_visible(mask, tile * TILE, (tile + 1) * TILE, k0, k0 + TILE)) ++tile;
        return tile;
    };
    const auto load_queries = [&](int tile, int stage) {
        copy_tile<Element, HEAD_DIM>(stages + stage * TILE * STRIDE, q, HEAD_DIM, TILE, [&](int r) -> long long {
            return tile * TILE + r < q_len ? first_query + tile * TILE + r : -1;
        });
    };

    copy_tile<Element, HEAD_DIM>(k_tile, k, HEAD_DIM, TILE, [&](int r) -> long long {
        return k0 + r < keys.length ? keys.first_row + k0 + r : -1;
    });
    int tile = next_queries(0);
    if (tile < tiles) load_queries(tile, 0);
    commit_copies();

    float sum[2] = {0.0f, 0.0f};
    for (int stage = 0; tile < tiles; stage ^= 1) {
        const int next = next_queries(tile + 1);
        if (next < tiles) load_queries(next, stage ^ 1);
        commit_copies();
        wait_copies<1>();
        block_barrier();

        const Element* q_tile = stages + stage * TILE * STRIDE;
        float scores[TILE / 8][4];
        clear(scores);
#pragma unroll
        for (int step = 0; step < HEAD_DIM / 16; ++step) {
            unsigned left[1][4];
            load_left<STRIDE>(left[0], k_tile, warp_row, 16 * step);
            add_scores<STRIDE, 16>(scores, left, q_tile + 16 * step, 0);
        }
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int query = tile * TILE + 8 * n + quad_column + i % 2;
                const int key = k0 + warp_row + quad_row + i / 2 * 8;
                if (visible(mask, query, key)) {
                    sum[i / 2] += fast_exp2(scores[n][i] * scale_log2 - lse[first_query + query] / LN_2);
                }
            }
        }
        block_barrier();
        tile = next;
    }
    wait_copies<0>();

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const float total = quad_sum(sum[half]);
        const int key = k0 + warp_row + quad_row + 8 * half;
        if (quad_column == 0 && key < capacity) sums[batch_head * capacity + key] = total;
    }
}
