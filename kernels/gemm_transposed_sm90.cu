// gemm_transposed_{f16,int8,int4}_{rope_gelu,residual}_n{16,32,64,128}: y = x W^T of prompts
// (prefill, GEMM) on tensor cores by wgmma, in tiles of up to n tokens, with the epilogue in the
// same launch. The tensor cores compute y^T = W x^T, so that packed weights come from registers and
// a tile may have few tokens. f16 weights of more than 64 tokens have gemm_sm90.cu.
//
//   weight, table, epilogues  as in LinearArgs of common/linear_args.cuh
//     rope_gelu  [qkv_proj | fc_in]: rotary embedding, KV cache write, GELU
//     residual   [out_proj | fc_out], added to y in f32 with fc_out's bias
//   x       packed: the columns of a block of 32 are in the order of the fragments, as in
//           linear_sm90.cu
//   others  see TransposedGemmArgs in common/gemm_transposed_items.cuh
//   slices  residual: the inputs are cut into this many slices, whose sums are added to y in order.
//           It must not depend on n. rope_gelu: 1
//   grid    persistent thread blocks, in clusters of two
//   block   512   shared 227 KB   sm_90a
//   A thread block computes tiles of 192 outputs. Threads of one warpgroup fill the pipeline stages
//   with bulk tensor copies; those of x go to both thread blocks of a cluster. Each of three
//   warpgroups multiplies 64 outputs, and dequantizes packed weights in registers, as
//   (q - zero) * scale, while the others multiply.
//   A row of y has the same bits for every n and in every tile: the sums are in the order of the
//   inputs (packed: of x) within a slice, then in the order of the slices.
//   cost 2 n operations per weight; reads x and the weight once per tile, mostly from L2. On an H200,
//   us for [qkv_proj | fc_in] and [out_proj | fc_out] of 16, 64, 128, 512 tokens, and the share of the
//   copy bandwidth or TFLOP/s: int4 51 + 39 (0.60), 74 + 55 (0.42), 113 + 83 (593), 397 + 279 (686);
//   int8 75 + 55 (0.82), 86 + 63 (0.72), 129 + 92 (526), 445 + 310 (614); f16 136 + 94 (0.92),
//   142 + 102 (0.87). The clocks change the times of 512 tokens by 8 %
//   pair crates/moss-cuda/src/gemm_transposed.rs
#include "common/gemm_transposed_consumer.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <Format F, u32 TOKENS, bool RESIDUAL>
__device__ __forceinline__ void gemm_transposed(const TransposedGemmArgs& a) {
    using Size = TransposedSize<F, TOKENS>;
    extern __shared__ __align__(1024) char shared[];
    const TransposedPipeline<F, TOKENS> pipeline{shared_address(shared)};
    if (threadIdx.x == 0) {
        for (u32 s = 0; s < Size::STAGES; ++s)
            mbarrier_init(pipeline.full(s), 1),
                mbarrier_init(pipeline.empty(s), CLUSTER * Size::CONSUMERS / WARP);
        fence_mbarrier_init();
    }
    griddepcontrol_launch_dependents();
    cluster_barrier();
    if (threadIdx.x >= Size::CONSUMERS) {
        decrease_registers<32>();
        const u32 thread = threadIdx.x - Size::CONSUMERS;
        TransposedProducer<F, TOKENS, RESIDUAL>{a, pipeline}.run(thread / WARP, thread % WARP);
    } else {
        increase_registers<160>();
        TransposedConsumer<F, TOKENS, RESIDUAL>{a, pipeline}.run(shared);
    }
    __syncthreads();
    // The other thread block of the cluster still sends to this one's shared memory.
    cluster_barrier();
}

#define CLUSTERED __cluster_dims__(CLUSTER, 1, 1)

#else

template <Format F, u32 TOKENS, bool RESIDUAL>
__device__ __forceinline__ void gemm_transposed(const TransposedGemmArgs&) {}

#define CLUSTERED

#endif

// clang-format off
#define KERNELS(name, format, tokens)                                                             \
    extern "C" __global__ void CLUSTERED __launch_bounds__(512, 1)                                \
        gemm_transposed_##name##_rope_gelu_n##tokens(const __grid_constant__ TransposedGemmArgs a) { \
        gemm_transposed<format, tokens, false>(a);                                                \
    }                                                                                             \
    extern "C" __global__ void CLUSTERED __launch_bounds__(512, 1)                                \
        gemm_transposed_##name##_residual_n##tokens(const __grid_constant__ TransposedGemmArgs a) { \
        gemm_transposed<format, tokens, true>(a);                                                 \
    }
// clang-format on

KERNELS(f16, Format::F16, 16)
KERNELS(f16, Format::F16, 32)
KERNELS(f16, Format::F16, 64)
KERNELS(int8, Format::Int8, 16)
KERNELS(int8, Format::Int8, 32)
KERNELS(int8, Format::Int8, 64)
KERNELS(int8, Format::Int8, 128)
KERNELS(int4, Format::Int4, 16)
KERNELS(int4, Format::Int4, 32)
KERNELS(int4, Format::Int4, 64)
KERNELS(int4, Format::Int4, 128)
