// Producers of gemm_transposed_sm90.cu: threads that fill the pipeline stages with bulk tensor
// copies. Each copies one kind of data, because a copy takes a thread about 90 cycles.
#pragma once
#include "gemm_transposed_items.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <Format F, u32 TOKENS, bool RESIDUAL> struct TransposedProducer {
    using Size = TransposedSize<F, TOKENS>;
    const TransposedGemmArgs& a;
    const TransposedPipeline<F, TOKENS> pipeline;

    // Runs `load` for the blocks of every stage. If ENDS, a stage without bytes follows the last
    // one: consumers read one stage of packed weights ahead.
    template <bool ENDS, typename Load>
    __device__ __forceinline__ void produce(const Load& load) const {
        u32 slot = 0, parity = 1;
        TransposedSchedule<TOKENS, Size::OUTPUTS, RESIDUAL> schedule(a);
        TransposedItem item;
        while (schedule.next(item)) {
            for (u32 part = 0; part < 2; ++part) {
                const BlockRange range = schedule.range(item, part);
                const u32 end = range.first + range.count;
#pragma unroll 1
                for (u32 block = range.first; block < end; block += Size::BLOCKS) {
                    mbarrier_wait(pipeline.empty(slot), parity);
                    load(item, range.segment, block, slot);
                    if (++slot == Size::STAGES) slot = 0, parity ^= 1;
                }
            }
        }
        if (!ENDS) return;
        mbarrier_wait(pipeline.empty(slot), parity);
        mbarrier_arrive(pipeline.full(slot));
    }
    // Weights are constants, so they are copied before griddepcontrol.wait.
    __device__ __forceinline__ void weights() const {
        // Columns of a block and outputs of a row of the map
        constexpr u32 COLUMNS = F == Format::F16 ? K_BLOCK : Size::TILE_BYTES / 4;
        constexpr u32 OUTPUTS = F == Format::F16 ? 1 : 16;
        produce<F != Format::F16>([&](const TransposedItem& item, u32 segment, u32 block,
                                      u32 slot) {
            mbarrier_arrive_expect(pipeline.full(slot), Size::LOADED);
#pragma unroll
            for (u32 b = 0; b < Size::BLOCKS; b += Size::BOX_BLOCKS)
                copy_box(
                    pipeline.stage(slot) + Size::WEIGHT_AT + b / Size::BOX_BLOCKS * Size::BOX_BYTES,
                    a.weight[segment], (block + b) * COLUMNS, item.output / OUTPUTS,
                    pipeline.full(slot));
        });
    }
    __device__ __forceinline__ void tables() const {
        produce<false>([&](const TransposedItem& item, u32 segment, u32 block, u32 slot) {
#pragma unroll
            for (u32 b = 0; b < Size::BLOCKS; ++b)
                copy_box(pipeline.stage(slot) + Size::TABLE_AT + b * Size::TABLE_BYTES,
                         a.table[segment],
                         (block + b) / a.linear.segments[segment].group_blocks * 16,
                         item.output / 16, pipeline.full(slot));
        });
    }
    // Copies half of the tokens to both thread blocks of the cluster.
    __device__ __forceinline__ void x() const {
        constexpr u32 HALF = TOKENS / CLUSTER;
        const u32 first = cluster_rank() * HALF;
        griddepcontrol_wait();
        produce<false>([&](const TransposedItem& item, u32 segment, u32 block, u32 slot) {
#pragma unroll
            for (u32 b = 0; b < Size::BLOCKS; ++b)
                copy_box_multicast(pipeline.stage(slot) + b * Size::X_BYTES + first * SWIZZLED_ROW,
                                   a.x[segment], (block + b) * K_BLOCK, item.token + first,
                                   pipeline.full(slot), (1 << CLUSTER) - 1);
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
