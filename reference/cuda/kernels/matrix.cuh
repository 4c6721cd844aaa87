// Fragments of tiles for the matrix units (16-bit elements), and online softmax on score fragments.
//
// A warp owns 16 rows. Lane l holds rows g = l / 4 and g + 8; of each group of eight columns, columns 2t and 2t + 1
// with t = l % 4 (device.cuh, multiply_add). Index 0 or 1 of a two-element array below stands for row g or g + 8.
#pragma once
#include "attention.cuh"

using Element = ELEMENT;

DEVICE int lane_index() { return thread_index() % WARP; }

// 16x16 block of a tile at (row, column) as left operand.
template <int STRIDE>
DEVICE void load_left(unsigned (&a)[4], const Element* tile, int row, int column) {
    const int lane = lane_index();
    load_matrices(a, tile + (row + lane % 16) * STRIDE + column + lane / 16 * 8);
}

// Rows [row, row + 16) of a tile, columns [column, column + 16), as right operand whose columns are the tile's rows: for
// q k^T. r[0], r[1] belong to the first eight tile rows, r[2], r[3] to the others.
template <int STRIDE>
DEVICE void load_right_rows(unsigned (&r)[4], const Element* tile, int row, int column) {
    const int lane = lane_index();
    load_matrices(r, tile + (row + lane % 8 + lane / 16 * 8) * STRIDE + column + lane / 8 % 2 * 8);
}

// The same block as right operand whose rows are the tile's rows: for p v. r[0], r[1] belong to the first eight columns.
template <int STRIDE>
DEVICE void load_right_columns(unsigned (&r)[4], const Element* tile, int row, int column) {
    const int lane = lane_index();
    load_matrices_transposed(r, tile + (row + lane % 16) * STRIDE + column + lane / 16 * 8);
}

// scores += left rows^T for 16 left rows held in registers and 8 * N tile rows from `row` on, over DIM columns.
template <int STRIDE, int DIM, int N>
DEVICE void add_scores(float (&scores)[N][4], const unsigned (&left)[DIM / 16][4], const Element* tile, int row) {
#pragma unroll
    for (int step = 0; step < DIM / 16; ++step) {
#pragma unroll
        for (int pair = 0; pair < N / 2; ++pair) {
            unsigned right[4];
            load_right_rows<STRIDE>(right, tile, row + 16 * pair, 16 * step);
            multiply_add<Element>(scores[2 * pair], left[step], right[0], right[1]);
            multiply_add<Element>(scores[2 * pair + 1], left[step], right[2], right[3]);
        }
    }
}

// out += weights v for 8 * N weight columns (tile rows from `row` on) and COLUMNS tile columns from `column` on.
template <int STRIDE, int COLUMNS, int N>
DEVICE void add_values(float (&out)[COLUMNS / 8][4], const float (&weights)[N][4], const Element* tile, int row,
                       int column) {
#pragma unroll
    for (int step = 0; step < N / 2; ++step) {
        const unsigned left[4] = {
            pack<Element>(weights[2 * step][0], weights[2 * step][1]),
            pack<Element>(weights[2 * step][2], weights[2 * step][3]),
            pack<Element>(weights[2 * step + 1][0], weights[2 * step + 1][1]),
            pack<Element>(weights[2 * step + 1][2], weights[2 * step + 1][3]),
        };
#pragma unroll
        for (int pair = 0; pair < COLUMNS / 16; ++pair) {
            unsigned right[4];
            load_right_columns<STRIDE>(right, tile, row + 16 * step, column + 16 * pair);
            multiply_add<Element>(out[2 * pair], left, right[0], right[1]);
            multiply_add<Element>(out[2 * pair + 1], left, right[2], right[3]);
        }
    }
}

template <int N>
DEVICE void clear(float (&fragment)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) fragment[i][j] = 0.0f;
    }
}

// Running softmax of the two rows of a lane. `maximum` is of raw scores; `sum` covers this lane's columns only and is
// completed by finish().
struct Softmax {
    float maximum[2] = {minus_infinity(), minus_infinity()};
    float sum[2] = {0.0f, 0.0f};

    // Turn raw scores into weights exp2(scale_log2 * (score - maximum)) and rescale `out` to the new maximum.
    template <int N, int M>
    DEVICE void update(float (&scores)[N][4], float (&out)[M][4], float scale_log2) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float top = maximum[half];
#pragma unroll
            for (int n = 0; n < N; ++n) top = fmaxf(top, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
            top = quad_max(top);
            const float base = finite_or_zero(top) * scale_log2;
            const float correction = fast_exp2(maximum[half] * scale_log2 - base);
            maximum[half] = top;
            sum[half] *= correction;
#pragma unroll
            for (int n = 0; n < N; ++n) {
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    scores[n][i] = fast_exp2(scores[n][i] * scale_log2 - base);
                    sum[half] += scores[n][i];
                }
            }
#pragma unroll
            for (int n = 0; n < M; ++n) {
                out[n][2 * half] *= correction;
                out[n][2 * half + 1] *= correction;
            }
        }
    }

    DEVICE void finish() {
        sum[0] = quad_sum(sum[0]);
        sum[1] = quad_sum(sum[1]);
    }

    // Base-2 log-sum-exp of row g (half 0) or g + 8; -inf when no key was visible.
    DEVICE float lse(int half, float scale_log2) const {
        return sum[half] > 0.0f ? maximum[half] * scale_log2 + log2f(sum[half]) : minus_infinity();
    }

    DEVICE float inverse_sum(int half) const { return sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f; }
};
