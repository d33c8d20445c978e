// gemm_mma_{f16,int8,int4}_n{64,128}: y = x W^T for prefill (GEMM) on GPUs without sm_90a code, with
// the epilogue in the same launch.
//
//   pair crates/moss-cuda/src/gemm_mma.rs
#include "common/linear_args.cuh"

extern "C" __global__ void __launch_bounds__(256) gemm_mma_f16_n64(
    const __grid_constant__ LinearArgs args) {}
extern "C" __global__ void __launch_bounds__(256) gemm_mma_f16_n128(
    const __grid_constant__ LinearArgs args) {}
extern "C" __global__ void __launch_bounds__(256) gemm_mma_int8_n64(
    const __grid_constant__ LinearArgs args) {}
extern "C" __global__ void __launch_bounds__(256) gemm_mma_int8_n128(
    const __grid_constant__ LinearArgs args) {}
extern "C" __global__ void __launch_bounds__(256) gemm_mma_int4_n64(
    const __grid_constant__ LinearArgs args) {}
extern "C" __global__ void __launch_bounds__(256) gemm_mma_int4_n128(
    const __grid_constant__ LinearArgs args) {}
