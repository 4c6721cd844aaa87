// What all attention kernels share: masks, where a key lies in memory, copies of tiles and warp reductions.
//
// Scores live in the base-2 domain: exp(scale * s) = exp2(scale_log2 * s) with scale_log2 = scale * log2(e), one
// multiplication less per exponential. scale_log2 must be positive. Inside a kernel a log-sum-exp is base 2 as well; it is
// multiplied by ln 2 when it leaves.
#pragma once
#include "device.cuh"

constexpr int WARP = 32;
constexpr float LN_2 = 0.693147180559945309f;

struct Mask {
    int q_len;
    int kv_len;
    int causal;
    int window;  // keys seen behind the query's position, its own included; 0 for no window
    int sinks;   // first keys, visible outside the window
};

// Query `i` stands at this position of the key sequence: the last query sees the last key.
DEVICE int position_of(const Mask& mask, int query) { return query + mask.kv_len - mask.q_len; }

DEVICE bool visible(const Mask& mask, int query, int key) {
    const int position = position_of(mask, query);
    const bool allowed = query < mask.q_len && key < mask.kv_len && (!mask.causal || key <= position);
    return allowed && (mask.window == 0 || position - key < mask.window || key < mask.sinks);
}

// Whether any pair of queries [q0, q1) and keys [k0, k1) can be visible.
DEVICE bool any_visible(const Mask& mask, int q0, int q1, int k0, int k1) {
    if (k0 >= mask.kv_len || q0 >= mask.q_len) return false;
    if (mask.causal && k0 > position_of(mask, min(q1, mask.q_len) - 1)) return false;
    return mask.window == 0 || position_of(mask, q0) - (k1 - 1) < mask.window || k0 < mask.sinks;
}

// Whether all pairs of queries [q0, q1) and keys [k0, k1) are visible, so that no pair needs a test of its own.
DEVICE bool all_visible(const Mask& mask, int q0, int q1, int k0, int k1) {
    if (k1 > mask.kv_len || q1 > mask.q_len) return false;
    if (mask.causal && k1 - 1 > position_of(mask, q0)) return false;
    return mask.window == 0 || position_of(mask, q1 - 1) - k0 < mask.window || k1 <= mask.sinks;
}

// Tiles of `tile_keys` keys up to the last one that queries [q0, q1) can see.
DEVICE int tile_end(const Mask& mask, int q0, int q1, int tile_keys) {
    if (q0 >= mask.q_len) return 0;
    const int newest = position_of(mask, min(q1, mask.q_len) - 1);
    const int keys = mask.causal ? min(mask.kv_len, newest + 1) : mask.kv_len;
    return keys > 0 ? (keys + tile_keys - 1) / tile_keys : 0;
}

// First tile of `tile_keys` keys from `tile` on that queries [q0, q1) need; `tiles` when there is none.
DEVICE int next_tile(const Mask& mask, int q0, int q1, int tile, int tiles, int tile_keys) {
    while (tile < tiles && !any_visible(mask, q0, q1, tile * tile_keys, (tile + 1) * tile_keys)) ++tile;
    return tile;
}

// Where the keys of one KV head of one sequence lie. Without a table key j is row j; with one it is row
// j % block_rows of block table[j / block_rows]: a page table, or a list of kept keys when a block is one row.
struct KeyRows {
    const int* table;
    int block_rows;

    DEVICE long long row(int key) const {
        if (table == nullptr) return key;
        return static_cast<long long>(table[key / block_rows]) * block_rows + key % block_rows;
    }
};

// One KV head of one sequence: how many keys it has, and where.
struct KeySet {
    int length;
    long long first_row;  // of this head within k and v
    KeyRows rows;
};

// Arguments that describe the KV side of a launch. Lengths and table may be null.
struct KeyLayout {
    const int* lengths;  // (batch, kv_heads)
    const int* table;    // (batch, kv_heads, table_entries)
    int table_entries;
    int block_rows;
    int kv_heads;
    int capacity;  // rows of each KV head
    int pooled;    // all sequences share one pool (kv_heads, capacity, dim)
};

DEVICE KeySet key_set(const KeyLayout& layout, int batch, int kv_head) {
    const long long head = static_cast<long long>(batch) * layout.kv_heads + kv_head;
    KeySet keys;
    keys.length = layout.lengths == nullptr ? layout.capacity : layout.lengths[head];
    keys.first_row = (layout.pooled ? kv_head : head) * static_cast<long long>(layout.capacity);
    keys.rows.table = layout.table == nullptr ? nullptr : layout.table + head * layout.table_entries;
    keys.rows.block_rows = layout.block_rows;
    return keys;
}

DEVICE float warp_sum(float x) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) x += lane_xor(x, mask);
    return x;
}

DEVICE float warp_max(float x) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) x = fmaxf(x, lane_xor(x, mask));
    return x;
}

// Sum and maximum over the four lanes 4i to 4i+3 that share a row of a matrix fragment.
DEVICE float quad_sum(float x) {
    x += lane_xor(x, 1);
    return x + lane_xor(x, 2);
}

DEVICE float quad_max(float x) {
    x = fmaxf(x, lane_xor(x, 1));
    return fmaxf(x, lane_xor(x, 2));
}

// Exponent that a row's scores are measured from: its maximum, or 0 while it has seen no visible key.
DEVICE float finite_or_zero(float row_max) { return row_max == minus_infinity() ? 0.0f : row_max; }

// Elements that fill the 16 bytes of one asynchronous copy; tile rows are padded by as much, which puts the rows that a
// warp reads together into different banks.
template <class T>
DEVICE constexpr int per_copy() {
    return 16 / static_cast<int>(sizeof(T));
}

template <class T, int DIM>
DEVICE constexpr int tile_stride() {
    return DIM + per_copy<T>();
}

// Start copying `rows` rows of DIM elements into a padded tile. Row r comes from source row `source(r)`, or is zero
// where that is negative. All threads of the block take part.
template <class T, int DIM, class Source>
DEVICE void copy_tile(T* tile, const T* base, int row_stride, int rows, Source source) {
    constexpr int CHUNKS = DIM / per_copy<T>();
    for (int chunk = thread_index(); chunk < rows * CHUNKS; chunk += block_threads()) {
        const int row = chunk / CHUNKS;
        const int column = chunk % CHUNKS * per_copy<T>();
        const long long from = source(row);
        const T* address = base + (from < 0 ? 0 : from) * row_stride + column;
        copy_async_16(tile + row * tile_stride<T, DIM>() + column, address, from >= 0);
    }
}
