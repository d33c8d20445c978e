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

// C[64][N] (+)= A[64][16] B[N][16]^T by the 128 threads of a warpgroup. Warp w has the rows from 16
// w of C on; its lane 4 g + t holds
//   c[4 j + 0..1]  row g, columns 8 j + 2 t + 0..1
//   c[4 j + 2..3]  row g + 8, the same columns
__device__ __forceinline__ void wgmma_64x64(float (&c)[32], u64 a, u64 b, bool add) {
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, add, 1, 1, 0, 0;\n}"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24)
        : "l"(a), "l"(b), "r"(u32(add)));
}

__device__ __forceinline__ void wgmma_64x192(float (&c)[96], u64 a, u64 b, bool add) {
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %98, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "
        "%96, %97, add, 1, 1, 0, 0;\n}"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56), MOSS_8(c, 64), MOSS_8(c, 72), MOSS_8(c, 80), MOSS_8(c, 88)
        : "l"(a), "l"(b), "r"(u32(add)));
}

// C[64][N] (+)= A[64][16] B[N][16]^T for N = 16, 32, 64 or 128, added if ADD. A is in registers, as
// fragments of common/mma.cuh; B has rows of the inner dimension (matrix_descriptor).
template <bool ADD>
__device__ __forceinline__ void wgmma_fragments(float (&c)[16], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
        "{%16, %17, %18, %19}, %20, %21, 1, 1, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(ADD)));
}
template <bool ADD>
__device__ __forceinline__ void wgmma_fragments(float (&c)[32], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, %37, 1, 1, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(ADD)));
}

template <bool ADD>
__device__ __forceinline__ void wgmma_fragments(float (&c)[8], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7}, "
        "{%8, %9, %10, %11}, %12, %13, 1, 1, 0;"
        : MOSS_8(c, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(ADD)));
}
template <bool ADD>
__device__ __forceinline__ void wgmma_fragments(float (&c)[64], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "{%64, %65, %66, %67}, %68, %69, 1, 1, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(ADD)));
}

// C[64][N] += A[64][16] B[N][16]^T for N = 16, 32, 64 or 128.
__device__ __forceinline__ void wgmma_add(float (&c)[8], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7}, "
        "%8, %9, 1, 1, 1, 0, 0;"
        : MOSS_8(c, 0)
        : "l"(a), "l"(b));
}
__device__ __forceinline__ void wgmma_add(float (&c)[16], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
        "%16, %17, 1, 1, 1, 0, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8)
        : "l"(a), "l"(b));
}
__device__ __forceinline__ void wgmma_add(float (&c)[32], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, 1, 1, 1, 0, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24)
        : "l"(a), "l"(b));
}
__device__ __forceinline__ void wgmma_add(float (&c)[64], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, 1, 1, 1, 0, 0;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56)
        : "l"(a), "l"(b));
}

// Matrix descriptor of a matrix whose rows are the inner dimension of the product: B[16][columns].
// Groups of 64 columns are `stride` bytes apart; the next 16 rows are 2048 bytes further on.
__device__ __forceinline__ u64 transposed_descriptor(u32 address, u32 stride) {
    constexpr u64 EIGHT_ROWS = 8 * SWIZZLED_ROW / 16, SWIZZLE_128 = 1;
    return (address & 0x3FFFF) >> 4 | u64(stride / 16) << 16 | EIGHT_ROWS << 32 | SWIZZLE_128 << 62;
}

// C[64][64] += A[64][16] B[16][64]. A is in registers, as fragments of common/mma.cuh; B has rows
// of keys (transposed_descriptor).
__device__ __forceinline__ void wgmma_add_64x64(float (&c)[32], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// C[64][128] += A[64][16] B[16][128]. A is in registers, as fragments of common/mma.cuh; B has rows
// of keys (transposed_descriptor).
__device__ __forceinline__ void wgmma_add_64x128(float (&c)[64], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// C[64][256] += A[64][16] B[16][256]. A is in registers, as fragments of common/mma.cuh; B has rows
// of keys (transposed_descriptor).
__device__ __forceinline__ void wgmma_add_64x256(float (&c)[128], const u32 (&a)[4], u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "
        "%111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
        "%127}, "
        "{%128, %129, %130, %131}, %132, 1, 1, 1, 1;"
        : MOSS_8(c, 0), MOSS_8(c, 8), MOSS_8(c, 16), MOSS_8(c, 24), MOSS_8(c, 32), MOSS_8(c, 40),
          MOSS_8(c, 48), MOSS_8(c, 56), MOSS_8(c, 64), MOSS_8(c, 72), MOSS_8(c, 80), MOSS_8(c, 88),
          MOSS_8(c, 96), MOSS_8(c, 104), MOSS_8(c, 112), MOSS_8(c, 120)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#undef MOSS_8

#endif
