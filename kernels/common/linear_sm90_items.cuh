// Arguments, work items and shared memory of linear_sm90.cu.
//
// An item is a slice of the inputs of a block of outputs and up to ROWS tokens. A cluster of two
// thread blocks has a contiguous range of items, and each thread block half of their outputs. The
// range may begin and end within a block of outputs; its sum is then the sum of parts, which are
// subtrees of the balanced tree of the slices (common/linear.cuh).
#pragma once
#include "linear.cuh"
#include "tma.cuh"

// Mirrored by `LinearSm90Args` in crates/moss-cuda/src/args.
struct LinearSm90Args {
    TensorMap x[2];  // f16 [tokens, 64 blocks], boxes of ROWS / 2 tokens and 64 inputs
    TensorMap
        weight[2];  // f16 [16 tiles, 64 blocks], boxes of 64 inputs; packed: u32 [tiles,
                    // words], boxes of 256 words; the rows of a box are those of a thread block
    TensorMap table[2];  // packed: u32 [tiles, 16 groups], boxes of a group
    LinearArgs linear;
    float* parts;  // [thread blocks][warpgroups][8][64 * ROWS]
    u32* tickets;  // [blocks of outputs][blocks of tokens][2][warpgroups], zero before and after
    u32 tiles;     // of the launch
};
CHECK_LAYOUT_LinearSm90Args;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr u32 CLUSTER = 2, WARPGROUP = 128;

// Sizes of a kernel whose consumers are WGS warpgroups. Each multiplies 64 outputs by ROWS tokens.
template <Format F, u32 ROWS, u32 WGS> struct Sm90Size {
    // Blocks of 64 inputs of a pipeline stage
    static constexpr u32 BLOCKS = F == Format::Int4 ? 2 : 1;
    static constexpr u32 TILES = 4 * WGS, CONSUMERS = WARPGROUP * WGS;
    static constexpr u32 TILE_BYTES = BLOCKS * PIECES<F> * WARP * 16;
    // x and f16 weights have the 128-byte swizzle, which needs an alignment of 1024 bytes.
    static constexpr u32 WEIGHT_AT = ROWS * BLOCKS * SWIZZLED_ROW;
    static constexpr u32 TABLE_AT = WEIGHT_AT + TILES * TILE_BYTES;
    static constexpr u32 LOADED = TABLE_AT + (F == Format::F16 ? 0 : TILES * 64);
    static constexpr u32 STAGE_BYTES = (LOADED + 1023) / 1024 * 1024;
    static constexpr u32 MAX_STAGES = 12;  // mbarriers come first: full, then empty
    static constexpr u32 FLAGS_AT = 2 * MAX_STAGES * 8;
    // Outputs of a warpgroup, [token][output] f32. The padding avoids bank conflicts.
    static constexpr u32 OUT_AT = 256, OUT_STRIDE = 64 + 4, OUT_BYTES = ROWS * OUT_STRIDE * 4;
    static constexpr u32 STAGES_AT = (OUT_AT + WGS * OUT_BYTES + 1023) / 1024 * 1024;
    static constexpr u32 FITTING = ((226 << 10) - STAGES_AT) / STAGE_BYTES;
    static constexpr u32 STAGES = FITTING > MAX_STAGES ? MAX_STAGES : FITTING;
    static constexpr u32 VALUES = ROWS / 2;  // sums of a thread
};

// The items of a cluster, in order, and the units of each.
template <Format F, u32 TILES> struct Items {
    const LinearSm90Args& a;
    const u32 rank, columns;  // in the cluster; blocks of tokens
    u32 column, groups, group, all;
    u32 item, end_item;
    bool both;                     // two summed matrices
    u32 tile, matrix_tile, tiles;  // first tile of this thread block in the launch and in its
                                   // matrix, and their number
    u32 slice, segment, unit, end, blocks;
    bool has_next_segment;

    __device__ __forceinline__ Items(const LinearSm90Args& args, u32 rows)
        : a(args), rank(cluster_rank()), columns((args.linear.n + rows - 1) / rows) {
        const LinearArgs& l = a.linear;
        both = l.first_tiles == 0 && l.segments[1].blocks > 0;
        const u32 first = l.first_tiles > l.tile_offset
                              ? min(l.first_tiles - l.tile_offset, a.tiles)
                              : 0;
        constexpr u32 WIDTH = CLUSTER * TILES;
        all = ((first + WIDTH - 1) / WIDTH + (a.tiles - first + WIDTH - 1) / WIDTH) * SLICES;
        // Clusters of different tokens run the same items at the same time, so that they read a
        // weight from device memory once.
        const u32 cluster = blockIdx.x / CLUSTER;
        groups = gridDim.x / CLUSTER / columns, group = cluster / columns;
        column = cluster % columns;
        item = begin(group), end_item = begin(group + 1);
        open();
    }
    // First item of a group of clusters, and the group of an item.
    __device__ __forceinline__ u32 begin(u32 g) const { return u64(all) * g / groups; }
    __device__ __forceinline__ u32 group_of(u32 i) const { return (u64(i + 1) * groups - 1) / all; }
    __device__ __forceinline__ bool is_end() const { return item == end_item; }
    // The block of outputs, and its first item.
    __device__ __forceinline__ u32 place() const { return item / SLICES; }
    // The input of segments[1] of two summed matrices is complete before griddepcontrol.wait; see
    // attention_decode.cu.
    __device__ __forceinline__ bool is_early() const { return both && segment == 1; }
    __device__ __forceinline__ const Segment& of() const { return a.linear.segments[segment]; }

    __device__ __forceinline__ void open() {
        if (is_end()) return;
        const BlockTiles<CLUSTER * TILES> of(a.linear, a.tiles, place());
        tile = of.tile + rank * TILES;
        tiles = of.tiles > rank * TILES ? min(TILES, of.tiles - rank * TILES) : 0;
        const u32 at = of.tile + a.linear.tile_offset;
        const bool second = a.linear.first_tiles > 0 && at >= a.linear.first_tiles;
        matrix_tile = (second ? at - a.linear.first_tiles : at) + rank * TILES;
        slice = item % SLICES;
        segment = both || second, has_next_segment = both;
        open_segment();
    }
    __device__ __forceinline__ void open_segment() {
        blocks = F == Format::Int4 ? of().unit_blocks : 1;
        const u32 units = of().blocks / blocks;
        unit = units * slice / SLICES, end = units * (slice + 1) / SLICES;
    }
    // Goes to the next segment of the item. Returns false if there is none.
    __device__ __forceinline__ bool next_segment() {
        if (!has_next_segment) return false;
        has_next_segment = false, segment = 0;
        open_segment();
        return true;
    }
    __device__ __forceinline__ void next() {
        ++item;
        open();
    }
};

#endif
