// Host stand-in for reference/cuda/kernels/device.cuh: runs a kernel's threads as coroutines on one CPU thread.
//
// Written from the PTX manual and independent of the kernels: shuffles, ldmatrix, mma and cp.async do what the manual says,
// one lane at a time. What a GPU leaves open is made hostile on purpose: shared memory starts as NaN, an asynchronous copy
// lands at once or as late as it legally may, and between two barriers one warp runs as far as it comes before the next one
// starts, in an order that is a parameter of the launch. So a missing barrier or wait shows as a wrong or an
// order-dependent result. Shared memory and its size are checked by guard bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <ucontext.h>

#define KERNEL extern "C" void
#define DEVICE inline
#define MAX_THREADS(threads, blocks)
#define SHARED static
#define DYNAMIC_SHARED(name) unsigned char* name = host::dynamic_shared()

// <cmath> takes longer to read than a kernel, hence the compiler's own functions throughout.
inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
inline float log2f(float x) { return __builtin_log2f(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

struct Dim3 {
    unsigned x, y, z;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct float4 {
    float x, y, z, w;
};
inline Dim3 blockIdx, gridDim, blockDim;

namespace host {

constexpr int LANES = 32;
constexpr std::size_t STACK_BYTES = 1 << 17;
constexpr std::size_t GUARD_BYTES = 4096;
constexpr unsigned char GUARD = 0xff;

struct Copy {
    void* to;
    const void* from;  // null: zeros
};

// One thread of the block: its coroutine and its pending asynchronous copies, by commit group, oldest first.
struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
    bool done = false;
    bool waiting_block = false;
    bool waiting_warp = false;
};

struct Slot {
    std::uint64_t words[8];
};

inline std::vector<Thread> threads;
inline int current = 0;
inline ucontext_t scheduler;
inline std::vector<unsigned char> shared;
inline std::vector<Slot> slots;  // one per thread, for exchange inside a warp
inline bool early_copies = false;
inline const char* failure = nullptr;

[[noreturn]] inline void fail(const char* message) {
    failure = message;
    // Leave the coroutine for good: the scheduler sees the failure.
    swapcontext(&threads[current].context, &scheduler);
    std::abort();
}

inline unsigned char* dynamic_shared() { return shared.data() + (64 - reinterpret_cast<std::uintptr_t>(shared.data()) % 64) % 64; }

inline void yield() { swapcontext(&threads[current].context, &scheduler); }

inline void block_wait() {
    threads[current].waiting_block = true;
    yield();
}

inline void warp_wait() {
    threads[current].waiting_warp = true;
    yield();
}

inline int lane() { return current % LANES; }
inline Slot& slot_of(int lane_number) { return slots[current / LANES * LANES + lane_number]; }

template <class... Values>
void publish(const Values&... values) {
    std::size_t offset = 0;
    auto* bytes = reinterpret_cast<unsigned char*>(slots[current].words);
    ((std::memcpy(bytes + offset, &values, sizeof values), offset += sizeof values), ...);
    warp_wait();
}

template <class T>
T peek(int lane_number, std::size_t offset = 0) {
    T value;
    std::memcpy(&value, reinterpret_cast<unsigned char*>(slot_of(lane_number).words) + offset, sizeof value);
    return value;
}

// A copy that already landed at once lands a second time: harmless where the program is right.
inline void perform(const Copy& copy) {
    if (copy.from == nullptr) {
        std::memset(copy.to, 0, 16);
    } else {
        std::memcpy(copy.to, copy.from, 16);
    }
}

inline float half_to_float(unsigned short bits) {
    const int sign = bits >> 15, exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31 ? (fraction ? __builtin_nanf("") : __builtin_inff())
                  : exponent == 0 ? __builtin_ldexp(static_cast<float>(fraction), -24)
                                  : __builtin_ldexp(static_cast<float>(fraction + 1024), exponent - 25);
    return sign ? -value : value;
}

// Round to nearest even with `digits` significant bits and the smallest exponent of the format.
inline double round_to(double x, int digits, int smallest, double largest) {
    if (x == 0 || __builtin_isnan(x) || __builtin_isinf(x)) return x;
    const int quantum = max(__builtin_ilogb(x) - digits + 1, smallest);
    const double rounded = __builtin_ldexp(__builtin_nearbyint(__builtin_ldexp(x, -quantum)), quantum);
    return __builtin_fabs(rounded) > largest ? __builtin_copysign(__builtin_inff(), x) : rounded;
}

inline unsigned short float_to_half(float x) {
    const double r = round_to(x, 11, -24, 65504.0);
    const unsigned sign = __builtin_signbit(x) ? 0x8000u : 0u;
    const double m = __builtin_fabs(r);
    if (__builtin_isnan(r)) return static_cast<unsigned short>(0x7e00u | sign);
    if (__builtin_isinf(r)) return static_cast<unsigned short>(0x7c00u | sign);
    if (m < __builtin_ldexp(1.0, -14)) return static_cast<unsigned short>(sign | static_cast<unsigned>(__builtin_ldexp(m, 24)));
    const int e = __builtin_ilogb(m);
    const unsigned fraction = static_cast<unsigned>(__builtin_ldexp(m, 10 - e)) - 1024u;
    return static_cast<unsigned short>(sign | static_cast<unsigned>(e + 15) << 10 | fraction);
}

inline float bfloat_to_float(unsigned short bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

inline unsigned short float_to_bfloat(float x) {
    if (__builtin_isnan(x)) return 0x7fff;
    std::uint32_t wide;
    std::memcpy(&wide, &x, 4);
    return static_cast<unsigned short>((wide + 0x7fffu + (wide >> 16 & 1u)) >> 16);
}

}  // namespace host

struct float16_t {
    unsigned short bits;
};
struct bfloat16_t {
    unsigned short bits;
};

inline float to_float(float x) { return x; }
inline float to_float(float16_t x) { return host::half_to_float(x.bits); }
inline float to_float(bfloat16_t x) { return host::bfloat_to_float(x.bits); }
inline float round_like(float x, float) { return x; }
inline float16_t round_like(float x, float16_t) { return {host::float_to_half(x)}; }
inline bfloat16_t round_like(float x, bfloat16_t) { return {host::float_to_bfloat(x)}; }

template <class T>
unsigned pack(float low, float high) {
    return static_cast<unsigned>(round_like(high, T{}).bits) << 16 | round_like(low, T{}).bits;
}

inline float minus_infinity() { return -__builtin_inff(); }
inline float fast_exp2(float x) { return __builtin_exp2f(x); }

inline int thread_index() { return host::current; }
inline int block_threads() { return static_cast<int>(blockDim.x); }
inline void block_barrier() { host::block_wait(); }
inline void warp_barrier() { host::warp_wait(); }

inline float lane_xor(float x, int mask) {
    host::publish(x);
    const float other = host::peek<float>(host::lane() ^ mask);
    host::warp_wait();
    return other;
}

inline void copy_async_16(void* shared, const void* global, bool valid) {
    const auto misaligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 != 0; };
    if (misaligned(shared) || (valid && misaligned(global))) host::fail("asynchronous copy not aligned to 16 bytes");
    const host::Copy copy{shared, valid ? global : nullptr};
    if (host::early_copies) host::perform(copy);
    host::threads[host::current].open.push_back(copy);
}

inline void commit_copies() {
    auto& thread = host::threads[host::current];
    thread.groups.push_back(std::move(thread.open));
    thread.open.clear();
}

template <int PENDING>
void wait_copies() {
    auto& groups = host::threads[host::current].groups;
    while (groups.size() > PENDING) {
        for (const auto& copy : groups.front()) host::perform(copy);
        groups.erase(groups.begin());
    }
}

inline uint4 read_shared_16(const void* shared) {
    uint4 x;
    std::memcpy(&x, shared, 16);
    return x;
}

// ldmatrix: PTX ISA, "Warp-level matrix load instruction". Row i of matrix m is at the address given by lane 8m + i.
inline void load_matrices_any(unsigned (&r)[4], const void* row, bool transposed) {
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) host::fail("ldmatrix row not aligned to 16 bytes");
    host::publish(row);
    const int lane = host::lane();
    for (int m = 0; m < 4; ++m) {
        unsigned short pair[2];
        for (int i = 0; i < 2; ++i) {
            const int matrix_row = transposed ? 2 * (lane % 4) + i : lane / 4;
            const int matrix_column = transposed ? lane / 4 : 2 * (lane % 4) + i;
            const auto* address = host::peek<const unsigned char*>(8 * m + matrix_row);
            std::memcpy(&pair[i], address + 2 * matrix_column, 2);
        }
        r[m] = static_cast<unsigned>(pair[1]) << 16 | pair[0];
    }
    host::warp_wait();
}

inline void load_matrices(unsigned (&r)[4], const void* row) { load_matrices_any(r, row, false); }
inline void load_matrices_transposed(unsigned (&r)[4], const void* row) { load_matrices_any(r, row, true); }

// mma.m16n8k16: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type". For element i of a lane's a:
// row = lane / 4, plus 8 for i in {2, 3, 6, 7}; column = 2 (lane % 4) + i % 2, plus 8 for i >= 4. For element i of b:
// row = 2 (lane % 4) + i % 2, plus 8 for i >= 2; column = lane / 4. For element i of c: row = lane / 4, plus 8 for i >= 2;
// column = 2 (lane % 4) + i % 2.
template <class T>
void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    host::publish(a[0], a[1], a[2], a[3], b0, b1);
    const auto element = [](int lane, int index) {
        return to_float(host::peek<T>(lane, 2 * static_cast<std::size_t>(index)));
    };
    const int lane = host::lane();
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + (i >= 2 ? 8 : 0);
        const int column = 2 * (lane % 4) + i % 2;
        double sum = c[i];
        for (int k = 0; k < 16; ++k) {
            const int a_lane = row % 8 * 4 + k % 8 / 2;
            const int a_index = k % 2 + (row >= 8 ? 2 : 0) + (k >= 8 ? 4 : 0);
            const int b_lane = column * 4 + k % 8 / 2;
            const int b_index = k % 2 + (k >= 8 ? 2 : 0);
            sum += static_cast<double>(element(a_lane, a_index)) * element(b_lane, 8 + b_index);
        }
        c[i] = static_cast<float>(sum);
    }
    host::warp_wait();
}

namespace host {

// In which order warps, and threads within a warp, take their turns: first to last, last to first, or shuffled.
struct Order {
    int kind;
    std::uint64_t state;

    explicit Order(int number) : kind(number), state(static_cast<std::uint64_t>(number) * 2654435769u + 1u) {}

    // The numbers first, first + 1, ... of the threads or warps in the order of their turns.
    void arrange(std::vector<int>& turns, int first) {
        const int count = static_cast<int>(turns.size());
        for (int i = 0; i < count; ++i) turns[i] = first + (kind == 1 ? count - 1 - i : i);
        for (int i = count - 1; kind > 1 && i > 0; --i) std::swap(turns[i], turns[next() % (i + 1u)]);
    }

    // Knuth's MMIX generator, upper bits.
    std::uint64_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return state >> 33;
    }
};

inline void (*body)() = nullptr;

inline void enter() {
    body();
    threads[current].done = true;
    swapcontext(&threads[current].context, &scheduler);
}

inline void start_threads(int count) {
    threads.resize(count);
    slots.resize(count);
    for (auto& thread : threads) {
        thread.stack.resize(STACK_BYTES);
        thread.groups.clear();
        thread.open.clear();
        thread.done = thread.waiting_block = thread.waiting_warp = false;
        getcontext(&thread.context);
        thread.context.uc_stack = {thread.stack.data(), 0, thread.stack.size()};
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, enter, 0);
    }
}

// Free the threads of [begin, end) from a barrier once all that still run stand at it.
inline bool release(int begin, int end, bool Thread::*barrier) {
    bool any = false;
    for (int i = begin; i < end; ++i) {
        if (threads[i].done) continue;
        if (!(threads[i].*barrier)) return false;
        any = true;
    }
    for (int i = begin; i < end; ++i) threads[i].*barrier = false;
    return any;
}

// Run one warp as far as it comes: until every thread has ended, or none can go on without the other warps.
inline void run_warp(int begin, int end, Order& order) {
    std::vector<int> lanes(end - begin);
    do {
        order.arrange(lanes, begin);
        for (const int i : lanes) {
            auto& thread = threads[i];
            if (thread.done || thread.waiting_block || thread.waiting_warp) continue;
            current = i;
            swapcontext(&scheduler, &thread.context);
            if (failure != nullptr) return;
        }
    } while (release(begin, end, &Thread::waiting_warp));
}

// Run one block: between two barriers one warp after the other, each as far as it comes.
inline void run_block(int count, Order& order) {
    start_threads(count);
    std::vector<int> warps((count + LANES - 1) / LANES);
    do {
        order.arrange(warps, 0);
        for (const int w : warps) {
            run_warp(w * LANES, min((w + 1) * LANES, count), order);
            if (failure != nullptr) return;
        }
    } while (release(0, count, &Thread::waiting_block));
    for (const auto& thread : threads) {
        if (!thread.done) {
            failure = "threads wait at different barriers for ever";
            return;
        }
    }
    for (const auto& thread : threads) {
        if (!thread.open.empty()) failure = "asynchronous copies were never committed";
        for (const auto& group : thread.groups) {
            if (!group.empty()) failure = "a thread ended with asynchronous copies under way";
        }
    }
}

inline void fill_shared(std::size_t bytes) {
    // All bits set is a NaN in every format.
    shared.assign(bytes + 64 + GUARD_BYTES, GUARD);
}

inline bool guard_intact(std::size_t bytes) {
    const unsigned char* last = shared.data() + shared.size();
    for (const unsigned char* byte = dynamic_shared() + bytes; byte < last; ++byte) {
        if (*byte != GUARD) return false;
    }
    return true;
}

template <class... Arguments, std::size_t... I>
void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<Arguments>*>(arguments[I])...);
}

template <class... Arguments>
const char* launch(void (*kernel)(Arguments...), const unsigned* grid, unsigned block, std::size_t shared_bytes,
                   void** arguments, int order_number, bool early) {
    static void (*entry)(Arguments...);
    static void** values;
    entry = kernel;
    values = arguments;
    body = [] { call(entry, values, std::make_index_sequence<sizeof...(Arguments)>{}); };
    failure = nullptr;
    early_copies = early;
    Order order(order_number);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z) {
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y) {
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x) {
                fill_shared(shared_bytes);
                run_block(static_cast<int>(block), order);
                if (failure == nullptr && !guard_intact(shared_bytes)) failure = "shared memory written past its end";
                if (failure != nullptr) return failure;
            }
        }
    }
    return nullptr;
}

}  // namespace host

// What the Python side calls: null, or why the run is no good.
#define EXPORT(kernel)                                                                                           \
    extern "C" const char* launch(const unsigned* grid, unsigned block, std::size_t shared, void** values,       \
                                  int order, int early) {                                                        \
        return host::launch(kernel, grid, block, shared, values, order, early != 0);                             \
    }
