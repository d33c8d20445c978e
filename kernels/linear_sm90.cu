// linear_sm90_{f16,int8,int4}_n{32,64}: y = W x for more than 16 generated tokens (decode), in
// blocks of up to n, on tensor cores by wgmma.
//
//   weight, table, epilogues  as in LinearArgs of common/linear_args.cuh
//   x       the columns of a block of 32 are in the order of the fragments: the value of column
//           8 t + 4 s + 2 p + e is at 16 s + 8 p + 2 t + e (common/dequantize.cuh)
//   others  see LinearSm90Args in common/linear_sm90_items.cuh
//   grid    persistent thread blocks, in clusters of two, a multiple of the blocks of tokens
//   block   n32 512 (192 outputs), n64 384 (128 outputs)   shared 227 KB   sm_90a
//   Threads of one warpgroup fill the pipeline stages with bulk tensor copies; those of x go to both
//   thread blocks of a cluster. The other warpgroups dequantize weights in registers and multiply
//   64 outputs each.
//   A token has the same bits as in linear_{f16,int8,int4}_n*: a wgmma adds like an mma.sync, and the
//   order of slices and units is the same.
//   cost reads W once per 64 tokens from device memory or L2. On an H200, us for
//   [qkv_proj | fc_in] and [out_proj | fc_out] of 32, 64, 128 tokens, and their share of the copy
//   bandwidth: int4 80 + 50 (0.43), 117 + 68 (0.30), 217 + 117 (0.17); int8 103 + 64 (0.64),
//   133 + 83 (0.50), 238 + 141 (0.29); f16 144 + 101 (0.86), 155 + 112 (0.79), 251 + 164 (0.50)
//   pair crates/moss-cuda/src/linear_sm90.rs
#include "common/linear_sm90_consumer.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <Format F, u32 ROWS, u32 WGS>
__device__ __forceinline__ void linear_sm90(const LinearSm90Args& args) {
    using Size = Sm90Size<F, ROWS, WGS>;
    extern __shared__ __align__(1024) char shared[];
    const Sm90Pipeline<F, ROWS, WGS> pipeline{shared_address(shared)};
    if (threadIdx.x == 0) {
        for (u32 s = 0; s < Size::STAGES; ++s)
            mbarrier_init(pipeline.full(s), 1),
                mbarrier_init(pipeline.empty(s), CLUSTER * Size::CONSUMERS / WARP);
        fence_mbarrier_init();
    }
    griddepcontrol_launch_dependents();
    cluster_barrier();
    if (threadIdx.x >= Size::CONSUMERS) {
        decrease_registers<WGS == 2 ? 40 : 56>();
        const u32 thread = threadIdx.x - Size::CONSUMERS;
        Sm90Producer<F, ROWS, WGS>{args, pipeline}.run(thread / WARP, thread % WARP);
    } else {
        increase_registers<WGS == 2 ? 232 : 144>();
        Sm90Consumer<F, ROWS, WGS>{args, pipeline}.run(shared);
    }
    __syncthreads();
    // The other thread block of the cluster still sends to this one's shared memory.
    cluster_barrier();
}

#define CLUSTERED __cluster_dims__(CLUSTER, 1, 1)

#else

template <Format F, u32 ROWS, u32 WGS>
__device__ __forceinline__ void linear_sm90(const LinearSm90Args&) {}

#define CLUSTERED

#endif

extern "C" __global__ void CLUSTERED
    __launch_bounds__(512, 1) linear_sm90_f16_n32(const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::F16, 32, 3>(args);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(384, 1) linear_sm90_f16_n64(
    const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::F16, 64, 2>(args);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(512, 1) linear_sm90_int8_n32(
    const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::Int8, 32, 3>(args);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(384, 1) linear_sm90_int8_n64(
    const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::Int8, 64, 2>(args);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(512, 1) linear_sm90_int4_n32(
    const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::Int4, 32, 3>(args);
}
extern "C" __global__ void CLUSTERED __launch_bounds__(384, 1) linear_sm90_int4_n64(
    const __grid_constant__ LinearSm90Args args) {
    linear_sm90<Format::Int4, 64, 2>(args);
}
