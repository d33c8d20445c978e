// Producer of gemm_sm90.cu: bulk tensor copies of x and of the weights.
#pragma once
#include "gemm_schedule.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Copies x and the weights, block by block. Each thread block of a cluster copies its part of x to
// both.
template <bool RESIDUAL> struct TileCopies {
    static constexpr u32 PER_BLOCK = TILE_TOKENS / BOX_TOKENS / CLUSTER;

    Schedule<RESIDUAL> schedule;
    WorkItem item;
    BlockRange range = {0, 0, 0};
    RingState ring;
    u32 part = 1;

    __device__ __forceinline__ TileCopies(const GemmArgs& a) : schedule(a) {}

    // Waits for the next stage and copies the next block into it; returns false at the end.
    __device__ __forceinline__ bool next(const GemmArgs& a, const Pipeline& to) {
        while (range.count == 0) {
            if (++part >= 2) {
                if (!schedule.next(a, item)) return part = 1, false;
                part = 0;
            }
            range = range_of<RESIDUAL>(a, item, part);
        }
        const u32 full = to.full + 8 * ring.stage, column = range.first * K_BLOCK;
        // Boxes without a token are not copied.
        const u32 boxes = min((a.linear.n - item.token + BOX_TOKENS - 1) / BOX_TOKENS,
                              TILE_TOKENS / BOX_TOKENS);
        const u32 rank = cluster_rank();
        mbarrier_wait(to.empty + 8 * ring.stage, ring.phase ^ 1);
        mbarrier_arrive_expect(full, WEIGHT_BYTES + boxes * BOX_BYTES);
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

#endif
