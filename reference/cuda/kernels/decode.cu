// Split-KV decoding on the matrix units (16-bit elements), after Flash-Decoding: the keys of a sequence are divided over
// `splits` blocks, whose results merge.cu joins. The query heads that share a KV head are packed into one 16-row operand, so
// keys and values are read once per group. Each of WARPS warps takes 16 keys of a tile with its own running softmax;
// the warps' results are joined through shared memory at the end. STAGES tiles are on their way at a time.
//
// Keys may lie behind a table of pages or of single kept keys, in a pool shared by the batch; under a sink + window mask
// only keys that some query of the launch sees are loaded.
//
// Defines: ELEMENT, HEAD_DIM, V_DIM (multiples of 16), WARPS, STAGES (at least 2).
#include "matrix.cuh"

constexpr int ROWS = 16;
constexpr int TILE_K = 16 * WARPS;
constexpr int K_STRIDE = tile_stride<Element, HEAD_DIM>();
constexpr int V_STRIDE = tile_stride<Element, V_DIM>();
constexpr int STAGE = TILE_K * (K_STRIDE + V_STRIDE);

KERNEL MAX_THREADS(WARPS * WARP, 2)
decode_attention(const Element* q, const Element* k, const Element* v, Element* out, float* lse, float* split_out,
                 float* split_lse, const int* lengths, const int* table, int table_entries, int block_rows, int heads,
                 int kv_heads, int q_len, int capacity, int pooled, int causal, int window, int sinks, int splits,
                 float scale_log2) {
    DYNAMIC_SHARED(memory);
    Element* q_tile = reinterpret_cast<Element*>(memory);
    Element* stages = q_tile + ROWS * K_STRIDE;

    const int group_rows = heads / kv_heads * q_len;
    const int row_tiles = (group_rows + ROWS - 1) / ROWS;
    const int split = static_cast<int>(blockIdx.x);
    const int kv_head = static_cast<int>(blockIdx.y) / row_tiles;
    const int r0 = static_cast<int>(blockIdx.y) % row_tiles * ROWS;
    const int sequence = static_cast<int>(blockIdx.z);
    const long long first_row = (static_cast<long long>(sequence) * kv_heads + kv_head) * group_rows;
    const int warp = thread_index() / WARP;
    const int quad_row = lane_index() / 4;
    const int quad_column = lane_index() % 4 * 2;

    const KeyLayout layout = {lengths, table, table_entries, block_rows, kv_heads, capacity, pooled};
    const KeySet keys = key_set(layout, sequence, kv_head);
    const Mask mask = {q_len, keys.length, causal, window, sinks};
    // Keys between the sinks and the oldest query's window are seen by no query: they are left out of the count.
    const int oldest = position_of(mask, 0) - window + 1;
    const int skipped = window > 0 ? max(0, oldest - sinks) : 0;
    const int count = keys.length - skipped;
    const auto key_at = [&](int index) { return index < sinks ? index : index + skipped; };

    const int tiles = (count + TILE_K - 1) / TILE_K;
    const int per_split = (tiles + splits - 1) / splits;
    const int first = split * per_split;
    const int last = min(first + per_split, tiles);

    const auto load_keys = [&](int tile) {
        const auto source = [&](int r) -> long long {
            const int index = tile * TILE_K + r;
            return index < count ? keys.first_row + keys.rows.row(key_at(index)) : -1;
        };
        Element* k_tile = stages + (tile - first) % STAGES * STAGE;
        copy_tile<Element, HEAD_DIM>(k_tile, k, HEAD_DIM, TILE_K, source);
        copy_tile<Element, V_DIM>(k_tile + TILE_K * K_STRIDE, v, V_DIM, TILE_K, source);
    };

    copy_tile<Element, HEAD_DIM>(q_tile, q, HEAD_DIM, ROWS, [&](int r) -> long long {
        return r0 + r < group_rows ? first_row + r0 + r : -1;
    });
    commit_copies();
    for (int tile = first; tile < first + STAGES - 1; ++tile) {
        if (tile < last) load_keys(tile);
        commit_copies();
    }
    wait_copies<STAGES - 1>();
    block_barrier();
    unsigned q_rows[HEAD_DIM / 16][4];
#pragma unroll
    for (int step = 0; step < HEAD_DIM / 16; ++step) load_left<K_STRIDE>(q_rows[step], q_tile, 0, 16 * step);

    Softmax softmax;
    float result[V_DIM / 8][4];
    clear(result);
    for (int tile = first; tile < last; ++tile) {
        wait_copies<STAGES - 2>();
        // Past this barrier the tile before this one is used up, so its memory can take the newest copy.
        block_barrier();
        if (tile + STAGES - 1 < last) load_keys(tile + STAGES - 1);
        commit_copies();

        const Element* k_tile = stages + (tile - first) % STAGES * STAGE;
        const int index0 = tile * TILE_K + 16 * warp;
        float scores[2][4];
        clear(scores);
        add_scores<K_STRIDE, HEAD_DIM>(scores, q_rows, k_tile, 16 * warp);
        if (window > 0 || !all_visible(mask, 0, q_len, index0, index0 + 16)) {
#pragma unroll
            for (int n = 0; n < 2; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int query = (r0 + quad_row + i / 2 * 8) % q_len;
                    const int key = key_at(index0 + 8 * n + quad_column + i % 2);
                    if (!visible(mask, query, key)) scores[n][i] = minus_infinity();
                }
            }
        }
        softmax.update(scores, result, scale_log2);
        add_values<V_STRIDE, V_DIM>(result, scores, k_tile + TILE_K * K_STRIDE, 16 * warp, 0);
    }
    softmax.finish();
    block_barrier();

    // Join the warps: each has its own maximum, sum and output of the same 16 rows.
    float* parts = reinterpret_cast<float*>(memory);
    float* maxima = parts + WARPS * ROWS * V_DIM;
    float* sums = maxima + WARPS * ROWS;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = warp * ROWS + quad_row + 8 * half;
#pragma unroll
        for (int n = 0; n < V_DIM / 8; ++n) {
            parts[row * V_DIM + 8 * n + quad_column] = result[n][2 * half];
            parts[row * V_DIM + 8 * n + quad_column + 1] = result[n][2 * half + 1];
        }
        if (quad_column == 0) {
            maxima[row] = softmax.maximum[half];
            sums[row] = softmax.sum[half];
        }
    }
    block_barrier();
    const long long all_rows = static_cast<long long>(gridDim.z) * kv_heads * group_rows;
    for (int i = thread_index(); i < ROWS * V_DIM; i += block_threads()) {
        const int row = i / V_DIM;
        const int column = i % V_DIM;
        if (r0 + row >= group_rows) continue;
        float top = minus_infinity();
        for (int w = 0; w < WARPS; ++w) top = fmaxf(top, maxima[w * ROWS + row]);
        const float base = finite_or_zero(top) * scale_log2;
        float total = 0.0f;
        float value = 0.0f;
        for (int w = 0; w < WARPS; ++w) {
            const float weight = fast_exp2(maxima[w * ROWS + row] * scale_log2 - base);
            total += weight * sums[w * ROWS + row];
            value += weight * parts[(w * ROWS + row) * V_DIM + column];
        }
        value *= total > 0.0f ? 1.0f / total : 0.0f;
        const float row_lse = total > 0.0f ? base + log2f(total) : minus_infinity();
        const long long place = first_row + r0 + row;
        if (splits == 1) {
            out[place * V_DIM + column] = round_like(value, Element{});
            if (column == 0) lse[place] = row_lse * LN_2;
        } else {
            split_out[(split * all_rows + place) * V_DIM + column] = value;
            if (column == 0) split_lse[split * all_rows + place] = row_lse;
        }
    }
}
