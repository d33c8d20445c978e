// linear_persistent_{int8_n8,int4_n8,int4_n16}: y = W x of packed weights for up to n generated
// tokens (decode), by persistent thread blocks: [qkv_proj | fc_in] and single matrices.
//
//   W, x, y  as in linear_int8.cu and linear_int4.cu, with the same order of sums and the same bits
//   grid 3 thread blocks per multiprocessor (n16: 2), or one per group of tiles if there are fewer
//   block 288: 8 warps multiply a slice of the inputs each, one stores   shared 10 to 36 KB   sm_75+, n16 sm_80+
//   A thread block computes one tile of 16 outputs after another, n16: two at a time. Slices have an
//   even number of units (n16: any number): blocks of 64 inputs, in int4 pairs of them.
//   cost reads W once. [qkv_proj | fc_in] of a true-size layer on an H200, us, and share of the copy
//   bandwidth: int4 of 1, 8, 16 tokens 37.8 (0.87), 41.4 (0.80), 62.3 (0.53), with short thread blocks
//   42.2, 43.7, 68.2; int8 of 1, 8 tokens 64.9 (0.98), 67.3 (0.95), with short ones 69.7, 70.4
//   pair crates/moss-cuda/src/linear_persistent.rs
#include "common/linear_persistent.cuh"

extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 3) linear_persistent_int8_n8(
    const __grid_constant__ DecodeLinearArgs args) {
    linear_persistent<Format::Int8, 1, 1, 2, 1>(args);
}

extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 3) linear_persistent_int4_n8(
    const __grid_constant__ DecodeLinearArgs args) {
    linear_persistent<Format::Int4, 1, 2, 2, 1>(args);
}

extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 2) linear_persistent_int4_n16(
    const __grid_constant__ DecodeLinearArgs args) {
    linear_persistent<Format::Int4, 2, 2, 1, 2>(args);
}
