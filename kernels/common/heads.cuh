// Epilogue of qkv_proj and fc_in: rotary embedding, KV cache write, and GELU. Shared by the decode
// (GEMV) kernels of common/linear.cuh and by the prefill (GEMM) kernels.
#pragma once
#include "layouts.cuh"
#include "types.cuh"

// Mirrored by `Heads` in crates/moss-cuda/src/args.
struct Heads {
    half* q;     // [tokens, num_heads, head_stride]
    half* keys;  // KV cache of one layer: [num_blocks, num_heads, 16, head_stride]
    half* values;
    const u32* positions;  // [tokens]
    const u32* slots;      // [tokens], block * 16 + offset; decode: or NO_SLOT
    const float* sin;      // [context length, rotary_pairs]
    const float* cos;
    const float* inner_bias;   // [inner_size]
    half* inner;               // [tokens, inner_stride]
    const u32* inner_scatter;  // input permutation of fc_out: the column of each value, or null
    u32 inner_size, inner_stride;
    // The outputs of qkv_proj are `shards` slabs of [query | value | key], because the model was
    // trained with tensor parallelism.
    u32 hidden, shards;
    u32 num_heads, head_dim, head_stride, rotary_pairs;
};
CHECK_LAYOUT_Heads;

// Outputs r and r + 1 (r even) of qkv_proj, of any token.
struct HeadPair {
    const Heads& to;
    u32 part, head, lane;  // 0 query, 1 value, 2 key

    __device__ __forceinline__ HeadPair(const Heads& heads, u32 r) : to(heads) {
        const u32 part_size = to.hidden / to.shards;
        const u32 slab = r / (3 * part_size), in_slab = r - slab * 3 * part_size;
        part = in_slab / part_size;
        const u32 in_part = in_slab - part * part_size;
        head = slab * (to.num_heads / to.shards) + in_part / to.head_dim;
        lane = in_part % to.head_dim;
    }
    __device__ __forceinline__ bool is_rotated() const {
        return part != 1 && lane < 2 * to.rotary_pairs;
    }
    // Index of the sine and cosine of a position.
    __device__ __forceinline__ u64 angle(u32 position) const {
        return u64(position) * to.rotary_pairs + lane / 2;
    }
    static __device__ __forceinline__ float2 rotated(float2 y, float sin, float cos) {
        return make_float2(fmaf(y.x, cos, -(y.y * sin)), fmaf(y.y, cos, y.x * sin));
    }
    __device__ __forceinline__ bool needs_slot() const { return part != 0; }
    // Stores queries, or keys and values in the cache if the token has a slot.
    __device__ __forceinline__ void store(u32 token, u32 slot, float2 y) const {
        half* at;
        if (part == 0) {
            at = to.q + (u64(token) * to.num_heads + head) * to.head_stride;
        } else {
            if (slot == NO_SLOT) return;
            const u64 cache_row = (u64(slot / BLOCK_POSITIONS) * to.num_heads + head) *
                                      BLOCK_POSITIONS +
                                  slot % BLOCK_POSITIONS;
            at = (part == 1 ? to.values : to.keys) + cache_row * to.head_stride;
        }
        *reinterpret_cast<half2*>(at + lane) = __floats2half2_rn(y.x, y.y);
    }
};

// Stores outputs r and r + 1 (r even) of qkv_proj for one token: queries and keys are rotated, keys
// and values are written to the cache, if the token has a slot.
__device__ __forceinline__ void store_head_pair(const Heads& to, u32 token, u32 r, float even,
                                                float odd) {
    const HeadPair pair(to, r);
    float2 y = make_float2(even, odd);
    if (pair.is_rotated()) {
        const u64 angle = pair.angle(to.positions[token]);
        y = HeadPair::rotated(y, to.sin[angle], to.cos[angle]);
    }
    pair.store(token, pair.needs_slot() ? to.slots[token] : 0, y);
}

// Stores output r of fc_in for one token: bias and GELU.
__device__ __forceinline__ void store_inner(const Heads& to, u32 token, u32 r, float sum) {
    const u32 column = to.inner_scatter ? to.inner_scatter[r] : r;
    to.inner[u64(token) * to.inner_stride + column] = __float2half_rn(
        gelu_tanh(sum + to.inner_bias[r]));
}
