// The two formats of the KV cache, and the reading of its 8-bit format.
//
// A cache is [blocks, heads, 16, stride] f16, or of each block [heads, 16, stride] 8-bit integers
// with 128 added, then [heads, 16] scales in f16: the largest magnitude of a position and head
// divided by 127, rounded up. A position with a value that is not finite has a scale that is not
// finite and integers 0, so that every product with it is NaN.
#pragma once
#include "types.cuh"

// Where the positions of a head are in a block, in units of Element.
struct F16Cache {
    using Element = half;
    using Pair = u32;  // two elements
    static constexpr bool HAS_SCALES = false;
    static __device__ __forceinline__ u64 line(u32 block, u32 heads, u32 head, u32 offset,
                                               u32 stride) {
        return ((u64(block) * heads + head) * BLOCK_POSITIONS + offset) * stride;
    }
};

struct Int8Cache {
    using Element = u8;
    using Pair = u16;  // two elements
    static constexpr bool HAS_SCALES = true;
    static __device__ __forceinline__ u64 start(u32 block, u32 heads, u32 stride) {
        return u64(block) * heads * BLOCK_POSITIONS * (stride + u32(sizeof(half)));
    }
    static __device__ __forceinline__ u64 line(u32 block, u32 heads, u32 head, u32 offset,
                                               u32 stride) {
        return start(block, heads, stride) + (head * BLOCK_POSITIONS + offset) * stride;
    }
    // The scale of a position. Those of 8 positions from a multiple of 8 on are 16 aligned bytes.
    static __device__ __forceinline__ const half* scales(const u8* cache, u32 block, u32 heads,
                                                         u32 head, u32 offset, u32 stride) {
        const u64 at = start(block, heads, stride) + heads * BLOCK_POSITIONS * stride;
        return reinterpret_cast<const half*>(cache + at) + head * BLOCK_POSITIONS + offset;
    }
};

// The integer in byte I of a word. 2^23 + byte is a float with the byte in its lowest bits.
template <u32 I> __device__ __forceinline__ float int8_at(u32 word) {
    return __uint_as_float(__byte_perm(word, 0x4b000000, 0x7440 | I)) - (8388608.f + 128.f);
}

// Four neighbouring integers times a scale, rounded to f16: pairs of 1024 + byte, less 1024 + 128.
__device__ __forceinline__ uint2 dequantize_int8(u32 word, half2 scale) {
    const half2 zero = __float2half2_rn(1024.f + 128.f);
    uint2 pairs = make_uint2(__byte_perm(word, 0x64646464, 0x4140),
                             __byte_perm(word, 0x64646464, 0x4342));
    half2& low = reinterpret_cast<half2&>(pairs.x);
    half2& high = reinterpret_cast<half2&>(pairs.y);
    low = __hmul2(__hsub2(low, zero), scale);
    high = __hmul2(__hsub2(high, zero), scale);
    return pairs;
}
