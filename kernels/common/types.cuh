// Names and small helpers that every kernel uses. No host headers: the files compile under NVRTC
// too.
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
constexpr u32 BLOCK_POSITIONS = 16;  // positions of a cache block
constexpr u32 K_BLOCK = 64;          // input features that a warp takes in one round

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

// 16 bytes that are read once: they should not push what is read again out of the caches.
__device__ __forceinline__ uint4 load_once(const uint4* p) { return __ldcs(p); }

// Asks for a 128-byte line without waiting for it: memory works while the kernel before this one
// ends.
__device__ __forceinline__ void prefetch(const void* p) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

// gelu in its tanh form, arXiv 1606.08415
__device__ __forceinline__ float gelu_tanh(float x) {
    const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.f + tanhf(inner));
}

// The first value that is not finite, as layer << 48 | row << 32 | bits: the smallest wins, whoever
// finds it.
__device__ __forceinline__ void report_non_finite(u64* flag, u32 layer, u32 row, float value) {
    atomicMin(flag, u64(layer) << 48 | u64(row) << 32 | __float_as_uint(value));
}

__device__ __forceinline__ bool is_finite(float v) {
    return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u;
}

// Programmatic dependent launch (sm_90): a kernel may start while the one before it ends.
// Everything that the one before wrote may be read, and what it reads written, only after
// `wait_for_previous`: every kernel calls it, whatever precedes it today. What may be read sooner:
// what copy_runs brought, since nothing behind it starts before it is over.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
