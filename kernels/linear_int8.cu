// linear_int8_n{8,16,32,64}: y = W x for up to n tokens (decode, GEMV): 8-bit weights in fragment
// order (common/dequantize.cuh), with a scale and a zero point per group.
//
//   W     [outputs, inputs]
//   x     f16 [tokens <= n, inputs]
//   y     f32 sums; see LinearArgs in common/linear.cuh for the epilogues
//   grid one block per tile of 16 outputs   block 32 * warps, at most 8 warps, which split the
//   inputs   shared 5 to 34 KB   sm_75+
//   cost reads W once: bound by memory bandwidth up to 8 tokens, measure it in GB/s
//   The order of a token's sums does not depend on n or on the other tokens. Products are exact in
//   f32.
//   pair crates/moss-cuda/src/linear.rs
#include "common/linear.cuh"

extern "C" __global__ void __launch_bounds__(256, 4) linear_int8_n8(
    const __grid_constant__ LinearArgs args) {
    linear<Format::Int8, 1>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_int8_n16(
    const __grid_constant__ LinearArgs args) {
    linear<Format::Int8, 2>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_int8_n32(
    const __grid_constant__ LinearArgs args) {
    linear<Format::Int8, 4>(args);
}
extern "C" __global__ void __launch_bounds__(256, 1) linear_int8_n64(
    const __grid_constant__ LinearArgs args) {
    linear<Format::Int8, 8>(args);
}
