// Tensor cores of sm_90a, which read both inputs from shared memory, and the barriers between those
// who fill it and those who multiply. Matrices lie there as rows of 64 f16 (128 bytes), eight rows
// after each other; the 16-byte piece c of row r at place c ^ (r % 8) (the 128-byte swizzle of the
// PTX manual), from a multiple of 1024 bytes on.
#pragma once
#include "types.cuh"

constexpr u32 SWIZZLED_ROW = 128;  // bytes

__device__ __forceinline__ u32 shared_address(const void* p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ u32 swizzled(u32 row, u32 piece) {
    return row * SWIZZLED_ROW + ((piece ^ (row % 8)) << 4);
}

__device__ __forceinline__ void copy_async(u32 to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ void barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

__device__ __forceinline__ void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
    asm volatile(
        "{\n.reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

// What ordinary stores and cp.async brought to shared memory becomes visible to wgmma.
__device__ __forceinline__ void fence_for_wgmma() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void wgmma_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// A matrix in shared memory as wgmma wants it named; 32 bytes further on are the next 16 columns.
__device__ __forceinline__ u64 matrix_at(u32 address) {
    constexpr u64 EIGHT_ROWS = 8 * SWIZZLED_ROW / 16, SWIZZLE_128 = 1;
    return (address & 0x3FFFF) >> 4 | 1ull << 16 | EIGHT_ROWS << 32 | SWIZZLE_128 << 62;
}

#define MOSS_8(c, i)                                                                            \
    "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), \
        "+f"(c[i + 6]), "+f"(c[i + 7])

// C[64][128] (+)= A[64][16] B[128][16]^T by the 128 threads of a warpgroup; warp w = thread / 32
// has rows 16 w.. of C: lane = 4 g + t holds  c[4 j + 0..1] (row g, columns 8 j + 2 t + 0..1)  c[4
// j + 2..3] (row g + 8, the same columns)
__device__ __forceinline__ void wgmma_64x128(float (&c)[64], u64 a, u64 b, bool add) {
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1, 0, 0;\n}"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56)
        : "l"(a), "l"(b), "r"(u32(add)));
}

#undef MOSS_8

#endif
