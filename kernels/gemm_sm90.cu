// gemm_{f16,int8,int4}_{rope_gelu,residual}: y = x W^T for prefill (GEMM), with the epilogue in the
// same launch.
//
//   pair crates/moss-cuda/src/gemm_sm90.rs
#include "common/linear_args.cuh"
#include "common/tensor_map.cuh"

// Mirrored by `GemmArgs` in crates/moss-cuda/src/args.
struct GemmArgs {
    TensorMap x[2];       // [n, 64 blocks] of segment i
    TensorMap weight[2];  // f16: [16 tiles, 64 blocks] of segment i
    LinearArgs linear;
    u32* semaphores;  // one per tile of y, zero before and after
    u32 slices;       // parts of the inputs, summed in order (split-K)
};
CHECK_LAYOUT_GemmArgs;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define CLUSTER_OF_TWO __cluster_dims__(2)
#else
#define CLUSTER_OF_TWO
#endif

extern "C" __global__ void CLUSTER_OF_TWO __launch_bounds__(384) gemm_f16_rope_gelu(
    const __grid_constant__ GemmArgs args) {}
extern "C" __global__ void CLUSTER_OF_TWO __launch_bounds__(384) gemm_f16_residual(
    const __grid_constant__ GemmArgs args) {}
extern "C" __global__ void __launch_bounds__(512) gemm_int8_rope_gelu(
    const __grid_constant__ GemmArgs args) {}
extern "C" __global__ void __launch_bounds__(512) gemm_int8_residual(
    const __grid_constant__ GemmArgs args) {}
extern "C" __global__ void __launch_bounds__(512) gemm_int4_rope_gelu(
    const __grid_constant__ GemmArgs args) {}
extern "C" __global__ void __launch_bounds__(512) gemm_int4_residual(
    const __grid_constant__ GemmArgs args) {}
