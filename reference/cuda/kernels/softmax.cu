// Softmax along rows: one block per row, one pass that finds maximum and sum together, one that writes.
//
// Defines: ELEMENT. Block: THREADS threads.
#include "attention.cuh"

constexpr int THREADS = 256;
constexpr float LOG2_E = 1.44269504088896341f;

KERNEL MAX_THREADS(THREADS, 1) row_softmax(const ELEMENT* in, ELEMENT* out, int columns) {
    SHARED float maxima[THREADS / WARP];
    SHARED float sums[THREADS / WARP];
    const long long start = static_cast<long long>(blockIdx.x) * columns;
    const int lane = thread_index() % WARP;
    const int warp = thread_index() / WARP;

    float maximum = minus_infinity();
    float sum = 0.0f;
    for (int column = thread_index(); column < columns; column += THREADS) {
        const float score = to_float(in[start + column]) * LOG2_E;
        const float top = fmaxf(maximum, score);
        const float base = finite_or_zero(top);
        sum = sum * fast_exp2(maximum - base) + fast_exp2(score - base);
        maximum = top;
    }
    float row_maximum = warp_max(maximum);
    sum = warp_sum(sum * fast_exp2(maximum - finite_or_zero(row_maximum)));
    if (lane == 0) {
        maxima[warp] = row_maximum;
        sums[warp] = sum;
    }
    block_barrier();
    for (int i = 0; i < THREADS / WARP; ++i) row_maximum = fmaxf(row_maximum, maxima[i]);
    const float base = finite_or_zero(row_maximum);
    float total = 0.0f;
    for (int i = 0; i < THREADS / WARP; ++i) total += sums[i] * fast_exp2(maxima[i] - base);
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;

    for (int column = thread_index(); column < columns; column += THREADS) {
        const float weight = fast_exp2(to_float(in[start + column]) * LOG2_E - base) * inverse;
        out[start + column] = round_like(weight, ELEMENT{});
    }
}
