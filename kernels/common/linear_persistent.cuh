// Body of linear_persistent.cu: the products of common/linear.cuh, in the same order of sums, by
// thread blocks that compute one tile after another.
//
// A short thread block has no loads in flight while it starts, adds its slices and stores. Here,
// the weights of the next tile are loaded before the sums of the current one are stored, and a warp
// of its own adds the slices and runs the epilogue, whose loads depend on each other.
#pragma once
#include "linear.cuh"

// Warps 0 to 7 multiply, a slice of the inputs each; warp 8 stores.
constexpr u32 PERSISTENT_THREADS = LINEAR_THREADS + WARP;

// Named barriers of all threads. Those that arrive do not wait.
__device__ __forceinline__ void wait_at_barrier(u32 barrier) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(PERSISTENT_THREADS) : "memory");
}
__device__ __forceinline__ void arrive_at_barrier(u32 barrier) {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"(PERSISTENT_THREADS) : "memory");
}

// The launch has one segment, or two whose sums are not added, with B blocks per unit and a
// multiple of RING units per slice; n <= 8 NT; the tiles of each matrix are a multiple of MT.
template <Format F, u32 NT, u32 B, u32 RING, u32 MT> struct PersistentLinear {
    static constexpr u32 STRIDE = 8 * NT + 2;
    using Sums = float[MT][SLICES * 16 * STRIDE];

    const DecodeLinearArgs& all;
    Sums* const sums;  // two, for alternate tiles

    // Barriers of sums[parity]: it has been written; it has been read.
    static __device__ __forceinline__ u32 written(u32 parity) { return 1 + parity; }
    static __device__ __forceinline__ u32 read(u32 parity) { return 3 + parity; }

    // Runs `compute` for every group of MT tiles of this thread block.
    template <typename Compute> __device__ __forceinline__ void for_tiles(const Compute& compute) {
        u32 parity = 0;
        for (u32 tile = blockIdx.x * MT; tile < all.tiles; tile += gridDim.x * MT, parity ^= 1)
            compute(tile, parity);
    }

    // Adds the slices and stores. A lane has two outputs of every fourth token, two tokens at a
    // time.
    __device__ __forceinline__ void store() {
        const LinearArgs& args = all.linear;
        const u32 lane = threadIdx.x % WARP, pair = lane % 8;
        griddepcontrol_wait();
        for_tiles([&](u32 tile, u32 parity) {
            wait_at_barrier(written(parity));
#pragma unroll 1
            for (u32 m = 0; m < MT; ++m) {
                const OutputPair out(args, tile + m, pair);
#pragma unroll 1
                for (u32 first = lane / 8; first < args.n; first += 8) {
                    const u32 tokens[2] = {first, min(first + 4, args.n - 1)};
                    float2 y[2];
#pragma unroll
                    for (u32 i = 0; i < 2; ++i) {
                        const float* const from = sums[parity][m] + 2 * pair * STRIDE + tokens[i];
                        y[i] = make_float2(sum_slices(from, 16 * STRIDE),
                                           sum_slices(from + STRIDE, 16 * STRIDE));
                    }
                    out.store(tokens, first + 4 < args.n ? 2 : 1, y);
                }
            }
            arrive_at_barrier(read(parity));
        });
    }

    __device__ __forceinline__ void multiply() {
        const LinearArgs& args = all.linear;
        const u32 slice = threadIdx.x / WARP, g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
        TileOf of(args, blockIdx.x * MT);
        const u32 slice_units = of.segment->blocks / B / SLICES, first_unit = slice_units * slice;
        WeightIterator<F, B, MT> weights(*of.segment, of.tile, MT, first_unit);
        WeightUnit<F, B, MT> ring[RING];
#pragma unroll
        for (u32 i = 0; i < RING; ++i) weights.load(ring[i]);
        griddepcontrol_wait();
        u32 tiles_done = 0;
        for_tiles([&](u32 tile, u32 parity) {
            const u32 next = tile + gridDim.x * MT;
            const bool has_next = next < all.tiles;
            float acc[MT][NT][4] = {};
            const uint4* x[NT];
#pragma unroll
            for (u32 i = 0; i < NT; ++i) {  // columns past n repeat the last token
                const half* row = of.segment->x +
                                  u64(min(i * 8 + g, args.n - 1)) * of.segment->x_stride;
                x[i] = reinterpret_cast<const uint4*>(row) + first_unit * B * 8 + t;
            }
#pragma unroll 1
            for (u32 left = slice_units; left > 0; left -= RING) {
                const bool is_last = left == RING;
                if (is_last && has_next) {
                    of = TileOf(args, next);
                    weights = WeightIterator<F, B, MT>(*of.segment, of.tile, MT, first_unit);
                }
#pragma unroll
                for (u32 i = 0; i < RING; ++i) {
                    add_unit<F, NT, B, MT>(ring[i], x, acc);
                    if (!is_last || has_next) weights.load(ring[i]);
                }
            }
            if (tiles_done++ >= 2) wait_at_barrier(read(parity));
#pragma unroll
            for (u32 m = 0; m < MT; ++m) {
#pragma unroll
                for (u32 i = 0; i < NT; ++i) {
                    float* const to = sums[parity][m] + (slice * 16 + g) * STRIDE + i * 8 + 2 * t;
                    to[0] = acc[m][i][0], to[1] = acc[m][i][1];
                    to[8 * STRIDE] = acc[m][i][2], to[8 * STRIDE + 1] = acc[m][i][3];
                }
            }
            arrive_at_barrier(written(parity));
        });
    }
};

template <Format F, u32 NT, u32 B, u32 RING, u32 MT>
__device__ __forceinline__ void linear_persistent(const DecodeLinearArgs& all) {
    using Linear = PersistentLinear<F, NT, B, RING, MT>;
    __shared__ typename Linear::Sums sums[2];
    Linear linear{all, sums};
    griddepcontrol_launch_dependents();
    if (threadIdx.x < LINEAR_THREADS) {
        linear.multiply();
    } else {
        linear.store();
    }
}
