// Arguments, tiles, work items and shared memory of gemm_sm90.cu.
#pragma once
#include "layouts.cuh"
#include "linear_args.cuh"
#include "tensor_map.cuh"
#include "tma.cuh"

// Mirrored by `GemmArgs` in crates/moss-cuda/src/args.
struct GemmArgs {
    TensorMap x[2];
    TensorMap weight[2];
    LinearArgs linear;
    u32* semaphores;
    u32 slices;
};
CHECK_LAYOUT_GemmArgs;

constexpr u32 TILE_TOKENS = 128, TILE_OUTPUTS = 192;
constexpr u32 WARPGROUP = 128, CONSUMER_WARPS = 8;
// Thread blocks of a cluster have the same tokens and share the copies of x.
constexpr u32 CLUSTER = 2;
// The first warpgroup copies, two more multiply.
constexpr u32 THREADS = 3 * WARPGROUP;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr u32 STAGES = 5;
constexpr u32 WEIGHT_BYTES = TILE_OUTPUTS * SWIZZLED_ROW, X_BYTES = TILE_TOKENS * SWIZZLED_ROW;
constexpr u32 BOX_TOKENS = 64, BOX_BYTES = BOX_TOKENS * SWIZZLED_ROW;

// The tile of y, and the blocks of 64 inputs of its slice, that a thread block computes next.
// Blocks are counted over both segments.
struct WorkItem {
    u32 token, output;  // the first ones
    u32 segment;        // of the output; rope_gelu only
    u32 begin, end;     // blocks
    u32 slice, semaphore;
};

// The order of a thread block's work items: every `step`th one. Clusters that run at the same time
// have the same weights and other tokens, so that weights are read from L2. Items of residual are
// all first slices, then all second ones, and so on: a slice waits for the previous one of its tile
// only while that one is written. No more clusters work than the number of rounds requires, which
// often makes `step` the number of tiles: then a tile's slices are computed by one cluster.
template <bool RESIDUAL> struct Schedule {
    u32 token_tiles, tiles, first_groups, position, step, end;

    __device__ __forceinline__ Schedule(const GemmArgs& a) {
        constexpr u32 GROUP = TILE_OUTPUTS * CLUSTER;
        const LinearArgs& l = a.linear;
        const u32 clusters = gridDim.x / CLUSTER;
        token_tiles = (l.n + TILE_TOKENS - 1) / TILE_TOKENS;
        position = blockIdx.x / CLUSTER;
        if constexpr (RESIDUAL) {
            first_groups = 0;
            tiles = (l.rows + GROUP - 1) / GROUP * token_tiles;
            end = tiles * a.slices;
            const u32 rounds = (end + clusters - 1) / clusters;
            step = (end + rounds - 1) / rounds;
            if (position >= step) position = end;
        } else {
            first_groups = (3 * l.heads.hidden + GROUP - 1) / GROUP;
            const u32 second_groups = (l.heads.inner_size + GROUP - 1) / GROUP;
            const bool only_first = l.segments[1].blocks == 0;
            end = (first_groups + (only_first ? 0 : second_groups)) * token_tiles;
            tiles = end, step = clusters;
            if (l.tile_offset > 0) position += first_groups * token_tiles;
        }
    }

    // Returns false at the end.
    __device__ __forceinline__ bool next(const GemmArgs& a, WorkItem& to) {
        constexpr u32 GROUP = TILE_OUTPUTS * CLUSTER;
        if (position >= end) return false;
        const u32 in_group = cluster_rank() * TILE_OUTPUTS;
        const LinearArgs& l = a.linear;
        to.slice = RESIDUAL ? position / tiles : 0;
        const u32 tile = position - to.slice * tiles, group = tile / token_tiles;
        to.token = tile % token_tiles * TILE_TOKENS;
        to.segment = RESIDUAL ? 0 : group >= first_groups;
        to.output = (group - (to.segment ? first_groups : 0)) * GROUP + in_group;
        if constexpr (RESIDUAL) {
            const u32 blocks = l.segments[0].blocks + l.segments[1].blocks;
            to.begin = to.slice * blocks / a.slices, to.end = (to.slice + 1) * blocks / a.slices;
        } else {
            to.begin = 0, to.end = l.segments[to.segment].blocks;
        }
        to.semaphore = tile * CLUSTER + in_group / TILE_OUTPUTS;
        position += step;
        return true;
    }

    // Whether this thread block computes all slices of its tiles.
    __device__ __forceinline__ bool has_whole_tiles() const { return step == tiles; }
};

// The part of a work item that reads one weight matrix: its blocks of 64 inputs, from `first` on.
struct BlockRange {
    u32 segment, first, count;
};

// Parts of a work item, the first of which may be empty.
template <bool RESIDUAL> __device__ __forceinline__ BlockRange range_of(const GemmArgs& a,
                                                                        const WorkItem& item,
                                                                        u32 part) {
    if constexpr (!RESIDUAL) return {item.segment, item.begin, part == 0 ? item.end : 0};
    const u32 boundary = a.linear.segments[0].blocks;
    if (part == 0) {
        const u32 end = min(item.end, boundary);
        return {0, item.begin, end > item.begin ? end - item.begin : 0};
    }
    const u32 begin = max(item.begin, boundary);
    return {1, begin - boundary, item.end > begin ? item.end - begin : 0};
}

// Position in a ring of pipeline stages, and the phase parity of its mbarriers.
struct RingState {
    u32 stage = 0, phase = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == STAGES) stage = 0, phase ^= 1;
    }
};

// Shared memory: the stages of the weight, those of x, and their mbarriers.
struct Pipeline {
    u32 weight, x, full, empty;
    __device__ __forceinline__ Pipeline(u32 base) {
        weight = base;
        x = weight + STAGES * WEIGHT_BYTES;
        full = x + STAGES * X_BYTES;
        empty = full + 8 * STAGES;
    }
    __device__ __forceinline__ void initialize() const {
        for (u32 i = 0; i < STAGES; ++i) {
            mbarrier_init(full + 8 * i, 1);
            mbarrier_init(empty + 8 * i, CONSUMER_WARPS * CLUSTER);
        }
    }
};

#endif
