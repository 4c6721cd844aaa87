// The instruction set: every intrinsic and every line of PTX the kernels use, and nothing else.
//
// No CUDA header is included, so the kernels compile with NVRTC alone. The host build of the tests puts its own
// device.cuh in place of this one and runs the same kernels, thread by thread, on a CPU.
#pragma once

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__
#define MAX_THREADS(threads, blocks) __launch_bounds__(threads, blocks)
#define SHARED __shared__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

struct float16_t {
    unsigned short bits;
};
struct bfloat16_t {
    unsigned short bits;
};

DEVICE float to_float(float x) { return x; }

DEVICE float to_float(float16_t x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}

DEVICE float to_float(bfloat16_t x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

// Round to nearest even into the type of the second argument, whose value is not read.
DEVICE float round_like(float x, float) { return x; }

DEVICE float16_t round_like(float x, float16_t narrow) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
}

DEVICE bfloat16_t round_like(float x, bfloat16_t narrow) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(x));
    return narrow;
}

// Two rounded values in one register, `low` in the lower half as in memory.
template <class T>
DEVICE unsigned pack(float low, float high);

template <>
DEVICE unsigned pack<float16_t>(float low, float high) {
    unsigned packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

template <>
DEVICE unsigned pack<bfloat16_t>(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

DEVICE float minus_infinity() { return __int_as_float(0xff800000); }

// The exponential unit's own instruction; relative error below 2^-22, exp2(-inf) = 0.
DEVICE float fast_exp2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
DEVICE int block_threads() { return static_cast<int>(blockDim.x); }

DEVICE void block_barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }

// The value of the lane whose number differs from this one's by the bits of `mask`.
DEVICE float lane_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

DEVICE unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Start copying 16 bytes from global to shared memory; zeros are written and nothing is read where `valid` is false.
DEVICE void copy_async_16(void* shared, const void* global, bool valid) {
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "r"(bytes)
                 : "memory");
}

// Read 16 bytes of shared memory; never merged, moved or left out.
DEVICE uint4 read_shared_16(const void* shared) {
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(shared_address(shared)));
    return x;
}

// Close the group of copies started since the last call.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" : : : "memory"); }

// Wait until at most PENDING of this thread's newest groups are still under way.
template <int PENDING>
DEVICE void wait_copies() {
    asm volatile("cp.async.wait_group %0;" : : "n"(PENDING) : "memory");
}

// Four 8x8 matrices of 16-bit elements; lanes 8i to 8i+7 give the addresses of the rows of matrix i. Lane l receives,
// of each matrix, the elements (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1).
DEVICE void load_matrices(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, each matrix transposed on the way.
DEVICE void load_matrices_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a b with a 16x16, b 16x8, c 16x8, spread over a warp. With g = lane / 4 and t = lane % 4:
//   a[0], a[1]: rows g, g + 8 at columns 2t, 2t+1;   a[2], a[3]: the same rows at columns 2t+8, 2t+9
//   b0, b1:     column g at rows 2t, 2t+1 and 2t+8, 2t+9
//   c[0], c[1]: row g at columns 2t, 2t+1;           c[2], c[3]: row g + 8
template <class T>
DEVICE void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

template <>
DEVICE void multiply_add<float16_t>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
DEVICE void multiply_add<bfloat16_t>(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
