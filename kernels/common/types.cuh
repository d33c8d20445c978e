// Types and helpers of all kernels. No host headers: the files also compile with NVRTC.
#pragma once
#include <cuda_fp16.h>

#ifndef INFINITY  // NVRTC has no math.h
#define INFINITY __int_as_float(0x7f800000)
#endif

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

constexpr u32 WARP = 32;
constexpr u32 BLOCK_POSITIONS = 16;  // positions per block of the KV cache
constexpr u32 NO_SLOT = ~0u;         // slot of a token without keys and values in the cache
constexpr u32 K_BLOCK = 64;          // input features per block of a weight

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (u32 offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (u32 offset = 16; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, offset));
    return v;
}

// Loads 16 bytes that are read once, with the evict-first policy (ld.global.cs).
__device__ __forceinline__ uint4 load_streaming(const uint4* p) { return __ldcs(p); }

// Prefetches a 128-byte line into L2. Before griddepcontrol.wait, this overlaps with the end of the
// preceding kernel.
__device__ __forceinline__ void prefetch_l2(const void* p) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

// GELU, tanh approximation (arXiv 1606.08415)
__device__ __forceinline__ float gelu_tanh(float x) {
    const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.f + tanhf(inner));
}

// Reports a non-finite value as layer << 48 | row << 32 | bits. The smallest report is kept, so the
// result does not depend on the order of threads.
__device__ __forceinline__ void report_non_finite(u64* flag, u32 layer, u32 row, float value) {
    atomicMin(flag, u64(layer) << 48 | u64(row) << 32 | __float_as_uint(value));
}

__device__ __forceinline__ bool is_finite(float v) {
    return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u;
}

// Programmatic dependent launch (sm_90): a kernel may start before the preceding kernel has
// finished.
//
// Memory that the preceding kernel writes may be read, and memory that it reads may be written,
// only after griddepcontrol_wait. Every kernel calls it, so that kernels may be launched in any
// order. The results of copy_runs may be read before, because copy_runs does not call
// griddepcontrol_launch_dependents: the kernels after it start when it has finished.
__device__ __forceinline__ void griddepcontrol_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void griddepcontrol_launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
