// Where the outputs of qkv_proj and fc_in go. Shared by the few-row linear kernel and by the
// many-row epilogue.
#pragma once
#include "types.cuh"

// Mirrored by `Heads` in crates/moss-kernels/src/cuda/args.rs.
struct Heads {
    half* q;     // [rows, num_heads, head_stride]
    half* keys;  // one layer's cache: [num_blocks, num_heads, 16, head_stride]
    half* values;
    const u32* positions;  // [rows]
    const u32* slots;      // [rows], block * 16 + offset
    const float* sin;      // [context, rotary_pairs]
    const float* cos;
    const float* inner_bias;   // [inner]
    half* inner;               // [rows, inner_stride]
    const u32* inner_scatter;  // column of each inner value, or null for its own number
    u32 inner_size, inner_stride;
    u32 hidden, shards;  // qkv_proj's outputs: `shards` slabs of [query | value | key], a trace of
                         // sharded training
    u32 num_heads, head_dim, head_stride, rotary_pairs;
};

// Outputs r and r + 1 (r even) of qkv_proj for one row: rotated where they are query or key, and
// put where they belong.
__device__ __forceinline__ void store_head_pair(const Heads& to, u32 row, u32 r, float even,
                                                float odd) {
    const u32 part_size = to.hidden / to.shards;
    const u32 slab = r / (3 * part_size), in_slab = r - slab * 3 * part_size;
    const u32 part = in_slab / part_size,
              in_part = in_slab - part * part_size;  // part 0 query, 1 value, 2 key
    const u32 head = slab * (to.num_heads / to.shards) + in_part / to.head_dim,
              lane = in_part % to.head_dim;
    if (part != 1 && lane < 2 * to.rotary_pairs) {
        const u64 angle = u64(to.positions[row]) * to.rotary_pairs + lane / 2;
        const float sin = to.sin[angle], cos = to.cos[angle], turned = even * cos - odd * sin;
        odd = odd * cos + even * sin;
        even = turned;
    }
    half* at;
    if (part == 0) {
        at = to.q + (u64(row) * to.num_heads + head) * to.head_stride;
    } else {
        const u32 slot = to.slots[row];
        const u64 line = (u64(slot / BLOCK_POSITIONS) * to.num_heads + head) * BLOCK_POSITIONS +
                         slot % BLOCK_POSITIONS;
        at = (part == 1 ? to.values : to.keys) + line * to.head_stride;
    }
    *reinterpret_cast<half2*>(at + lane) = __floats2half2_rn(even, odd);
}

// Output r of fc_in for one row.
__device__ __forceinline__ void store_inner(const Heads& to, u32 row, u32 r, float sum) {
    const u32 column = to.inner_scatter ? to.inner_scatter[r] : r;
    to.inner[u64(row) * to.inner_stride + column] = __float2half_rn(
        gelu_tanh(sum + to.inner_bias[r]));
}
