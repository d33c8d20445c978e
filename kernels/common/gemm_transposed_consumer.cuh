// Consumers of gemm_transposed_sm90.cu: warpgroups that dequantize weights in registers, multiply,
// and store the outputs.
#pragma once
#include "gemm_transposed_outputs.cuh"
#include "gemm_transposed_producer.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ uint4 load_shared(u32 at) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(at));
    return v;
}
__device__ __forceinline__ uint2 load_shared_pair(u32 at) {
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at));
    return v;
}

template <Format F, u32 TOKENS, bool RESIDUAL> struct TransposedConsumer {
    using Size = TransposedSize<F, TOKENS>;
    static constexpr u32 VALUES = TOKENS / 2;
    typedef float Sums[VALUES];

    const TransposedGemmArgs& a;
    const TransposedPipeline<F, TOKENS> pipeline;
    const u32 warpgroup = threadIdx.x / WARPGROUP, warp = threadIdx.x / WARP,
              lane = threadIdx.x % WARP;
    u32 slot = 0, parity = 0;
    // What this lane has read of the next stage
    uint4 words[Size::BLOCKS][PIECES<F>];
    uint2 entries[Size::BLOCKS];

    // Waits for the threads of this warpgroup.
    __device__ __forceinline__ void sync() const {
        asm volatile("bar.sync %0, 128;" ::"r"(1 + warpgroup) : "memory");
    }

    __device__ __forceinline__ void read() {
        mbarrier_wait(pipeline.full(slot), parity);
        const u32 from = pipeline.stage(slot);
        const u32 tile = from + Size::WEIGHT_AT + warp * Size::BOX_BLOCKS * Size::TILE_BYTES +
                         lane * 16;
#pragma unroll
        for (u32 b = 0; b < Size::BLOCKS; ++b) {
            const u32 box = b / Size::BOX_BLOCKS, in_box = b % Size::BOX_BLOCKS;
#pragma unroll
            for (u32 i = 0; i < PIECES<F>; ++i)
                words[b][i] = load_shared(tile + box * Size::BOX_BYTES + in_box * Size::TILE_BYTES +
                                          i * WARP * 16);
            entries[b] = load_shared_pair(from + Size::TABLE_AT + b * Size::TABLE_BYTES +
                                          warp * 64 + lane / 4 * 8);
        }
    }

    // (q - zero) * scale of a block, rounded once.
    __device__ __forceinline__ void dequantize(u32 b, u32 (&f)[4][4]) const {
        const half2 upper = as_half2(entries[b].x), lower = as_half2(entries[b].y);
        const half2 low = __high2half2(upper), high = __high2half2(lower);
        const half2 scales[2] = {__low2half2(upper), __low2half2(lower)};
#pragma unroll
        for (u32 s = 0; s < 4; ++s) {
            const Fragment made = fragment<F>(words[b], s, low, high);
#pragma unroll
            for (u32 e = 0; e < 4; ++e)
                f[s][e] = as_u32(__hmul2(as_half2(made.a[e]), scales[e % 2]));
        }
    }

    // c += W x for a stage of U blocks.
    template <u32 U> __device__ __forceinline__ void add_stage(Sums& c) {
        u32 f[U][4][4];
#pragma unroll
        for (u32 b = 0; b < U; ++b) dequantize(b, f[b]);
        const u64 x = matrix_descriptor(pipeline.stage(slot));
        const u32 used = slot;
        wgmma_fence();
#pragma unroll
        for (u32 b = 0; b < U; ++b) {
#pragma unroll
            for (u32 s = 0; s < 4; ++s)
                wgmma_fragments<true>(c, f[b][s], x + b * Size::X_BYTES / 16 + 2 * s);
        }
        wgmma_commit();
        if (++slot == Size::STAGES) slot = 0, parity ^= 1;
        read();  // the next stage, while the tensor cores multiply
        wgmma_wait<0>();
        __syncwarp();
        if (lane < CLUSTER) mbarrier_arrive_at(pipeline.empty(used), lane);
    }
    // Multiplies f16 weights from shared memory. A stage is released during the next product.
    u32 previous = ~0u;
    __device__ __forceinline__ void add_dense(u32 count, Sums& c) {
#pragma unroll 1
        for (; count > 0; --count) {
            mbarrier_wait(pipeline.full(slot), parity);
            const u64 x = matrix_descriptor(pipeline.stage(slot));
            const u64 w = matrix_descriptor(pipeline.stage(slot) + Size::WEIGHT_AT +
                                            warpgroup * 64 * SWIZZLED_ROW);
            wgmma_fence();
#pragma unroll
            for (u32 k = 0; k < 4; ++k) wgmma_add(c, w + 2 * k, x + 2 * k);
            wgmma_commit();
            wgmma_wait<1>();
            release(previous);
            previous = slot;
            if (++slot == Size::STAGES) slot = 0, parity ^= 1;
        }
    }
    __device__ __forceinline__ void release(u32 used) const {
        if (used != ~0u && lane < CLUSTER) mbarrier_arrive_at(pipeline.empty(used), lane);
    }
    __device__ __forceinline__ void add_blocks(u32 count, Sums& c) {
        if constexpr (F == Format::F16) {
            add_dense(count, c);
        } else {
#pragma unroll 1
            for (; count >= Size::BLOCKS; count -= Size::BLOCKS) add_stage<Size::BLOCKS>(c);
            if (Size::BLOCKS > 1 && count > 0) add_stage<1>(c);
        }
    }

    // Waits until the earlier slices of these outputs have been added.
    __device__ __forceinline__ void wait_for_slice(const u32* semaphore, u32 slice) const {
        if (threadIdx.x % WARPGROUP == 0) {
            u32 now;
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                             : "=r"(now)
                             : "l"(semaphore)
                             : "memory");
            } while (now != slice);
        }
        sync();
    }
    __device__ __forceinline__ void release_slice(u32* semaphore, u32 next) const {
        __threadfence();
        sync();
        if (threadIdx.x % WARPGROUP == 0)
            asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(semaphore), "r"(next)
                         : "memory");
    }

    // Lane 4 g + t of a warp has c[4 j + e]: token 8 j + 2 t + e % 2, output g + 8 (e / 2) of
    // its 16. In shared memory the outputs are transposed: a lane stores two outputs, a warp every
    // fourth token.
    __device__ __forceinline__ void store(const Sums& c, const TransposedItem& item,
                                          char* memory) const {
        constexpr u32 COUNT = 4, CHUNK = Size::CHUNK;
        const u32 g = lane / 4, t = lane % 4;
        const u32 r = item.output + warpgroup * 64 + 2 * lane;
        const bool is_last = item.slice + 1 == a.slices;
        float* const out = reinterpret_cast<float*>(memory + Size::OUT_AT +
                                                    warpgroup * Size::OUT_BYTES);
#pragma unroll 1
        for (u32 chunk = 0; chunk < TOKENS / CHUNK; ++chunk) {
            const u32 first = item.token + chunk * CHUNK;
            if (first >= a.linear.n) break;
            const u32 n = min(a.linear.n - first, CHUNK);
            sync();  // the previous outputs are stored
#pragma unroll
            for (u32 j = 0; j < TOKENS / 8; ++j) {
                if (j / (CHUNK / 8) != chunk) continue;
                float* const to = out + (8 * (j % (CHUNK / 8)) + 2 * t) * Size::OUT_STRIDE +
                                  warp % 4 * 16 + g;
                to[0] = c[4 * j], to[Size::OUT_STRIDE] = c[4 * j + 1];
                to[8] = c[4 * j + 2], to[Size::OUT_STRIDE + 8] = c[4 * j + 3];
            }
            sync();
#pragma unroll 1
            for (u32 token = warp % 4; token < n; token += 4 * COUNT) {
                u32 tokens[COUNT];
                float2 y[COUNT];
#pragma unroll
                for (u32 i = 0; i < COUNT; ++i) {
                    const u32 of_chunk = min(token + 4 * i, n - 1);
                    tokens[i] = first + of_chunk;
                    y[i] = *reinterpret_cast<const float2*>(out + of_chunk * Size::OUT_STRIDE +
                                                            2 * lane);
                }
                const TransposedOutputs<COUNT> outputs{a.linear, r, tokens, (n - token + 3) / 4, y};
                if (RESIDUAL)
                    outputs.residual(is_last);
                else if (item.segment == 0)
                    outputs.heads();
                else
                    outputs.gelu();
            }
        }
    }

    __device__ __forceinline__ void run(char* memory) {
        TransposedSchedule<TOKENS, Size::OUTPUTS, RESIDUAL> schedule(a);
        griddepcontrol_wait();
        if (F != Format::F16) read();
        TransposedItem item;
        while (schedule.next(item)) {
            Sums c;
#pragma unroll
            for (u32 i = 0; i < VALUES; ++i) c[i] = 0.f;
#pragma unroll 1
            for (u32 part = 0; part < (RESIDUAL ? 2 : 1); ++part)
                add_blocks(schedule.range(item, part).count, c);
            if constexpr (F == Format::F16) {
                wgmma_wait<0>();
                release(previous), previous = ~0u;
            }
            const bool shares = RESIDUAL && !schedule.has_whole_tiles();
            u32* const semaphore = a.semaphores + item.tile * Size::WARPGROUPS + warpgroup;
            if (shares && item.slice > 0) wait_for_slice(semaphore, item.slice);
            if (item.end > item.begin) store(c, item, memory);
            if (shares) release_slice(semaphore, item.slice + 1 == a.slices ? 0 : item.slice + 1);
        }
    }
};

#endif
