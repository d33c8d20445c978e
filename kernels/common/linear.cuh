// The body of linear_{f16,int8,int4}.cu: y = W x for 1 to 64 rows of x, with what comes before and after in one launch.
#pragma once
#include "dequantize.cuh"
#include "heads.cuh"
#include "mma.cuh"

// One weight matrix and what it meets. Mirrored by `Segment` in crates/moss-kernels/src/cuda/args.rs.
struct Segment {
    const uint4* weight;    // f16: row-major [16 tiles, 64 blocks]; int8, int4: fragment order [tile][block][lane]
    const uint2* table;     // [tile][group][8]: for rows g and g + 8, a half pair (scale, shift); null for f16
    const half* x;          // [n, x_stride], zero past the inputs
    u32 x_stride;
    u32 blocks;             // inputs, in blocks of 64
    u32 groups;             // groups of inputs
    u32 group_magic;        // ceil(2^32 / blocks of a group), 0 where every block is its own group: a division in one instruction
};

enum Epilogue : u32 { STORE, RESIDUAL, HEADS_AND_INNER };

// Mirrored by `LinearArgs` in crates/moss-kernels/src/cuda/args.rs.
struct LinearArgs {
    Segment segments[2];
    u32 first_tiles;        // tiles of segments[0]; the tiles after them belong to segments[1]. 0: every tile takes both, one sum
    u32 tile_offset;        // first tile of this launch
    u32 rows;               // STORE, RESIDUAL: outputs
    u32 n;                  // rows of x
    u32 epilogue;
    u32 layer;
    u64 out_stride;
    float* out;             // STORE: [n, out_stride] = sum + bias; RESIDUAL: the same, added to what is there
    const float* bias;      // [rows] or null
    u64* non_finite;        // see report_non_finite
    Heads heads;            // HEADS_AND_INNER: segments[0] is qkv_proj, segments[1] fc_in
};

// Blocks that are loaded together, while those before them are worked on: 32 to 64 bytes a lane, twice.
template <Format F, int NT> constexpr u32 UNROLL = NT > 2 ? 1 : F == Format::Int4 ? 3 : F == Format::Int8 ? 2 : 1;
template <Format F> constexpr u32 PIECES = F == Format::F16 ? 4 : F == Format::Int8 ? 2 : 1;   // of 16 bytes a lane and block

template <Format F> struct Tile {
    const uint4* weight;
    const uint2* table;
    u64 row_pieces;   // f16: 16-byte pieces from one row to the next

    __device__ Tile(const Segment& s, u32 tile, u32 lane) {
        const u32 g = lane / 4, t = lane % 4;
        if constexpr (F == Format::F16) {
            row_pieces = u64(s.blocks) * 8;
            weight = s.weight + (u64(tile) * 16 + g) * row_pieces + t;
        } else {
            weight = s.weight + u64(tile) * s.blocks * PIECES<F> * WARP + lane;
            table = s.table + u64(tile) * s.groups * 8 + g;
        }
    }
    __device__ void load(uint4 (&w)[PIECES<F>], u32 block) const {
        if constexpr (F == Format::F16) {
            const uint4* p = weight + block * 8;
            w[0] = load_once(p);
            w[1] = load_once(p + 4);
            w[2] = load_once(p + 8 * row_pieces);
            w[3] = load_once(p + 8 * row_pieces + 4);
        } else {
#pragma unroll
            for (u32 i = 0; i < PIECES<F>; ++i) w[i] = load_once(weight + (u64(block) * PIECES<F> + i) * WARP);
        }
    }
};

// A fragment of step s.
template <Format F> __device__ __forceinline__ Fragment fragment(const uint4 (&w)[PIECES<F>], u32 s, half2 low, half2 high) {
    if constexpr (F == Format::F16) {
        const uint4 upper = w[s / 2], lower = w[(2 + s / 2)];
        return s % 2 == 0 ? Fragment{{upper.x, lower.x, upper.y, lower.y}} : Fragment{{upper.z, lower.z, upper.w, lower.w}};
    } else if constexpr (F == Format::Int8) {
        const uint4 piece = w[s / 2];
        return s % 2 == 0 ? unpack_int8(piece.x, piece.y, low, high) : unpack_int8(piece.z, piece.w, low, high);
    } else {
        return unpack_int4(s == 0 ? w[0].x : s == 1 ? w[0].y : s == 2 ? w[0].z : w[0].w, low, high);
    }
}

__device__ __forceinline__ u32 group_of(const Segment& s, u32 block) { return s.group_magic ? __umulhi(block, s.group_magic) : block; }

// What U blocks need of memory.
template <Format F, u32 U> struct Round {
    uint4 w[U][PIECES<F>];
    uint2 table[U];

    __device__ __forceinline__ void load(const Segment& s, const Tile<F>& rows, u32 block, u32 last) {
#pragma unroll
        for (u32 u = 0; u < U; ++u) {
            if (block + u < last) {
                rows.load(w[u], block + u);
                if constexpr (F != Format::F16) table[u] = __ldg(rows.table + group_of(s, block + u) * 8);
            }
        }
    }
};

// The first lines of what a warp will read of a segment: weights wait for nobody.
template <Format F> __device__ __forceinline__ void prefetch_rows(const Segment& s, u32 tile, u32 warp, u32 warps) {
    const u32 lane = threadIdx.x % WARP, first = s.blocks * warp / warps, last = s.blocks * (warp + 1) / warps;
    if constexpr (F == Format::F16) {   // a line of a row is a block: 16 rows, 2 blocks
        if (first + lane / 16 < last) prefetch(s.weight + (u64(tile) * 16 + lane % 16) * (u64(s.blocks) * 8) + (first + lane / 16) * 8);
    } else {
        constexpr u32 LINES = PIECES<F> * 4;   // of a block
        if (first + lane / LINES < last) prefetch(s.weight + (u64(tile) * s.blocks + first) * PIECES<F> * WARP + lane * 8);
    }
}

// acc += W[tile][blocks first..last] x
template <Format F, int NT>
__device__ __forceinline__ void accumulate(const Segment& s, u32 tile, u32 first, u32 last, u32 n, float (&acc)[NT][4]) {
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const Tile<F> rows(s, tile, lane);
    const uint4* x[NT];
#pragma unroll
    for (int i = 0; i < NT; ++i) {   // columns past n repeat the last one, and are not looked at
        x[i] = reinterpret_cast<const uint4*>(s.x + u64(min(i * 8 + g, n - 1)) * s.x_stride) + t;
    }
    constexpr u32 U = UNROLL<F, NT>;
    Round<F, U> next;
    next.load(s, rows, first, last);
    for (u32 block = first; block < last; block += U) {
        const Round<F, U> now = next;
        next.load(s, rows, block + U, last);
#pragma unroll
        for (u32 u = 0; u < U; ++u) {
            if (block + u >= last) break;
            half2 scale_low, scale_high, low, high;
            if constexpr (F != Format::F16) {
                const half2 upper = as_half2(now.table[u].x), lower = as_half2(now.table[u].y);
                scale_low = __low2half2(upper), low = __high2half2(upper);
                scale_high = __low2half2(lower), high = __high2half2(lower);
            }
            float sum[NT][4];
            if constexpr (F != Format::F16) {
#pragma unroll
                for (int i = 0; i < NT; ++i) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
            }
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                const Fragment f0 = fragment<F>(now.w[u], 2 * half, low, high), f1 = fragment<F>(now.w[u], 2 * half + 1, low, high);
#pragma unroll
                for (int i = 0; i < NT; ++i) {
                    const uint4 b = x[i][(block + u) * 8 + half * 4];
                    float(&c)[4] = F == Format::F16 ? acc[i] : sum[i];
                    mma_f16(c, f0.a[0], f0.a[1], f0.a[2], f0.a[3], b.x, b.y);
                    mma_f16(c, f1.a[0], f1.a[1], f1.a[2], f1.a[3], b.z, b.w);
                }
            }
            if constexpr (F != Format::F16) {
                const float upper = __low2float(scale_low), lower = __low2float(scale_high);
#pragma unroll
                for (int i = 0; i < NT; ++i) {
                    acc[i][0] += upper * sum[i][0], acc[i][1] += upper * sum[i][1];
                    acc[i][2] += lower * sum[i][2], acc[i][3] += lower * sum[i][3];
                }
            }
        }
    }
}

// One block takes one tile of 16 outputs; its warps share out the inputs and add up in a fixed order.
template <Format F, int NT> __device__ __forceinline__ void linear_rows(const LinearArgs& args) {
    constexpr u32 COLUMNS = 8 * NT, STRIDE = COLUMNS + 2;
    __shared__ float sums[8 * 16 * STRIDE];
    const u32 tile = blockIdx.x + args.tile_offset, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const bool second = args.first_tiles > 0 && tile >= args.first_tiles;   // of two matrices side by side
    float acc[NT][4] = {};
    let_next_start();
    const Segment& mine_first = args.segments[second];
    prefetch_rows<F>(mine_first, second ? tile - args.first_tiles : tile, warp, warps);
    if (args.first_tiles == 0 && args.segments[1].blocks > 0) prefetch_rows<F>(args.segments[1], tile, warp, warps);
    wait_for_previous();
    if (args.first_tiles == 0) {
#pragma unroll 1
        for (u32 i = 0; i < 2; ++i) {
            const Segment& s = args.segments[i];
            accumulate<F, NT>(s, tile, s.blocks * warp / warps, s.blocks * (warp + 1) / warps, args.n, acc);
        }
    } else {
        const Segment& s = args.segments[second];
        accumulate<F, NT>(s, second ? tile - args.first_tiles : tile, s.blocks * warp / warps, s.blocks * (warp + 1) / warps, args.n, acc);
    }
    float* mine = sums + warp * 16 * STRIDE;
#pragma unroll
    for (int i = 0; i < NT; ++i) {
        float* at = mine + g * STRIDE + i * 8 + 2 * t;
        at[0] = acc[i][0], at[1] = acc[i][1];
        at[8 * STRIDE] = acc[i][2], at[8 * STRIDE + 1] = acc[i][3];
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < 8 * args.n; i += blockDim.x) {
        const u32 pair = i % 8, column = i / 8;
        float even = 0.f, odd = 0.f;
        for (u32 w = 0; w < warps; ++w) {
            even += sums[(w * 16 + 2 * pair) * STRIDE + column];
            odd += sums[(w * 16 + 2 * pair + 1) * STRIDE + column];
        }
        if (args.epilogue == HEADS_AND_INNER) {
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
            const float y = (e ? odd : even) + (args.bias ? args.bias[r] : 0.f) + (args.epilogue == RESIDUAL ? *out : 0.f);
            *out = y;
            if (!is_finite(y)) report_non_finite(args.non_finite, args.layer, column, y);
        }
    }
}
