// repack_{int4,int8}: GPTQ weights from the published layout to fragment order
// (common/dequantize.cuh), once, at load.
//   qweight  u32 [inputs / per_word, outputs]
//   out      u32 [tiles][blocks][32 lanes x 4 or 8 words]
//   order    u32 [64 * blocks], the input permutation: the input at each index, or ~0 for padding;
//            null for the identity
//   grid one thread per word   sm_75+
//
// repack_table_{int4,int8}: scales and zero points of these weights to tables.
//   qzeros    u32 [groups, ceil(outputs / per_word)], minus one
//   scales    f16 [groups, outputs]
//   out       uint2 [tiles][entries_per_tile][8]
//   group_of  u32 [entries_per_tile], the group of each table entry, or null for the identity
//
//   pair crates/moss-cuda/src/repack.rs
#include "common/types.cuh"

// Returns the quantized weight of output `row` and input order[permuted].
template <u32 BITS>
__device__ __forceinline__ u32 quantized_weight(const u32* qweight, const u32* order, u32 inputs,
                                                u32 outputs, u32 permuted, u32 row) {
    const u32 input = order ? order[permuted] : permuted;
    if (input >= inputs || row >= outputs)
        return 0;  // x is zero there, or the output is not stored
    constexpr u32 PER_WORD = 32 / BITS;
    return qweight[u64(input / PER_WORD) * outputs + row] >> input % PER_WORD * BITS &
           ((1u << BITS) - 1);
}

// Index of the input k(step, p, e) in common/dequantize.cuh.
__device__ __forceinline__ u32 input_index(u32 block, u32 t, u32 step, u32 p, u32 e) {
    return block * K_BLOCK + 32 * (step / 2) + 8 * t + 4 * (step % 2) + 2 * p + e;
}

extern "C" __global__ void __launch_bounds__(256) repack_int4(const u32* __restrict__ qweight,
                                                              const u32* __restrict__ order,
                                                              u32* __restrict__ out, u32 inputs,
                                                              u32 outputs, u32 blocks, u64 words) {
    griddepcontrol_wait();
    const u64 index = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= words) return;
    const u32 step = index % 4, lane = index / 4 % WARP, g = lane / 4, t = lane % 4;
    const u32 block = index / 128 % blocks, tile = index / 128 / blocks;
    u32 word = 0;
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        const u32 a = i % 4, e = i / 4;
        const u32 input = input_index(block, t, step, a / 2, e), row = tile * 16 + g + 8 * (a % 2);
        word |= quantized_weight<4>(qweight, order, inputs, outputs, input, row) << 4 * i;
    }
    out[index] = word;
}

extern "C" __global__ void __launch_bounds__(256) repack_int8(const u32* __restrict__ qweight,
                                                              const u32* __restrict__ order,
                                                              u32* __restrict__ out, u32 inputs,
                                                              u32 outputs, u32 blocks, u64 words) {
    griddepcontrol_wait();
    const u64 index = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= words) return;
    const u32 word_of_piece = index % 4, piece = index / 128 % 2;
    const u32 lane = index / 4 % WARP, g = lane / 4, t = lane % 4;
    const u32 block = index / 256 % blocks, tile = index / 256 / blocks;
    const u32 step = 2 * piece + word_of_piece / 2, p = word_of_piece % 2;
    u32 word = 0;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 input = input_index(block, t, step, p, i % 2), row = tile * 16 + g + 8 * (i / 2);
        word |= quantized_weight<8>(qweight, order, inputs, outputs, input, row) << 8 * i;
    }
    out[index] = word;
}

template <u32 BITS>
__device__ __forceinline__ void table(const u32* qzeros, const half* scales, const u32* group_of,
                                      uint2* out, u32 outputs, u32 entries_per_tile, u32 entries) {
    griddepcontrol_wait();
    const u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= entries) return;
    const u32 g = index % 8, entry = index / 8 % entries_per_tile,
              tile = index / 8 / entries_per_tile;
    const u32 group = group_of ? group_of[entry] : entry;
    constexpr u32 PER_WORD = 32 / BITS;
    const u32 zero_words = (outputs + PER_WORD - 1) / PER_WORD;
    half2 pairs[2];
#pragma unroll
    for (u32 lower = 0; lower < 2; ++lower) {
        const u32 row = tile * 16 + g + 8 * lower;
        half scale = __float2half_rn(0.f);
        float zero = 0.f;
        if (row < outputs) {
            scale = scales[u64(group) * outputs + row];
            const u32 word = qzeros[u64(group) * zero_words + row / PER_WORD];
            zero = 1.f + (word >> row % PER_WORD * BITS & ((1u << BITS) - 1));
        }
        const bool is_high_nibble = BITS == 4 && lower == 1;  // see unpack_int4
        const float shift = is_high_nibble ? -(64.f + zero) : 1024.f + zero;
        pairs[lower] = __halves2half2(scale, __float2half_rn(shift));
    }
    out[index] = make_uint2(*reinterpret_cast<u32*>(&pairs[0]), *reinterpret_cast<u32*>(&pairs[1]));
}

extern "C" __global__ void __launch_bounds__(256) repack_table_int4(
    const u32* qzeros, const half* scales, const u32* group_of, uint2* out, u32 outputs,
    u32 entries_per_tile, u32 entries) {
    table<4>(qzeros, scales, group_of, out, outputs, entries_per_tile, entries);
}
extern "C" __global__ void __launch_bounds__(256) repack_table_int8(
    const u32* qzeros, const half* scales, const u32* group_of, uint2* out, u32 outputs,
    u32 entries_per_tile, u32 entries) {
    table<8>(qzeros, scales, group_of, out, outputs, entries_per_tile, entries);
}

// fill_random: synthetic weights for benchmarks, random words masked by `word & keep | set[i % 2]`.
extern "C" __global__ void __launch_bounds__(256) fill_random(u32* __restrict__ out, u64 words,
                                                              u32 seed, u32 keep, u32 set_even,
                                                              u32 set_odd) {
    griddepcontrol_wait();
    for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < words;
         i += u64(gridDim.x) * blockDim.x) {
        u64 z = (i + 1) * 0x9e3779b97f4a7c15ull + u64(seed) * 0xd1342543de82ef95ull;  // splitmix64
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        out[i] = u32((z ^ z >> 31) & keep) | (i % 2 ? set_odd : set_even);
    }
}
