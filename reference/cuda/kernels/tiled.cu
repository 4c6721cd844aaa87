// Prefill for any number format on the ordinary arithmetic units: a block owns TILE_Q query rows and walks over tiles of
// TILE_K keys, the next tile's K and V on their way into shared memory while the present one is used.
//
// Four neighbouring threads own a row: thread t of them scores keys t, t + 4, ... of the tile and accumulates output
// columns in groups of four elements, t, t + 4, ... . Tiles that the mask hides entirely are not loaded.
//
// Defines: ELEMENT, HEAD_DIM, V_DIM (multiples of 16), TILE_Q (multiple of 8), TILE_K (multiple of 4).
// Block: 4 * TILE_Q threads.
#include "attention.cuh"

constexpr int TEAM = 4;
constexpr int K_STRIDE = tile_stride<ELEMENT, HEAD_DIM>();
constexpr int V_STRIDE = tile_stride<ELEMENT, V_DIM>();
constexpr int STAGE = TILE_K * (K_STRIDE + V_STRIDE);
constexpr int WEIGHT_STRIDE = TILE_K + 1;
constexpr int SCORES = TILE_K / TEAM;
constexpr int GROUPS = V_DIM / (4 * TEAM);

KERNEL MAX_THREADS(TILE_Q * TEAM, 1)
tiled_attention(const ELEMENT* q, const ELEMENT* k, const ELEMENT* v, ELEMENT* out, float* lse, const int* lengths,
                int heads, int kv_heads, int q_len, int capacity, int causal, int window, int sinks, float scale_log2) {
    DYNAMIC_SHARED(memory);
    ELEMENT* q_tile = reinterpret_cast<ELEMENT*>(memory);
    ELEMENT* stages = q_tile + TILE_Q * K_STRIDE;
    float* weights = reinterpret_cast<float*>(stages + 2 * STAGE);

    const int head = static_cast<int>(blockIdx.y);
    const int sequence = static_cast<int>(blockIdx.z);
    const int q0 = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * TILE_Q;
    const int row = thread_index() / TEAM;
    const int team = thread_index() % TEAM;

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
        ELEMENT* k_tile = stages + stage * STAGE;
        copy_tile<ELEMENT, HEAD_DIM>(k_tile, k, HEAD_DIM, TILE_K, source);
        copy_tile<ELEMENT, V_DIM>(k_tile + TILE_K * K_STRIDE, v, V_DIM, TILE_K, source);
    };

    copy_tile<ELEMENT, HEAD_DIM>(q_tile, q, HEAD_DIM, TILE_Q, [&](int r) -> long long {
        return q0 + r < q_len ? first_query + q0 + r : -1;
    });
    int tile = next_tile(mask, q0, q0 + TILE_Q, 0, tiles, TILE_K);
    if (tile < tiles) load_keys(tile, 0);
    commit_copies();

    float maximum = minus_infinity();
    float sum = 0.0f;
    float result[GROUPS][4] = {};
    const ELEMENT* q_row = q_tile + row * K_STRIDE;
    float* weight_row = weights + row * WEIGHT_STRIDE;

    for (int stage = 0; tile < tiles; stage ^= 1) {
        const int next = next_tile(mask, q0, q0 + TILE_Q, tile + 1, tiles, TILE_K);
        if (next < tiles) load_keys(next, stage ^ 1);
        commit_copies();
        wait_copies<1>();
        block_barrier();

        const ELEMENT* k_tile = stages + stage * STAGE;
        const ELEMENT* v_tile = k_tile + TILE_K * K_STRIDE;
        float scores[SCORES];
        float top = maximum;
        for (int i = 0; i < SCORES; ++i) {
            const ELEMENT* k_row = k_tile + (i * TEAM + team) * K_STRIDE;
            float score = 0.0f;
#pragma unroll 8
            for (int d = 0; d < HEAD_DIM; ++d) score += to_float(q_row[d]) * to_float(k_row[d]);
            const bool seen = visible(mask, q0 + row, tile * TILE_K + i * TEAM + team);
            scores[i] = seen ? score * scale_log2 : minus_infinity();
            top = fmaxf(top, scores[i]);
        }
        top = quad_max(top);
        const float base = finite_or_zero(top);
        const float correction = fast_exp2(maximum - base);
        maximum = top;
        float tile_sum = 0.0f;
        for (int i = 0; i < SCORES; ++i) {
            const float weight = fast_exp2(scores[i] - base);
            weight_row[i * TEAM + team] = weight;
            tile_sum += weight;
        }
        sum = sum * correction + quad_sum(tile_sum);
        warp_barrier();
#pragma unroll
        for (int group = 0; group < GROUPS; ++group) {
#pragma unroll
            for (int i = 0; i < 4; ++i) result[group][i] *= correction;
        }
        for (int key = 0; key < TILE_K; ++key) {
            const float weight = weight_row[key];
            const ELEMENT* v_row = v_tile + key * V_STRIDE + 4 * team;
#pragma unroll
            for (int group = 0; group < GROUPS; ++group) {
#pragma unroll
                for (int i = 0; i < 4; ++i) result[group][i] += weight * to_float(v_row[4 * TEAM * group + i]);
            }
        }
        block_barrier();
        tile = next;
    }
    wait_copies<0>();

    if (q0 + row >= q_len) return;
    const long long place = first_query + q0 + row;
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (int group = 0; group < GROUPS; ++group) {
        for (int i = 0; i < 4; ++i) {
            const int column = 4 * (team + TEAM * group) + i;
            out[place * V_DIM + column] = round_like(result[group][i] * inverse, ELEMENT{});
        }
    }
    if (team == 0) lse[place] = (sum > 0.0f ? maximum + log2f(sum) : minus_infinity()) * LN_2;
}
