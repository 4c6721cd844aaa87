// Decoding with absorbed multi-head latent attention on the matrix units (16-bit elements): all heads attend to one latent
// row per token, whose first V_DIM columns are the value and all HEAD_DIM columns the key, so a tile is loaded once and used
// twice (FlashMLA's shape: 576 and 512). A block of eight warps owns 64 rows (heads times new tokens): four groups of 16
// rows, each shared by two warps that compute the same scores and half of the value columns each.
//
// Defines: ELEMENT, HEAD_DIM (multiple of 16), V_DIM (multiple of 32, at most HEAD_DIM), TILE_K (multiple of 16).
#include "matrix.cuh"

constexpr int ROW_WARPS = 4;
constexpr int COLUMN_WARPS = 2;
constexpr int THREADS = ROW_WARPS * COLUMN_WARPS * WARP;
constexpr int ROWS = 16 * ROW_WARPS;
constexpr int STRIDE = tile_stride<Element, HEAD_DIM>();
constexpr int STAGE = TILE_K * STRIDE;
constexpr int COLUMNS = V_DIM / COLUMN_WARPS;

KERNEL MAX_THREADS(THREADS, 1)
mla_attention(const Element* q, const Element* latent, Element* out, float* lse, float* split_out, float* split_lse,
              const int* lengths, const int* table, int table_entries, int block_rows, int heads, int q_len,
              int capacity, int pooled, int causal, int splits, float scale_log2) {
    DYNAMIC_SHARED(memory);
    Element* q_tile = reinterpret_cast<Element*>(memory);
    Element* stages = q_tile + ROWS * STRIDE;

    const int rows = heads * q_len;
    const int split = static_cast<int>(blockIdx.x);
    const int r0 = static_cast<int>(blockIdx.y) * ROWS;
    const int sequence = static_cast<int>(blockIdx.z);
    const long long first_row = static_cast<long long>(sequence) * rows;
    const int warp = thread_index() / WARP;
    const int warp_row = warp % ROW_WARPS * 16;
    const int warp_column = warp / ROW_WARPS * COLUMNS;
    const int quad_row = lane_index() / 4;
    const int quad_column = lane_index() % 4 * 2;

    const KeyLayout layout = {lengths, table, table_entries, block_rows, 1, capacity, pooled};
    const KeySet keys = key_set(layout, sequence, 0);
    const Mask mask = {q_len, keys.length, causal, 0, 0};
    const int tiles = (keys.length + TILE_K - 1) / TILE_K;
    const int per_split = (tiles + splits - 1) / splits;
    const int first = split * per_split;
    const int last = min(first + per_split, tiles);

    const auto load_keys = [&](int tile) {
        copy_tile<Element, HEAD_DIM>(stages + (tile - first) % 2 * STAGE, latent, HEAD_DIM, TILE_K,
                                     [&](int r) -> long long {
                                         const int key = tile * TILE_K + r;
                                         return key < keys.length ? keys.first_row + keys.rows.row(key) : -1;
                                     });
    };

    copy_tile<Element, HEAD_DIM>(q_tile, q, HEAD_DIM, ROWS, [&](int r) -> long long {
        return r0 + r < rows ? first_row + r0 + r : -1;
    });
    if (first < last) load_keys(first);
    commit_copies();

    Softmax softmax;
    float result[COLUMNS / 8][4];
    clear(result);
    for (int tile = first; tile < last; ++tile) {
        if (tile + 1 < last) load_keys(tile + 1);
        commit_copies();
        wait_copies<1>();
        block_barrier();

        const Element* k_tile = stages + (tile - first) % 2 * STAGE;
        float scores[TILE_K / 8][4];
        clear(scores);
#pragma unroll 4
        for (int step = 0; step < HEAD_DIM / 16; ++step) {
            unsigned left[1][4];
            load_left<STRIDE>(left[0], q_tile, warp_row, 16 * step);
            add_scores<STRIDE, 16>(scores, left, k_tile + 16 * step, 0);
        }
        const int k0 = tile * TILE_K;
        if (!all_visible(mask, 0, q_len, k0, k0 + TILE_K)) {
#pragma unroll
            for (int n = 0; n < TILE_K / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int query = (r0 + warp_row + quad_row + i / 2 * 8) % q_len;
                    if (!visible(mask, query, k0 + 8 * n + quad_column + i % 2)) scores[n][i] = minus_infinity();
                }
            }
        }
        softmax.update(scores, result, scale_log2);
        add_values<STRIDE, COLUMNS>(result, scores, k_tile, 0, warp_column);
        block_barrier();
    }
    wait_copies<0>();
    softmax.finish();

    const long long all_rows = static_cast<long long>(gridDim.z) * rows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = r0 + warp_row + quad_row + 8 * half;
        if (row >= rows) continue;
        const long long place = first_row + row;
        const long long part = split * all_rows + place;
        const float inverse = softmax.inverse_sum(half);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n) {
            const int column = warp_column + 8 * n + quad_column;
            const float low = result[n][2 * half] * inverse;
            const float high = result[n][2 * half + 1] * inverse;
            if (splits == 1) {
                *reinterpret_cast<unsigned*>(out + place * V_DIM + column) = pack<Element>(low, high);
            } else {
                split_out[part * V_DIM + column] = low;
                split_out[part * V_DIM + column + 1] = high;
            }
        }
        if (quad_column == 0 && warp_column == 0) {
            const float row_lse = softmax.lse(half, scale_log2);
            if (splits == 1) {
                lse[place] = row_lse * LN_2;
            } else {
                split_lse[part] = row_lse;
            }
        }
    }
}
