// linear_int4_n{8,16,32,64}: y = W x for generated tokens, in blocks of up to n: 4-bit weights in
// fragment order
//   (common/dequantize.cuh), with a scale and a zero point per group.
//
//   W     [outputs, inputs]
//   x     f16 [tokens, inputs]
//   y     f32 sums; see LinearArgs in common/linear_args.cuh for the epilogues
//   grid (blocks of 1 tile of 16 outputs, n64: 2 tiles, blocks of n tokens)   block 256, a warp per
//   slice of the inputs   shared 5 to 34 KB   sm_75+
//   cost reads W once per 64 tokens: bound by memory bandwidth up to 8 tokens (n16 of f16 and int8
//   too), then by reads of x from L2. On an H200, us for [qkv_proj | fc_in] and [out_proj | fc_out]
//   of 8, 16, 32, 64 tokens: 42, 67, 112, 197 and 24, 39, 65, 105
//   The order of a token's sums depends neither on n nor on the other tokens, nor on the GPU.
//   Products are exact in f32.
//   pair crates/moss-cuda/src/linear.rs
#include "common/linear.cuh"

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 3) linear_int4_n8(
    const __grid_constant__ DecodeLinearArgs args) {
    linear<Format::Int4, 1, 1>(args);
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2) linear_int4_n16(
    const __grid_constant__ DecodeLinearArgs args) {
    linear<Format::Int4, 2, 1>(args);
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2) linear_int4_n32(
    const __grid_constant__ DecodeLinearArgs args) {
    linear<Format::Int4, 4, 1>(args);
}

extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 1) linear_int4_n64(
    const __grid_constant__ DecodeLinearArgs args) {
    linear<Format::Int4, 8, 2>(args);
}
