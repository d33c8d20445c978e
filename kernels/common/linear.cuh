// Body of linear_{f16,int8,int4}.cu: y = W x of generated tokens (decode), with the epilogue in the
// same launch.
#pragma once
#include "dequantize.cuh"
#include "linear_args.cuh"
#include "mma.cuh"

// The inputs are cut into this many slices, whatever the batch and the GPU: the order of sums.
constexpr u32 SLICES = 8;

constexpr u32 MAX_COLUMNS = 64;  // tokens of a thread block

// Pieces of 16 bytes per lane and block.
template <Format F> constexpr u32 PIECES = F == Format::F16 ? 4 : F == Format::Int8 ? 2 : 1;

// Iterator over the weights of one tile that a lane reads, unit by unit.
template <Format F, u32 B> struct WeightIterator {
    const uint4* weight;
    const uint2* table;
    u32 row_pieces;               // f16: row stride in pieces of 16 bytes
    u32 group_units, units_left;  // units per group; units left in the current group

    __device__ WeightIterator(const Segment& s, u32 tile, u32 unit) {
        const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, block = unit * B;
        if constexpr (F == Format::F16) {
            row_pieces = s.blocks * 8;
            weight = s.weight + u64(tile * 16 + g) * row_pieces + block * 8 + t;
        } else {
            weight = s.weight + (u64(tile) * s.blocks + block) * PIECES<F> * WARP + lane;
            table = s.table + (u64(tile) * s.groups + block / s.group_blocks) * 8 + g;
            group_units = s.group_blocks / B, units_left = group_units - unit % group_units;
        }
    }
};

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

// Weights of a unit of B blocks, in registers.
template <Format F, u32 B> struct WeightUnit {
    uint4 w[B][PIECES<F>];
    uint2 table;

    __device__ __forceinline__ void load(WeightIterator<F, B>& from) {
#pragma unroll
        for (u32 b = 0; b < B; ++b) {
#pragma unroll
            for (u32 i = 0; i < PIECES<F>; ++i) {
                // f16: rows g and g + 8, inputs 8 t.. and 8 t + 32.. of each
                const u32 at = F == Format::F16
                                   ? b * 8 + (i % 2) * 4 + (i / 2) * 8 * from.row_pieces
                                   : (b * PIECES<F> + i) * WARP;
                w[b][i] = load_streaming(from.weight + at);
            }
        }
        from.weight += F == Format::F16 ? B * 8 : B * PIECES<F> * WARP;
        if constexpr (F != Format::F16) {
            table = __ldg(from.table);
            if (--from.units_left == 0) from.units_left = from.group_units, from.table += 8;
        }
    }
};

// sum += (W - zero points) x for one block; x[i] points to the pieces of block 0.
template <Format F, int NT>
__device__ __forceinline__ void add_block(const uint4 (&w)[PIECES<F>], half2 low, half2 high,
                                          const uint4* const (&x)[NT], u32 block,
                                          float (&sum)[NT][4]) {
#pragma unroll(NT == 8 ? 1 : 2)  // with eight column tiles, registers do not suffice for both
    for (u32 half = 0; half < 2; ++half) {
        const Fragment f0 = fragment<F>(w, 2 * half, low, high),
                       f1 = fragment<F>(w, 2 * half + 1, low, high);
#pragma unroll
        for (int i = 0; i < NT; ++i) {
            const uint4 b = x[i][block * 8 + half * 4];
            mma_f16(sum[i], f0.a[0], f0.a[1], f0.a[2], f0.a[3], b.x, b.y);
            mma_f16(sum[i], f1.a[0], f1.a[1], f1.a[2], f1.a[3], b.z, b.w);
        }
    }
}

// acc += W x for one unit.
template <Format F, int NT, u32 B>
__device__ __forceinline__ void add_unit(const WeightUnit<F, B>& unit, const uint4* (&x)[NT],
                                         float (&acc)[NT][4]) {
    if constexpr (F == Format::F16) {
        add_block<F, NT>(unit.w[0], half2(), half2(), x, 0, acc);
    } else {
        const half2 upper = as_half2(unit.table.x), lower = as_half2(unit.table.y);
        float sum[NT][4] = {};
#pragma unroll
        for (u32 b = 0; b < B; ++b)
            add_block<F, NT>(unit.w[b], __high2half2(upper), __high2half2(lower), x, b, sum);
        const float upper_scale = __low2float(upper), lower_scale = __low2float(lower);
#pragma unroll
        for (int i = 0; i < NT; ++i) {
            acc[i][0] += upper_scale * sum[i][0], acc[i][1] += upper_scale * sum[i][1];
            acc[i][2] += lower_scale * sum[i][2], acc[i][3] += lower_scale * sum[i][3];
        }
    }
#pragma unroll
    for (int i = 0; i < NT; ++i) x[i] += B * 8;
}

// acc += W[tile] x for this warp's share of the inputs. The first weights are loaded before
// griddepcontrol.wait, which precedes the loads of x if `wait` is set.
template <Format F, int NT, u32 B>
__device__ __forceinline__ void accumulate(const Segment& s, u32 tile, u32 n, bool wait,
                                           float (&acc)[NT][4]) {
    const u32 slice = threadIdx.x / WARP, g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    const u32 units = s.blocks / B, first = units * slice / SLICES;
    u32 left = units * (slice + 1) / SLICES - first;
    WeightIterator<F, B> weights(s, tile, first);
    WeightUnit<F, B> even, odd;  // double buffering: one is used while the other is loaded
    if (left > 0) even.load(weights);
    if (wait) griddepcontrol_wait();
    if (left == 0) return;
    const uint4* x[NT];
#pragma unroll
    for (int i = 0; i < NT; ++i) {  // columns past n repeat the last token; their sums are unused
        const u32 column = blockIdx.y * MAX_COLUMNS + i * 8 + g;
        const half* const token = s.x + u64(min(column, n - 1)) * s.x_stride;
        x[i] = reinterpret_cast<const uint4*>(token) + first * B * 8 + t;
    }
    if constexpr (F == Format::Int4 && NT == 4) {
        // No double buffering: its registers would prevent two thread blocks per multiprocessor.
        for (; left > 0; --left) {
            add_unit<F, NT, B>(even, x, acc);
            if (left > 1) even.load(weights);
        }
    } else {
        for (;;) {
            if (left > 1) odd.load(weights);
            add_unit<F, NT, B>(even, x, acc);
            if (--left == 0) return;
            if (left > 1) even.load(weights);
            add_unit<F, NT, B>(odd, x, acc);
            if (--left == 0) return;
        }
    }
}

// Adds the sums of the slices as a balanced tree: a device that has 4, 2 or 1 neighbouring slices
// (tensor parallelism) has a subtree.
__device__ __forceinline__ float sum_slices(const float* sums, u32 stride) {
    const auto pair = [&](u32 i) { return sums[i * stride] + sums[(i + 1) * stride]; };
    return (pair(0) + pair(2)) + (pair(4) + pair(6));
}

// A thread block computes one tile of 16 outputs of up to 64 tokens. Each warp takes a slice of the
// inputs (split-K).
template <Format F, int NT> __device__ __forceinline__ void linear(const LinearArgs& args) {
    constexpr u32 COLUMNS = 8 * NT, STRIDE = COLUMNS + 2;
    __shared__ float sums[SLICES * 16 * STRIDE];
    const u32 tile = blockIdx.x + args.tile_offset;
    const u32 slice = threadIdx.x / WARP;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 first_token = blockIdx.y * MAX_COLUMNS, columns = min(args.n - first_token, COLUMNS);
    const bool second = args.first_tiles > 0 && tile >= args.first_tiles;  // a tile of segments[1]
    float acc[NT][4] = {};
    griddepcontrol_launch_dependents();
    // With two summed matrices, the input of segments[1] is read before griddepcontrol.wait. It was
    // written before the preceding kernel, attention, triggered this launch (attention_decode.cu).
    const bool both = args.first_tiles == 0 && args.segments[1].blocks > 0;
    const u32 segment_tile = second ? tile - args.first_tiles : tile;
#pragma unroll 1
    for (u32 i = both ? 2 : 1; i-- > 0;) {
        const Segment& s = args.segments[both ? i : second];
        if (F == Format::Int4 && s.unit_blocks == 2) {
            accumulate<F, NT, F == Format::Int4 ? 2 : 1>(s, segment_tile, args.n, i == 0, acc);
        } else {
            accumulate<F, NT, 1>(s, segment_tile, args.n, i == 0, acc);
        }
    }
    float* own_sums = sums + slice * 16 * STRIDE;
#pragma unroll
    for (int i = 0; i < NT; ++i) {
        float* at = own_sums + g * STRIDE + i * 8 + 2 * t;
        at[0] = acc[i][0], at[1] = acc[i][1];
        at[8 * STRIDE] = acc[i][2], at[8 * STRIDE + 1] = acc[i][3];
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < 8 * columns; i += blockDim.x) {
        const u32 pair = i % 8, column = first_token + i / 8;
        const float* const at = sums + 2 * pair * STRIDE + i / 8;
        const float even = sum_slices(at, 16 * STRIDE);
        const float odd = sum_slices(at + STRIDE, 16 * STRIDE);
        if (args.epilogue == QKV_ROPE_GELU) {
            if (second) {
                const u32 r = (tile - args.first_tiles) * 16 + 2 * pair;
                if (r < args.heads.inner_size) store_inner(args.heads, column, r, even);
                if (r + 1 < args.heads.inner_size) store_inner(args.heads, column, r + 1, odd);
            } else {
                const u32 r = tile * 16 + 2 * pair;
                if (r < 3 * args.heads.hidden) store_head_pair(args.heads, column, r, even, odd);
            }
            continue;
        }
#pragma unroll
        for (u32 e = 0; e < 2; ++e) {
            const u32 r = tile * 16 + 2 * pair + e;
            if (r >= args.rows) break;
            float* out = args.out + column * args.out_stride + r;
            const float y = (e ? odd : even) + (args.bias ? args.bias[r] : 0.f) +
                            (args.epilogue == RESIDUAL ? *out : 0.f);
            *out = y;
            if (!is_finite(y)) report_non_finite(args.non_finite, args.layer, column, y);
        }
    }
}
