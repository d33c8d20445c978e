// Body of linear_{f16,int8,int4}.cu: y = W x of generated tokens (decode), with the epilogue in the
// same launch. Weights go from device memory to registers, x comes through the L1 cache.
//
// The order of a token's sums is the same in every kernel. The inputs are cut into 8 slices, and a
// slice into units of one or two blocks of 64 inputs (Segment::unit_blocks). The sum of a slice
// starts at zero and adds one mma after the other for f16; for packed weights it adds the sum of
// each unit, multiplied by its scale in f32. With two summed matrices, a slice of segments[1] comes
// before that of segments[0]. The slices are added as a balanced tree, so a device that has 4, 2 or
// 1 neighbouring slices (tensor parallelism) computes a subtree.
#pragma once
#include "dequantize.cuh"
#include "linear_outputs.cuh"
#include "mma.cuh"

constexpr u32 LINEAR_THREADS = 256;

// Pieces of 16 bytes per lane and block.
template <Format F> constexpr u32 PIECES = F == Format::F16 ? 4 : F == Format::Int8 ? 2 : 1;

// Returns the A fragment of step s.
template <Format F> __device__ __forceinline__ Fragment fragment(const uint4 (&w)[PIECES<F>], u32 s,
                                                                 half2 low, half2 high) {
    if constexpr (F == Format::F16) {
        const uint4 upper = w[s / 2], lower = w[(2 + s / 2)];
        return s % 2 == 0 ? Fragment{{upper.x, lower.x, upper.y, lower.y}}
                          : Fragment{{upper.z, lower.z, upper.w, lower.w}};
    } else if constexpr (F == Format::Int8) {
        const uint4 piece = w[s / 2];
        return s % 2 == 0 ? unpack_int8(piece.x, piece.y, low, high)
                          : unpack_int8(piece.z, piece.w, low, high);
    } else {
        return unpack_int4(s == 0 ? w[0].x : s == 1 ? w[0].y : s == 2 ? w[0].z : w[0].w, low, high);
    }
}

// acc += scale * sum; upper has the scale of rows g, lower that of rows g + 8.
__device__ __forceinline__ void add_scaled(float (&acc)[4], const float (&sum)[4], uint2 table) {
    const float upper = __low2float(as_half2(table.x)), lower = __low2float(as_half2(table.y));
    acc[0] += upper * sum[0], acc[1] += upper * sum[1];
    acc[2] += lower * sum[2], acc[3] += lower * sum[3];
}

// Weights of a unit of B blocks and MT tiles, in registers.
template <Format F, u32 B, u32 MT> struct WeightUnit {
    uint4 w[MT][B][PIECES<F>];
    uint2 table[MT];
};

// The weights that a lane reads, unit by unit.
template <Format F, u32 B, u32 MT> struct WeightIterator {
    const uint4* weight;
    const uint2* table;
    u32 tile_pieces, tile_entries;  // distances of the tiles; 0 if there is only one
    u32 row_pieces;                 // f16: row stride in pieces of 16 bytes
    u32 group_units, units_left;    // units per group; units left in the current group

    __device__ WeightIterator(const Segment& s, u32 tile, u32 tiles, u32 unit) {
        const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, block = unit * B;
        if constexpr (F == Format::F16) {
            row_pieces = s.blocks * 8;
            weight = s.weight + u64(tile * 16 + g) * row_pieces + block * 8 + t;
            tile_pieces = 16 * row_pieces;
        } else {
            tile_pieces = s.blocks * PIECES<F> * WARP;
            weight = s.weight + u64(tile) * tile_pieces + block * PIECES<F> * WARP + lane;
            tile_entries = s.groups * 8;
            table = s.table + (u64(tile) * s.groups + block / s.group_blocks) * 8 + g;
            group_units = s.group_blocks / B, units_left = group_units - unit % group_units;
        }
        if (tiles == 1) tile_pieces = tile_entries = 0;
    }

    __device__ __forceinline__ void load(WeightUnit<F, B, MT>& to) {
#pragma unroll
        for (u32 m = 0; m < MT; ++m) {
#pragma unroll
            for (u32 b = 0; b < B; ++b) {
#pragma unroll
                for (u32 i = 0; i < PIECES<F>; ++i) {
                    // f16: rows g and g + 8, inputs 8 t.. and 8 t + 32.. of each
                    const u32 at = F == Format::F16 ? b * 8 + (i % 2) * 4 + (i / 2) * 8 * row_pieces
                                                    : (b * PIECES<F> + i) * WARP;
                    to.w[m][b][i] = load_streaming(weight + m * tile_pieces + at);
                }
            }
            if constexpr (F != Format::F16) to.table[m] = __ldg(table + m * tile_entries);
        }
        weight += F == Format::F16 ? B * 8 : B * PIECES<F> * WARP;
        if constexpr (F != Format::F16) {
            if (--units_left == 0) units_left = group_units, table += 8;
        }
    }
};

// acc += W x for one unit; x[i] points to the pieces of its first block.
template <Format F, u32 NT, u32 B, u32 MT>
__device__ __forceinline__ void add_unit(const WeightUnit<F, B, MT>& unit, const uint4* (&x)[NT],
                                         float (&acc)[MT][NT][4]) {
    float sum[MT][NT][4] = {};
#pragma unroll
    for (u32 b = 0; b < B; ++b) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            Fragment f[MT][2];
#pragma unroll
            for (u32 m = 0; m < MT; ++m) {
                half2 low = {}, high = {};
                if (F != Format::F16)
                    low = __high2half2(as_half2(unit.table[m].x)),
                    high = __high2half2(as_half2(unit.table[m].y));
                f[m][0] = fragment<F>(unit.w[m][b], 2 * half, low, high);
                f[m][1] = fragment<F>(unit.w[m][b], 2 * half + 1, low, high);
            }
#pragma unroll
            for (u32 i = 0; i < NT; ++i) {
                const uint4 p = x[i][b * 8 + half * 4];
#pragma unroll
                for (u32 m = 0; m < MT; ++m) {
                    float (&to)[4] = F == Format::F16 ? acc[m][i] : sum[m][i];
                    mma_f16(to, f[m][0].a[0], f[m][0].a[1], f[m][0].a[2], f[m][0].a[3], p.x, p.y);
                    mma_f16(to, f[m][1].a[0], f[m][1].a[1], f[m][1].a[2], f[m][1].a[3], p.z, p.w);
                }
            }
        }
    }
#pragma unroll
    for (u32 m = 0; m < MT; ++m)
        if (F != Format::F16) {
#pragma unroll
            for (u32 i = 0; i < NT; ++i) add_scaled(acc[m][i], sum[m][i], unit.table[m]);
        }
#pragma unroll
    for (u32 i = 0; i < NT; ++i) x[i] += B * 8;
}

// acc += W[tiles] x for this warp's slice of the inputs. The first weights are loaded before
// griddepcontrol.wait, which precedes the loads of x if `wait` is set.
template <Format F, u32 NT, u32 B, u32 MT>
__device__ __forceinline__ void accumulate(const Segment& s, u32 tile, u32 tiles, u32 n, bool wait,
                                           float (&acc)[MT][NT][4]) {
    const u32 slice = threadIdx.x / WARP, g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    const u32 units = s.blocks / B, first = units * slice / SLICES;
    u32 left = units * (slice + 1) / SLICES - first;
    WeightIterator<F, B, MT> weights(s, tile, tiles, first);
    WeightUnit<F, B, MT> even, odd;  // double buffering: one is used while the other is loaded
    if (left > 0) weights.load(even);
    if (wait) griddepcontrol_wait();
    if (left == 0) return;
    const uint4* x[NT];
#pragma unroll
    for (u32 i = 0; i < NT; ++i) {  // columns past n repeat the last token; their sums are unused
        const u32 token = min(blockIdx.y * NT * 8 + i * 8 + g, n - 1);
        x[i] = reinterpret_cast<const uint4*>(s.x + u64(token) * s.x_stride) + first * B * 8 + t;
    }
    if constexpr (F == Format::Int4 && NT >= 4) {
        // No double buffering: its registers would prevent two thread blocks per multiprocessor.
        for (; left > 0; --left) {
            add_unit<F, NT, B, MT>(even, x, acc);
            if (left > 1) weights.load(even);
        }
    } else {
        for (;;) {
            if (left > 1) weights.load(odd);
            add_unit<F, NT, B, MT>(even, x, acc);
            if (--left == 0) return;
            if (left > 1) weights.load(even);
            add_unit<F, NT, B, MT>(odd, x, acc);
            if (--left == 0) return;
        }
    }
}

// A thread block computes MT tiles of outputs for 8 NT tokens, so it reads x once for 16 MT
// outputs. Each warp has a slice of the inputs (split-K).
template <Format F, u32 NT, u32 MT>
__device__ __forceinline__ void linear(const DecodeLinearArgs& all) {
    const LinearArgs& args = all.linear;
    constexpr u32 COLUMNS = 8 * NT, STRIDE = COLUMNS + 2;
    __shared__ float sums[SLICES * 16 * STRIDE];
    const BlockTiles<MT> at(args, all.tiles, blockIdx.x);
    const u32 slice = threadIdx.x / WARP, g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    const u32 first_token = blockIdx.y * COLUMNS, columns = min(args.n - first_token, COLUMNS);
    float acc[MT][NT][4] = {};
    griddepcontrol_launch_dependents();
    // With two summed matrices, the input of segments[1] is read before griddepcontrol.wait. It was
    // written before the preceding kernel, attention, triggered this launch (attention_decode.cu).
    const bool both = args.first_tiles == 0 && args.segments[1].blocks > 0;
    const TileOf of(args, at.tile);
#pragma unroll 1
    for (u32 i = both ? 2 : 1; i-- > 0;) {
        const Segment& s = both ? args.segments[i] : *of.segment;
        if (F == Format::Int4 && s.unit_blocks == 2) {
            accumulate<F, NT, F == Format::Int4 ? 2 : 1, MT>(s, of.tile, at.tiles, args.n, i == 0,
                                                             acc);
        } else {
            accumulate<F, NT, 1, MT>(s, of.tile, at.tiles, args.n, i == 0, acc);
        }
    }
#pragma unroll
    for (u32 m = 0; m < MT; ++m) {
        if (m >= at.tiles) break;
        if (m > 0) __syncthreads();  // the sums of the previous tile are read
#pragma unroll
        for (u32 i = 0; i < NT; ++i) {
            float* const to = sums + (slice * 16 + g) * STRIDE + i * 8 + 2 * t;
            to[0] = acc[m][i][0], to[1] = acc[m][i][1];
            to[8 * STRIDE] = acc[m][i][2], to[8 * STRIDE + 1] = acc[m][i][3];
        }
        __syncthreads();
        for (u32 i = threadIdx.x; i < 8 * columns; i += LINEAR_THREADS) {
            const u32 pair = i % 8, column = i / 8;
            const float* const from = sums + 2 * pair * STRIDE + column;
            store_outputs(args, at.tile + m, pair, first_token + column,
                          sum_slices(from, 16 * STRIDE), sum_slices(from + STRIDE, 16 * STRIDE));
        }
    }
}
