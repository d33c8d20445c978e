// gemm_f16_{rope_gelu,residual}: y = x W^T of prompts of more than 64 tokens (prefill, GEMM) and
// f16 weights, on tensor cores by wgmma, with the epilogue in the same launch.
//
//   weight, x, epilogues  as in LinearArgs of common/linear_args.cuh
//     rope_gelu  [qkv_proj | fc_in]: rotary embedding, KV cache write, GELU
//     residual   [out_proj | fc_out], added to y in f32 with fc_out's bias
//   x[i]          tensor map of the input of segment i: f16 [n, 64 blocks], boxes of 64 x 64
//   weight[i]     tensor map of the weight, [16 tiles, 64 blocks], boxes of 192 x 64
//   semaphores    u32, one per tile of y, zero before and after: the slice that adds next
//   slices        residual: the inputs are cut into this many slices, whose sums are added to y in
//                 order. It must not depend on n. rope_gelu: 1
//   grid   persistent blocks, in clusters of two
//   block  384   shared 227 KB   sm_90a
//   A tile is 128 tokens by 192 outputs: 512 tokens of 6144 outputs are 128 tiles, for 132
//   multiprocessors. One thread fills the pipeline stages with bulk tensor copies of x and of the
//   weights. Two consumer warpgroups multiply 64 tokens each.
//   A row of y has the same bits for every n and in every tile, and as in gemm_transposed_sm90.cu:
//   the sums are in the order of the inputs within a slice, then in the order of the slices.
//   cost 2 n operations per weight; reads x and the weight once per tile, mostly from L2. On an
//   H200, us for both products of 512 tokens: 664 to 790, 698 to 590 TFLOP/s, as the clocks fall
//   pair crates/moss-cuda/src/gemm_sm90.rs
#include "common/gemm_epilogue.cuh"
#include "common/gemm_producer.cuh"
#include "common/gemm_schedule.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Named barrier of the consumer warps.
__device__ __forceinline__ void consumer_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(CONSUMER_WARPS * WARP) : "memory");
}

// Waits until the earlier slices of the tile have been added.
__device__ __forceinline__ void wait_for_slice(const u32* semaphore, u32 slice) {
    if (threadIdx.x % WARPGROUP == 0) {
        u32 now;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                         : "=r"(now)
                         : "l"(semaphore)
                         : "memory");
        } while (now != slice);
    }
    consumer_barrier();
}

__device__ __forceinline__ void release_slice(u32* semaphore, u32 next) {
    __threadfence();
    consumer_barrier();
    if (threadIdx.x == blockDim.x - 1)
        asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(semaphore), "r"(next) : "memory");
}

// Consumer: a warpgroup multiplies 64 tokens by all outputs of the tile.
template <bool RESIDUAL> struct Consumer {
    static constexpr u32 J = TILE_OUTPUTS / 8;
    const GemmArgs& a;
    const Pipeline& from;
    RingState ring;

    __device__ __forceinline__ void release(u32 stage) const {
        if (threadIdx.x % WARP != 0) return;
        mbarrier_arrive(from.empty + 8 * stage);
        mbarrier_arrive_at(from.empty + 8 * stage, cluster_rank() ^ 1);
    }

    u32 previous = 0;
    // Waits for the next block.
    __device__ __forceinline__ void wait_block() const {
        mbarrier_wait(from.full + 8 * ring.stage, ring.phase);
    }
    // Starts its multiplication.
    __device__ __forceinline__ void start(float (&c)[4 * J], u32 group, bool is_first) {
        const u64 x = matrix_descriptor(from.x + ring.stage * X_BYTES + group * BOX_BYTES);
        const u64 w = matrix_descriptor(from.weight + ring.stage * WEIGHT_BYTES);
        wait_block();
        wgmma_fence();
#pragma unroll
        for (u32 k = 0; k < 4; ++k) wgmma_64x192(c, x + 2 * k, w + 2 * k, !is_first || k > 0);
        wgmma_commit();
    }
    // Waits for the block before it, and frees its stage.
    __device__ __forceinline__ void finish_previous(bool is_first) {
        wgmma_wait<1>();
        if (!is_first) release(previous);
        previous = ring.stage;
        ring.advance();
    }

    // Multiplies all blocks of an item.
    __device__ __forceinline__ void multiply(float (&c)[4 * J], const WorkItem& item, u32 group,
                                             bool is_active) {
        for (u32 block = item.begin; block < item.end; ++block) {
            if (is_active) prefetch(item, group, item.end - block);
            if (is_active) {
                start(c, group, block == item.begin);
            } else {
                wait_block();
            }
            finish_previous(block == item.begin);
        }
        wgmma_wait<0>();
        if (item.end > item.begin) release(previous);
    }

    __device__ __forceinline__ void run() {
        const u32 group = threadIdx.x / WARPGROUP - 1;
        Schedule<RESIDUAL> schedule(a);
        griddepcontrol_wait();
        WorkItem item;
        if constexpr (RESIDUAL) {
            // The registers suffice for y: it is read and written once.
            while (schedule.has_whole_tiles() && schedule.next(a, item)) {
                const u32 token = item.token + group * 64 + threadIdx.x / WARP % 4 * 16;
                const bool is_active = item.token + group * 64 < a.linear.n;
                float y[4 * J], c[4 * J];
                load_residual<J>(a.linear, token, item.output, y);
                for (u32 slice = 0; slice < a.slices; ++slice) {
                    if (slice > 0) schedule.next(a, item);
                    multiply(c, item, group, is_active);
                    if (item.begin == item.end) continue;
#pragma unroll
                    for (u32 i = 0; i < 4 * J; ++i) y[i] += c[i];
                }
                if (!is_active) continue;
                const ResidualTile<J> tile(a.linear, token, item.output);
                if (store_residual<J>(a.linear, tile, item.output, y) != 0.f)
                    find_non_finite(a.linear, token, item.output + 2 * (threadIdx.x % 4), J);
            }
        }
        while (schedule.next(a, item)) {
            const u32 token = item.token + group * 64 + threadIdx.x / WARP % 4 * 16;
            const bool is_active = item.token + group * 64 < a.linear.n;
            float c[4 * J];
            multiply(c, item, group, is_active);
            if constexpr (RESIDUAL) {
                const bool is_last = item.slice + 1 == a.slices;
                const bool shares_tiles = !schedule.has_whole_tiles();
                u32* const semaphore = a.semaphores + item.semaphore;
                if (shares_tiles && item.slice > 0) wait_for_slice(semaphore, item.slice);
                if (is_active && item.end > item.begin)
                    add_residual<J>(a.linear, token, item.output, c, is_last);
                if (shares_tiles) release_slice(semaphore, is_last ? 0 : item.slice + 1);
            } else {
                const Heads& to = a.linear.heads;
                if (is_active && item.segment == 0) {
                    store_heads<J>(to, a.linear.n, token, item.output, c);
                } else if (is_active) {
                    store_gelu<J>(to, a.linear.n, token, item.output, c);
                }
            }
        }
    }

    // Prefetches what the epilogue reads into L2, some blocks before the end of the item: under the
    // traffic of the weights, a load from memory takes microseconds, and what is prefetched earlier
    // is evicted.
    __device__ __forceinline__ void prefetch(const WorkItem& item, u32 group, u32 left) const {
        constexpr u32 EARLY = 12, LATE = 8;
        if (left != EARLY && left != LATE) return;
        const u32 token = item.token + group * 64 + threadIdx.x / WARP % 4 * 16;
        if constexpr (RESIDUAL) {
            if (left == LATE) prefetch_residual<J>(a.linear, token, item.output);
        } else if (item.segment == 1) {
            if (left == LATE) prefetch_bias<J>(a.linear.heads, item.output);
        } else if (left == EARLY) {
            prefetch_positions(a.linear.heads, a.linear.n, token);
        } else {
            prefetch_angles(a.linear.heads, a.linear.n, token);
        }
    }
};

template <bool RESIDUAL> __device__ __forceinline__ void gemm(const GemmArgs& a) {
    extern __shared__ char memory[];
    const Pipeline pipeline((shared_address(memory) + 1023) & ~1023u);  // for the swizzle
    if (threadIdx.x == 0) {
        pipeline.initialize();
        fence_mbarrier_init();
    }
    cluster_barrier();
    griddepcontrol_launch_dependents();
    if (threadIdx.x < WARPGROUP) {
        decrease_registers<40>();
        if (threadIdx.x == 0) {
            TileCopies<RESIDUAL> copies(a);
            griddepcontrol_wait();
            while (copies.next(a, pipeline)) {
            }
        }
    } else {
        increase_registers<232>();
        Consumer<RESIDUAL>{a, pipeline, {}}.run();
    }
    __syncwarp();  // one thread of the first warp has copied
    // The other thread block of the cluster still sends to this one's shared memory.
    cluster_barrier();
}

#define CLUSTERED __cluster_dims__(CLUSTER, 1, 1)

#else

template <bool RESIDUAL> __device__ __forceinline__ void gemm(const GemmArgs&) {}

#define CLUSTERED

#endif

extern "C" __global__ void CLUSTERED
    __launch_bounds__(THREADS, 1) gemm_f16_rope_gelu(const __grid_constant__ GemmArgs a) {
    gemm<false>(a);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(THREADS, 1) gemm_f16_residual(
    const __grid_constant__ GemmArgs a) {
    gemm<true>(a);
}
