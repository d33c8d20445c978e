// Exact conversion of packed weights to half pairs: with an integer q < 1024 in the low bits of the
// half 1024.0, its value is 1024 + q.
//
// Fragment order of a weight, for a tile of 16 output rows and a block of 64 inputs. With lane =
// 4 g + t and step s = 0..3, one mma each, half e of the register a[2 p + (row >= 8)] is the input
//   k(s, p, e) = 32 (s / 2) + 8 t + 4 (s % 2) + 2 p + e
// so the 16 inputs of a lane are two runs of 8 neighbours, and x is read in pieces of 16 bytes.
//   int4  16 bytes per lane: word s; nibble i is the low half of a_i, nibble i + 4 its high half
//   int8  32 bytes per lane: words 2 s (a0, a1) and 2 s + 1 (a2, a3), lowest byte first; the two
//         16-byte pieces of a lane are 32 lanes apart
// The table of a group holds, for rows g and g + 8, the scale and the number that converts 1024 + q
// to q - zero.
#pragma once
#include "types.cuh"

enum class Format { F16, Int8, Int4 };

// The registers of one A fragment (common/mma.cuh).
struct Fragment {
    u32 a[4];
};

__device__ __forceinline__ u32 as_u32(half2 v) { return *reinterpret_cast<u32*>(&v); }
__device__ __forceinline__ half2 as_half2(u32 v) { return *reinterpret_cast<half2*>(&v); }

// (a & mask) | magic, in one instruction
__device__ __forceinline__ u32 mask_or(u32 a, u32 mask, u32 magic) {
    u32 out;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(a), "r"(mask), "r"(magic));
    return out;
}

// low: 1024 + zero of row g; high: -(64 + zero) of row g + 8, whose nibbles are multiplied by 16.
__device__ __forceinline__ Fragment unpack_int4(u32 word, half2 low, half2 high) {
    const half2 sixteenth = __float2half2_rn(0.0625f);
    Fragment f;
    f.a[0] = as_u32(__hsub2(as_half2(mask_or(word, 0x000f000fu, 0x64006400u)), low));
    f.a[1] = as_u32(__hfma2(as_half2(mask_or(word, 0x00f000f0u, 0x64006400u)), sixteenth, high));
    word >>= 8;
    f.a[2] = as_u32(__hsub2(as_half2(mask_or(word, 0x000f000fu, 0x64006400u)), low));
    f.a[3] = as_u32(__hfma2(as_half2(mask_or(word, 0x00f000f0u, 0x64006400u)), sixteenth, high));
    return f;
}

// low, high: 1024 + zero of rows g and g + 8.
__device__ __forceinline__ Fragment unpack_int8(u32 first, u32 second, half2 low, half2 high) {
    Fragment f;
    f.a[0] = as_u32(__hsub2(as_half2(__byte_perm(first, 0x64646464u, 0x4140)), low));
    f.a[1] = as_u32(__hsub2(as_half2(__byte_perm(first, 0x64646464u, 0x4342)), high));
    f.a[2] = as_u32(__hsub2(as_half2(__byte_perm(second, 0x64646464u, 0x4140)), low));
    f.a[3] = as_u32(__hsub2(as_half2(__byte_perm(second, 0x64646464u, 0x4342)), high));
    return f;
}

// Eight dequantized inputs of rows g ([0]) and g + 8 ([1]), from 8 t on.
struct DequantizedRows {
    uint4 row[2];
};

// Dequantizes 32 inputs of a tile: (q - zero) * scale, rounded once. `w` holds two words of this
// lane for int4, four for int8; `entry` is the table entry of the group for rows g and g + 8.
template <Format F> __device__ __forceinline__ DequantizedRows dequantize_rows(const u32* w,
                                                                               uint2 entry) {
    const half2 upper = as_half2(entry.x), lower = as_half2(entry.y);
    const half2 low = __high2half2(upper), high = __high2half2(lower);
    const half2 scales[2] = {__low2half2(upper), __low2half2(lower)};
    Fragment f[2];
    if constexpr (F == Format::Int4) {
        f[0] = unpack_int4(w[0], low, high), f[1] = unpack_int4(w[1], low, high);
    } else {
        f[0] = unpack_int8(w[0], w[1], low, high), f[1] = unpack_int8(w[2], w[3], low, high);
    }
    DequantizedRows out;
#pragma unroll
    for (u32 row = 0; row < 2; ++row) {
        const auto scaled = [&](u32 pair) { return as_u32(__hmul2(as_half2(pair), scales[row])); };
        out.row[row] = {scaled(f[0].a[row]), scaled(f[0].a[2 + row]), scaled(f[1].a[row]),
                        scaled(f[1].a[2 + row])};
    }
    return out;
}
