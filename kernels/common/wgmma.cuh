// wgmma and mbarrier of sm_90a. wgmma reads both matrices from shared memory; mbarriers synchronize
// the producer warps, which write it, with the consumer warps, which multiply.
//
// A matrix in shared memory has rows of 64 f16 (128 bytes), one after another. The 16-byte piece c
// of row r is stored at index c ^ (r % 8): the 128-byte swizzle of the PTX manual, which needs an
// alignment of 1024 bytes.
#pragma once
#include "types.cuh"

constexpr u32 SWIZZLED_ROW = 128;  // bytes

__device__ __forceinline__ u32 shared_address(const void* p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

// Byte offset of a 16-byte piece of a row.
__device__ __forceinline__ u32 swizzled_offset(u32 row, u32 piece) {
    return row * SWIZZLED_ROW + ((piece ^ (row % 8)) << 4);
}

__device__ __forceinline__ void cp_async(u32 to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ void mbarrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

__device__ __forceinline__ void mbarrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Waits until the mbarrier has completed the phase of this parity.
__device__ __forceinline__ void mbarrier_wait(u32 barrier, u32 parity) {
    asm volatile(
        "{\n.reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

// Makes stores and cp.async copies to shared memory visible to wgmma, which uses the async proxy.
__device__ __forceinline__ void fence_proxy_async() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Matrix descriptor of wgmma. The next 16 columns are 32 bytes further on: add 2, because addresses
// are in units of 16 bytes.
__device__ __forceinline__ u64 matrix_descriptor(u32 address) {
    constexpr u64 EIGHT_ROWS = 8 * SWIZZLED_ROW / 16, SWIZZLE_128 = 1;
    return (address & 0x3FFFF) >> 4 | 1ull << 16 | EIGHT_ROWS << 32 | SWIZZLE_128 << 62;
}

#define MOSS_8(c, i)                                                                            \
    "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), \
        "+f"(c[i + 6]), "+f"(c[i + 7])

// C[64][128] (+)= A[64][16] B[128][16]^T by the 128 threads of a warpgroup. Warp w has the rows
// from 16 w of C on; its lane 4 g + t holds
//   c[4 j + 0..1]  row g, columns 8 j + 2 t + 0..1
//   c[4 j + 2..3]  row g + 8, the same columns
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
