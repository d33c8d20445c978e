// Producers of gemm_sm90.cu: bulk tensor copies of x and of f16 weights, and dequantization of
// packed weights into shared memory.
#pragma once
#include "gemm_schedule.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Copies x and, if they are f16, the weights, block by block. Each thread block of a cluster copies
// its part of x to both.
template <Format F, bool RESIDUAL> struct TileCopies {
    static constexpr u32 PER_BLOCK = TILE_TOKENS / BOX_TOKENS / CLUSTER;
    static constexpr u32 DENSE_BYTES = F == Format::F16 ? WEIGHT_BYTES : 0;

    Schedule<F, RESIDUAL> schedule;
    WorkItem item;
    BlockRange range = {0, 0, 0};
    RingState<X_STAGES<F>> ring;
    u32 part = 1;

    __device__ __forceinline__ TileCopies(const GemmArgs& a) : schedule(a) {}

    // Waits for the next stage and copies the next block into it; returns false at the end.
    __device__ __forceinline__ bool next(const GemmArgs& a, const Pipeline<F>& to) {
        while (range.count == 0) {
            if (++part >= 2) {
                if (!schedule.next(a, item)) return part = 1, false;
                part = 0;
            }
            range = range_of<RESIDUAL>(a, item, part);
        }
        const u32 full = to.x_full + 8 * ring.stage, column = range.first * K_BLOCK;
        // Boxes without a token are not copied.
        const u32 boxes = min((a.linear.n - item.token + BOX_TOKENS - 1) / BOX_TOKENS,
                              TILE_TOKENS / BOX_TOKENS);
        const u32 rank = cluster_rank();
        mbarrier_wait(to.x_empty + 8 * ring.stage, ring.phase ^ 1);
        mbarrier_arrive_expect(full, DENSE_BYTES + boxes * BOX_BYTES);
        if constexpr (F == Format::F16)
            copy_box(to.weight + ring.stage * WEIGHT_BYTES, a.weight[range.segment], column,
                     item.output, full);
#pragma unroll
        for (u32 j = 0; j < PER_BLOCK; ++j) {
            const u32 box = rank * PER_BLOCK + j, row = item.token + box * BOX_TOKENS;
            const u32 x = to.x + ring.stage * X_BYTES + box * BOX_BYTES;
            if (box >= boxes) break;
            copy_box_multicast(x, a.x[range.segment], column, row, full, (1 << CLUSTER) - 1);
        }
        ring.advance();
        ++range.first, --range.count;
        return true;
    }
};

// Weight tiles of 16 outputs per dequantizing warp.
constexpr u32 WARP_TILES = TILE_OUTPUTS / 16 / 4;

template <Format F> struct Packed {
    u32 words[WARP_TILES][F == Format::Int4 ? 4 : 8];
    uint2 entries[WARP_TILES];
};

// Lanes of odd rows dequantize the upper half of a block's inputs first, so that the stores of
// eight neighbouring lanes cover all banks.
__device__ __forceinline__ u32 is_odd_row() { return threadIdx.x / 4 % 2; }

// Reads every second block of a packed weight.
template <Format F, bool RESIDUAL> struct PackedWeight {
    static constexpr u32 PIECES = F == Format::Int4 ? 1 : 2;  // 16 bytes per lane, tile and block
    static constexpr u32 STEP = 2 * PIECES * WARP;            // to the warpgroup's next block
    // Distance of the L2 prefetch, in blocks.
    static constexpr u32 PREFETCH = 6;

    Schedule<F, RESIDUAL> schedule;
    WorkItem item;
    u32 part = 2, skip, block, left = 0;  // `skip`: blocks until the warpgroup's next one
    u32 group_magic, group_bytes[WARP_TILES];
    const uint4* weight[WARP_TILES];
    const char* table;

    __device__ __forceinline__ PackedWeight(const GemmArgs& a, u32 warpgroup)
        : schedule(a), skip(warpgroup) {}

    // Goes to the warpgroup's next block and loads it; returns false at the end.
    __device__ __forceinline__ bool next(const GemmArgs& a, Packed<F>& packed) {
        if (left > 2) {
            left -= 2, block += 2;
#pragma unroll
            for (u32 i = 0; i < WARP_TILES; ++i) weight[i] += STEP;
        } else if (!next_range(a)) {
            return false;
        }
        load(packed);
        return true;
    }

    __device__ __forceinline__ bool next_range(const GemmArgs& a) {
        // After the last own block of a range, one or no block of it follows.
        if (left > 0) skip = left == 2 ? 0 : 1;
        do {
            if (++part >= 2) {
                if (!schedule.next(a, item)) return false;
                part = 0;
            }
            const BlockRange range = range_of<RESIDUAL>(a, item, part);
            left = 0;
            if (range.count <= skip) {
                skip -= range.count;
                continue;
            }
            const Segment& s = a.linear.segments[range.segment];
            const u32 outputs = RESIDUAL        ? a.linear.rows
                                : range.segment ? a.linear.heads.inner_size
                                                : 3 * a.linear.heads.hidden;
            block = range.first + skip, left = range.count - skip;
            // Division by a multiplication, exact for blocks below 2^16; 0: one block per group.
            group_magic = s.group_blocks == 1 ? 0 : ~0u / s.group_blocks + 1;
            table = reinterpret_cast<const char*>(s.table + threadIdx.x % WARP / 4);
#pragma unroll
            for (u32 i = 0; i < WARP_TILES; ++i) {
                const u32 tile = min(item.output / 16 + threadIdx.x / WARP % 4 * WARP_TILES + i,
                                     (outputs + 15) / 16 - 1);
                weight[i] = s.weight + (u64(tile) * s.blocks + block) * PIECES * WARP +
                            threadIdx.x % WARP;
                group_bytes[i] = tile * s.groups * 8 * u32(sizeof(uint2));
            }
        } while (left == 0);
        return true;
    }

    __device__ __forceinline__ void load(Packed<F>& packed) const {
        const u32 group = group_magic ? __umulhi(block, group_magic) : block;
#pragma unroll
        for (u32 i = 0; i < WARP_TILES; ++i) {
            packed.entries[i] = __ldg(reinterpret_cast<const uint2*>(
                table + group_bytes[i] + group * 8 * u32(sizeof(uint2))));
#pragma unroll
            for (u32 piece = 0; piece < PIECES; ++piece) {
                const u32 which = PIECES == 1 ? 0 : piece ^ is_odd_row();
                const uint4 w = __ldg(weight[i] + which * WARP);
                u32* const words = packed.words[i] + 4 * piece;
                words[0] = w.x, words[1] = w.y, words[2] = w.z, words[3] = w.w;
            }
        }
        if (left > PREFETCH && threadIdx.x % 8 == 0) {
#pragma unroll
            for (u32 i = 0; i < WARP_TILES; ++i) {
#pragma unroll
                for (u32 piece = 0; piece < PIECES; ++piece)
                    prefetch_l2(weight[i] + (PREFETCH * PIECES + piece) * WARP);
            }
        }
    }
};

__device__ __forceinline__ void store_shared(u32 address, uint4 v) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
}

// Dequantizes one block of the warp's weight tiles into a pipeline stage.
template <Format F> __device__ __forceinline__ void store_dequantized(u32 stage,
                                                                      const Packed<F>& packed) {
    const u32 tile = threadIdx.x / WARP % 4 * WARP_TILES;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (u32 i = 0; i < WARP_TILES; ++i) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32* const words = packed.words[i];
            u32 w[4];
            if constexpr (F == Format::Int4) {
                w[0] = is_odd_row() ? words[2 - 2 * half] : words[2 * half];
                w[1] = is_odd_row() ? words[3 - 2 * half] : words[2 * half + 1];
            } else {
                w[0] = words[4 * half], w[1] = words[4 * half + 1];
                w[2] = words[4 * half + 2], w[3] = words[4 * half + 3];
            }
            const DequantizedRows rows = dequantize_rows<F>(w, packed.entries[i]);
            const u32 at = stage +
                           swizzled_offset((tile + i) * 16 + g, 4 * (half ^ is_odd_row()) + t);
#pragma unroll
            for (u32 row = 0; row < 2; ++row)
                store_shared(at + row * 8 * SWIZZLED_ROW, rows.row[row]);
        }
    }
}

// Fills every second stage of a packed weight. Two blocks are in registers: the loads of the next
// one are issued a block earlier, because the fence waits for them.
template <Format F, bool RESIDUAL> __device__ __forceinline__ void dequantize_tiles(
    const GemmArgs& a, const Pipeline<F>& to) {
    const u32 warpgroup = threadIdx.x / WARPGROUP;
    PackedWeight<F, RESIDUAL> from(a, warpgroup);
    RingState<WEIGHT_STAGES<F>> ring;
    if (warpgroup == 1) ring.advance();
    const auto fill = [&](const Packed<F>& packed) {
        mbarrier_wait(to.weight_empty + 8 * ring.stage, ring.phase ^ 1);
        store_dequantized<F>(to.weight + ring.stage * WEIGHT_BYTES, packed);
        fence_proxy_async();
        __syncwarp();
        if (threadIdx.x % WARP == 0) mbarrier_arrive(to.weight_full + 8 * ring.stage);
        ring.advance(), ring.advance();
    };
    Packed<F> even, odd;
    bool has_even = from.next(a, even), has_odd = has_even && from.next(a, odd);
    while (has_even) {
        fill(even);
        has_even = has_odd && from.next(a, even);
        if (!has_odd) break;
        fill(odd);
        has_odd = has_even && from.next(a, odd);
    }
}

#endif
