// Producers of linear_sm90.cu: threads that fill the pipeline stages with bulk tensor copies. Each
// copies one kind of data, because a copy takes a thread about 90 cycles.
#pragma once
#include "linear_sm90_items.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Addresses of a pipeline in shared memory.
template <Format F, u32 ROWS, u32 WGS> struct Sm90Pipeline {
    using Size = Sm90Size<F, ROWS, WGS>;
    const u32 shared;

    __device__ __forceinline__ u32 full(u32 slot) const { return shared + 8 * slot; }
    __device__ __forceinline__ u32 empty(u32 slot) const { return full(Size::MAX_STAGES + slot); }
    __device__ __forceinline__ u32 stage(u32 slot) const {
        return shared + Size::STAGES_AT + slot * Size::STAGE_BYTES;
    }
};

// The boxes that a producer copies, from unit to unit.
struct BoxCursor {
    const TensorMap* map;
    u32 column, row, step;
};

template <Format F, u32 ROWS, u32 WGS> struct Sm90Producer {
    using Size = Sm90Size<F, ROWS, WGS>;
    using Cursor = Items<F, Size::TILES>;
    const LinearSm90Args& a;
    const Sm90Pipeline<F, ROWS, WGS> pipeline;

    // Runs `load` for every stage, with the state that `open` returns for the segment of an item.
    // If ENDS, a stage without bytes follows the last one: consumers read one stage ahead.
    template <bool ENDS, typename Open, typename Load>
    __device__ __forceinline__ void produce(const Open& open, const Load& load) const {
        u32 slot = 0, parity = 1;
        bool is_reused = false;
        for (Cursor at(a, ROWS); !at.is_end(); at.next()) {
            do {
                u32 left = at.end - at.unit;
                if (left == 0) continue;
                auto state = open(at);
#pragma unroll 1
                do {
                    if (is_reused) mbarrier_wait(pipeline.empty(slot), parity);
                    load(state, slot);
                    if (++slot == Size::STAGES) slot = 0, parity ^= 1, is_reused = true;
                } while (--left > 0);
            } while (at.next_segment());
        }
        if (!ENDS) return;
        if (is_reused) mbarrier_wait(pipeline.empty(slot), parity);
        mbarrier_arrive(pipeline.full(slot));
    }
    // Weights are constants, so they are copied before griddepcontrol.wait.
    __device__ __forceinline__ void weights() const {
        produce<true>(
            [&](const Cursor& at) {
                const u32 width = F == Format::F16 ? 64 : PIECES<F> * WARP * 4;
                const u32 row = F == Format::F16 ? at.matrix_tile * 16 : at.matrix_tile;
                return BoxCursor{&a.weight[at.segment], at.unit * at.blocks * width, row,
                                 at.blocks * width};
            },
            [&](BoxCursor& boxes, u32 slot) {
                mbarrier_arrive_expect(pipeline.full(slot), Size::LOADED);
                copy_box(pipeline.stage(slot) + Size::WEIGHT_AT, *boxes.map, boxes.column,
                         boxes.row, pipeline.full(slot));
                boxes.column += boxes.step;
            });
    }
    __device__ __forceinline__ void tables() const {
        u32 left, units;  // of a group
        produce<false>(
            [&](const Cursor& at) {
                units = at.of().group_blocks / at.blocks, left = units - at.unit % units;
                return BoxCursor{&a.table[at.segment], at.unit / units * 16, at.matrix_tile, 16};
            },
            [&](BoxCursor& boxes, u32 slot) {
                copy_box(pipeline.stage(slot) + Size::TABLE_AT, *boxes.map, boxes.column, boxes.row,
                         pipeline.full(slot));
                if (--left == 0) left = units, boxes.column += boxes.step;
            });
    }
    // Copies half of the tokens to both thread blocks of the cluster.
    __device__ __forceinline__ void x() const {
        const u32 rank = cluster_rank(), offset = rank * (ROWS / 2) * SWIZZLED_ROW;
        bool waited = false;
        produce<false>(
            [&](const Cursor& at) {
                if (!waited && !at.is_early()) griddepcontrol_wait(), waited = true;
                return BoxCursor{&a.x[at.segment], at.unit * at.blocks * 64,
                                 at.column * ROWS + rank * (ROWS / 2), at.blocks * 64};
            },
            [&](BoxCursor& boxes, u32 slot) {
#pragma unroll
                for (u32 b = 0; b < Size::BLOCKS; ++b)
                    copy_box_multicast(pipeline.stage(slot) + offset + b * ROWS * SWIZZLED_ROW,
                                       *boxes.map, boxes.column + b * 64, boxes.row,
                                       pipeline.full(slot), (1 << CLUSTER) - 1);
                boxes.column += boxes.step;
            });
    }
    __device__ __forceinline__ void run(u32 warp, u32 lane) const {
        if (lane != 0) return;
        if (warp == 0) weights();
        if (warp == 1) x();
        if (warp == 2 && F != Format::F16) tables();
    }
};

#endif
