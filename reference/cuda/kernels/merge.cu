// Join attention over disjoint parts of the keys, one warp per query row: each part's output is weighted by exp2 of its
// log-sum-exp against the largest one. A part without a visible key has weight 0 and its output is not read.
//
// Defines: ELEMENT, V_DIM.
#include "attention.cuh"

KERNEL merge_splits(const float* split_out, const float* split_lse, ELEMENT* out, float* lse, int rows, int splits) {
    const int row = static_cast<int>(blockIdx.x) * (block_threads() / WARP) + thread_index() / WARP;
    if (row >= rows) return;
    const int lane = thread_index() % WARP;

    float top = minus_infinity();
    for (int split = lane; split < splits; split += WARP) {
        top = fmaxf(top, split_lse[static_cast<long long>(split) * rows + row]);
    }
    top = warp_max(top);
    const float base = finite_or_zero(top);
    float total = 0.0f;
    for (int split = lane; split < splits; split += WARP) {
        total += fast_exp2(split_lse[static_cast<long long>(split) * rows + row] - base);
    }
    total = warp_sum(total);
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;

    for (int d = lane; d < V_DIM; d += WARP) {
        float sum = 0.0f;
        for (int split = 0; split < splits; ++split) {
            const long long part = static_cast<long long>(split) * rows + row;
            const float weight = fast_exp2(split_lse[part] - base);
            if (weight > 0.0f) sum += weight * split_out[part * V_DIM + d];
        }
        out[static_cast<long long>(row) * V_DIM + d] = round_like(sum * inverse, ELEMENT{});
    }
    if (lane == 0) lse[row] = (total > 0.0f ? base + log2f(total) : minus_infinity()) * LN_2;
}
