// Micro-kernels that measure what a chip can do at best: memory streams, gathered reads, exponentials, shared memory, and
// the cost of a launch. Every loop's result reaches memory under a condition the host makes false, so that none is
// optimised away. Memory kernels move 16 bytes per thread and step over `count` elements of 16 bytes.
#include "device.cuh"

DEVICE long long first_element() { return static_cast<long long>(blockIdx.x) * block_threads() + thread_index(); }
DEVICE long long all_threads() { return static_cast<long long>(gridDim.x) * block_threads(); }

KERNEL read_stream(const uint4* in, unsigned* sink, long long count, unsigned never) {
    unsigned mixed = 0;
    for (long long i = first_element(); i < count; i += all_threads()) {
        const uint4 x = in[i];
        mixed ^= x.x ^ x.y ^ x.z ^ x.w;
    }
    if (mixed == never) sink[0] = mixed;
}

KERNEL copy_stream(const uint4* in, uint4* out, long long count) {
    for (long long i = first_element(); i < count; i += all_threads()) out[i] = in[i];
}

// out = a + factor * b, as in STREAM.
KERNEL triad_stream(const float4* a, const float4* b, float4* out, float factor, long long count) {
    for (long long i = first_element(); i < count; i += all_threads()) {
        const float4 x = a[i];
        const float4 y = b[i];
        out[i] = float4{x.x + factor * y.x, x.y + factor * y.y, x.z + factor * y.z, x.w + factor * y.w};
    }
}

// Read `runs` runs of `length` elements of 16 bytes each, run i starting at starts[i] * length. Neighbouring threads read
// neighbouring elements of a run.
KERNEL gather_stream(const uint4* in, const int* starts, unsigned* sink, long long runs, int length, unsigned never) {
    unsigned mixed = 0;
    for (long long i = first_element(); i < runs * length; i += all_threads()) {
        const uint4 x = in[static_cast<long long>(starts[i / length]) * length + i % length];
        mixed ^= x.x ^ x.y ^ x.z ^ x.w;
    }
    if (mixed == never) sink[0] = mixed;
}

// EXPONENTIALS_PER_STEP independent chains x <- exp2(-x) per thread, which stay between 0.5 and 1.
constexpr int EXPONENTIALS_PER_STEP = 8;

KERNEL exponentials(float* sink, int steps, float never) {
    float x[EXPONENTIALS_PER_STEP];
#pragma unroll
    for (int i = 0; i < EXPONENTIALS_PER_STEP; ++i) x[i] = 0.5f + 0.001f * static_cast<float>(thread_index() + i);
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int i = 0; i < EXPONENTIALS_PER_STEP; ++i) x[i] = fast_exp2(-x[i]);
    }
    float mixed = 0.0f;
#pragma unroll
    for (int i = 0; i < EXPONENTIALS_PER_STEP; ++i) mixed += x[i];
    if (mixed == never) sink[0] = mixed;
}

// Each thread reads `steps` times 16 bytes of shared memory, neighbouring threads neighbouring elements. Block: 256 threads.
constexpr int SHARED_ELEMENTS = 1024;

KERNEL shared_reads(unsigned* sink, int steps, unsigned never) {
    SHARED uint4 memory[SHARED_ELEMENTS];
    for (int i = thread_index(); i < SHARED_ELEMENTS; i += block_threads()) {
        const unsigned word = static_cast<unsigned>(i);
        memory[i] = uint4{word, word, word, word};
    }
    block_barrier();
    unsigned mixed = 0;
    for (int step = 0; step < steps; ++step) {
        const uint4 x = read_shared_16(memory + (thread_index() + step * block_threads()) % SHARED_ELEMENTS);
        mixed ^= x.x + x.y + x.z + x.w;
    }
    if (mixed == never) sink[0] = mixed;
}

KERNEL nothing(int) {}
