// Arguments, work items and shared memory of gemm_transposed_sm90.cu.
#pragma once
#include "layouts.cuh"
#include "linear.cuh"
#include "tma.cuh"

// Mirrored by `TransposedGemmArgs` in crates/moss-cuda/src/args.
struct TransposedGemmArgs {
    TensorMap x[2];       // f16 [n, 64 blocks], boxes of half of a tile's tokens and 64 inputs
    TensorMap weight[2];  // f16 [16 tiles, 64 blocks], boxes of 192 outputs and 64 inputs; packed:
                          // u32 [tiles, words], boxes of 12 tiles and BOX_BLOCKS blocks
    TensorMap table[2];   // packed: u32 [tiles, 16 groups], boxes of 12 tiles and a group
    LinearArgs linear;
    u32* semaphores;  // per 64 outputs of a tile of y, zero before and after: the slice added next
    u32 slices;
};
CHECK_LAYOUT_TransposedGemmArgs;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Thread blocks of a cluster have the same tokens and share the copies of x.
constexpr u32 CLUSTER = 2, WARPGROUP = 128;

// Sizes for tiles of TOKENS tokens. Each of three warpgroups multiplies 64 outputs.
template <Format F, u32 TOKENS> struct TransposedSize {
    static constexpr u32 WARPGROUPS = 3, OUTPUTS = 64 * WARPGROUPS, TILES = OUTPUTS / 16;
    static constexpr u32 CONSUMERS = WARPGROUPS * WARPGROUP;
    // Blocks of 64 inputs of a pipeline stage, and of a box of the weight
    static constexpr u32 BLOCKS = F == Format::Int4 || (F == Format::Int8 && TOKENS == 128) ? 2 : 1;
    static constexpr u32 BOX_BLOCKS = F == Format::Int4 ? 2 : 1;
    static constexpr u32 X_BYTES = TOKENS * SWIZZLED_ROW;     // of a block
    static constexpr u32 TILE_BYTES = PIECES<F> * WARP * 16;  // of a block
    static constexpr u32 BOX_BYTES = TILES * BOX_BLOCKS * TILE_BYTES;
    static constexpr u32 TABLE_BYTES = F == Format::F16 ? 0 : TILES * 64;
    // A stage: x with the 128-byte swizzle, which needs an alignment of 1024 bytes, then the rest
    static constexpr u32 WEIGHT_AT = BLOCKS * X_BYTES;
    static constexpr u32 TABLE_AT = WEIGHT_AT + BLOCKS / BOX_BLOCKS * BOX_BYTES;
    static constexpr u32 LOADED = TABLE_AT + BLOCKS * TABLE_BYTES;
    static constexpr u32 STAGE_BYTES = (LOADED + 1023) / 1024 * 1024;
    static constexpr u32 MAX_STAGES = 12;  // mbarriers come first: full, then empty
    // Outputs of a warpgroup for CHUNK tokens, f32. The padding avoids bank conflicts.
    static constexpr u32 CHUNK = TOKENS < 32 || F == Format::F16 ? 16 : 32, OUT_STRIDE = 64 + 4;
    static constexpr u32 OUT_AT = 256, OUT_BYTES = CHUNK * OUT_STRIDE * 4;
    static constexpr u32 STAGES_AT = (OUT_AT + WARPGROUPS * OUT_BYTES + 1023) / 1024 * 1024;
    static constexpr u32 FITTING = ((226 << 10) - STAGES_AT) / STAGE_BYTES;
    static constexpr u32 STAGES = FITTING > MAX_STAGES ? MAX_STAGES : FITTING;
};

// A tile of y and a slice of its inputs. Blocks are counted over both segments.
struct TransposedItem {
    u32 token, output;  // the first ones, of this thread block
    u32 segment;        // of the outputs; rope_gelu only
    u32 begin, end;     // blocks
    u32 slice, tile;
};

// The blocks of 64 inputs of an item that are in one segment.
struct BlockRange {
    u32 segment, first, count;
};

// The items of a cluster: every `step`th one. Clusters that run at the same time have the same
// weights and other tokens, so that weights are read from device memory once. Items of residual are
// all first slices, then all second ones, and so on: a slice waits for the previous one of its tile
// only while that one is written. No more clusters work than the number of rounds requires, which
// often makes `step` the number of tiles: then a tile's slices are computed by one cluster.
template <u32 TOKENS, u32 OUTPUTS, bool RESIDUAL> struct TransposedSchedule {
    const TransposedGemmArgs& a;
    u32 token_tiles, tiles, first_groups, position, step, end;

    static constexpr u32 GROUP = OUTPUTS * CLUSTER;

    __device__ __forceinline__ TransposedSchedule(const TransposedGemmArgs& args) : a(args) {
        const LinearArgs& l = a.linear;
        const u32 clusters = gridDim.x / CLUSTER;
        token_tiles = (l.n + TOKENS - 1) / TOKENS;
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
    __device__ __forceinline__ bool next(TransposedItem& to) {
        if (position >= end) return false;
        const u32 rank = cluster_rank();
        const LinearArgs& l = a.linear;
        to.slice = RESIDUAL ? position / tiles : 0;
        const u32 tile = position - to.slice * tiles, group = tile / token_tiles;
        to.token = tile % token_tiles * TOKENS;
        to.segment = RESIDUAL ? 0 : group >= first_groups;
        to.output = (group - (to.segment ? first_groups : 0)) * GROUP + rank * OUTPUTS;
        to.tile = tile * CLUSTER + rank;
        if constexpr (RESIDUAL) {
            const u32 blocks = l.segments[0].blocks + l.segments[1].blocks;
            to.begin = to.slice * blocks / a.slices, to.end = (to.slice + 1) * blocks / a.slices;
        } else {
            to.begin = 0, to.end = l.segments[to.segment].blocks;
        }
        position += step;
        return true;
    }

    // Parts of an item, the first of which may be empty.
    __device__ __forceinline__ BlockRange range(const TransposedItem& item, u32 part) const {
        if constexpr (!RESIDUAL) return {item.segment, 0, part == 0 ? item.end : 0};
        const u32 boundary = a.linear.segments[0].blocks;
        if (part == 0) {
            const u32 last = min(item.end, boundary);
            return {0, item.begin, last > item.begin ? last - item.begin : 0};
        }
        const u32 first = max(item.begin, boundary);
        return {1, first - boundary, item.end > first ? item.end - first : 0};
    }

    // Whether a cluster computes all slices of its tiles.
    __device__ __forceinline__ bool has_whole_tiles() const { return step == tiles; }
};

// Addresses of a pipeline in shared memory.
template <Format F, u32 TOKENS> struct TransposedPipeline {
    using Size = TransposedSize<F, TOKENS>;
    const u32 shared;

    __device__ __forceinline__ u32 full(u32 slot) const { return shared + 8 * slot; }
    __device__ __forceinline__ u32 empty(u32 slot) const { return full(Size::MAX_STAGES + slot); }
    __device__ __forceinline__ u32 stage(u32 slot) const {
        return shared + Size::STAGES_AT + slot * Size::STAGE_BYTES;
    }
};

#endif
