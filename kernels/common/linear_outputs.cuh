// The outputs of the decode kernels: which tiles a thread block computes, the sum of the slices,
// and the epilogues.
#pragma once
#include "linear_args.cuh"

constexpr u32 SLICES = 8;  // of the inputs; see common/linear.cuh

// The matrix of a tile of the launch, and the tile in it.
struct TileOf {
    const Segment* segment;
    u32 tile;

    __device__ TileOf(const LinearArgs& args, u32 of_launch) {
        const u32 at = of_launch + args.tile_offset;
        const bool second = args.first_tiles > 0 && at >= args.first_tiles;
        segment = &args.segments[second], tile = second ? at - args.first_tiles : at;
    }
};

// The tiles of a thread block: up to MAX, all of one matrix of the launch.
template <u32 MAX> struct BlockTiles {
    u32 tile, tiles;  // the first tile of the launch, and their number

    __device__ BlockTiles(const LinearArgs& args, u32 all, u32 block) {
        // Tiles of the launch before those of segments[1]
        const u32 first = args.first_tiles > args.tile_offset
                              ? min(args.first_tiles - args.tile_offset, all)
                              : 0;
        const u32 first_blocks = (first + MAX - 1) / MAX;
        const u32 last = block < first_blocks ? first : all;
        tile = block < first_blocks ? block * MAX : first + (block - first_blocks) * MAX;
        tiles = min(MAX, last - tile);
    }
};

// Epilogue of outputs 2 pair and 2 pair + 1 of a tile of the launch for one token.
__device__ __forceinline__ void store_outputs(const LinearArgs& args, u32 of_launch, u32 pair,
                                              u32 token, float even, float odd) {
    const u32 tile = of_launch + args.tile_offset;
    if (args.epilogue == QKV_ROPE_GELU) {
        if (tile >= args.first_tiles) {
            const u32 r = (tile - args.first_tiles) * 16 + 2 * pair;
            if (r < args.heads.inner_size) store_inner(args.heads, token, r, even);
            if (r + 1 < args.heads.inner_size) store_inner(args.heads, token, r + 1, odd);
        } else {
            const u32 r = tile * 16 + 2 * pair;
            if (r < 3 * args.heads.hidden) store_head_pair(args.heads, token, r, even, odd);
        }
        return;
    }
#pragma unroll
    for (u32 e = 0; e < 2; ++e) {
        const u32 r = tile * 16 + 2 * pair + e;
        if (r >= args.rows) break;
        float* out = args.out + token * args.out_stride + r;
        const float y = (e ? odd : even) + (args.bias ? args.bias[r] : 0.f) +
                        (args.epilogue == RESIDUAL ? *out : 0.f);
        *out = y;
        if (!is_finite(y)) report_non_finite(args.non_finite, args.layer, token, y);
    }
}

// Outputs 2 pair and 2 pair + 1 of a tile of the launch, for several tokens: the loads of all come
// first. The results are those of store_outputs.
struct OutputPair {
    const LinearArgs& args;
    const u32 tile, pair;

    __device__ __forceinline__ OutputPair(const LinearArgs& a, u32 of_launch, u32 p)
        : args(a), tile(of_launch + a.tile_offset), pair(p) {}

    // Stores the first `count` of COUNT tokens.
    template <u32 COUNT> __device__ __forceinline__ void store(const u32 (&tokens)[COUNT],
                                                               u32 count,
                                                               float2 (&y)[COUNT]) const {
        if (args.epilogue != QKV_ROPE_GELU) {
            store_sums(tile * 16 + 2 * pair, tokens, count, y);
        } else if (tile < args.first_tiles) {
            store_heads(tile * 16 + 2 * pair, tokens, count, y);
        } else {
            store_inner_pair((tile - args.first_tiles) * 16 + 2 * pair, tokens, count, y);
        }
    }

private:
    template <u32 COUNT>
    __device__ __forceinline__ void store_sums(u32 r, const u32 (&tokens)[COUNT], u32 count,
                                               const float2 (&y)[COUNT]) const {
        float old[COUNT][2] = {}, bias[2] = {};
#pragma unroll
        for (u32 e = 0; e < 2; ++e) {
            if (r + e >= args.rows) break;
            if (args.bias) bias[e] = args.bias[r + e];
            if (args.epilogue != RESIDUAL) continue;
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i)
                old[i][e] = args.out[tokens[i] * args.out_stride + r + e];
        }
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) {
            if (i >= count) break;
#pragma unroll
            for (u32 e = 0; e < 2; ++e) {
                if (r + e >= args.rows) break;
                const float sum = (e ? y[i].y : y[i].x) + bias[e] + old[i][e];
                args.out[tokens[i] * args.out_stride + r + e] = sum;
                if (!is_finite(sum)) report_non_finite(args.non_finite, args.layer, tokens[i], sum);
            }
        }
    }
    template <u32 COUNT>
    __device__ __forceinline__ void store_heads(u32 r, const u32 (&tokens)[COUNT], u32 count,
                                                float2 (&y)[COUNT]) const {
        const Heads& to = args.heads;
        if (r >= 3 * to.hidden) return;
        const HeadPair heads(to, r);
        u32 slot[COUNT] = {};
        if (heads.needs_slot()) {
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) slot[i] = to.slots[tokens[i]];
        }
        if (heads.is_rotated()) {
            u64 angle[COUNT];
            float sin[COUNT], cos[COUNT];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) angle[i] = heads.angle(to.positions[tokens[i]]);
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) sin[i] = to.sin[angle[i]], cos[i] = to.cos[angle[i]];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) y[i] = HeadPair::rotated(y[i], sin[i], cos[i]);
        }
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i)
            if (i < count) heads.store(tokens[i], slot[i], y[i]);
    }
    template <u32 COUNT>
    __device__ __forceinline__ void store_inner_pair(u32 r, const u32 (&tokens)[COUNT], u32 count,
                                                     const float2 (&y)[COUNT]) const {
        const Heads& to = args.heads;
#pragma unroll
        for (u32 e = 0; e < 2; ++e) {
            if (r + e >= to.inner_size) break;
            const u32 column = to.inner_scatter ? to.inner_scatter[r + e] : r + e;
            const float bias = to.inner_bias[r + e];
            half out[COUNT];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i)
                out[i] = __float2half_rn(gelu_tanh((e ? y[i].y : y[i].x) + bias));
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i)
                if (i < count) to.inner[u64(tokens[i]) * to.inner_stride + column] = out[i];
        }
    }
};

// Adds the sums of the slices, which are `stride` apart.
__device__ __forceinline__ float sum_slices(const float* sums, u32 stride) {
    const auto pair = [&](u32 i) { return sums[i * stride] + sums[(i + 1) * stride]; };
    return (pair(0) + pair(2)) + (pair(4) + pair(6));
}
