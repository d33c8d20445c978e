// linear_int8_n{8,16,32,64}: y = W x for up to n rows of x: bytes in fragment order, scale and zero
// a group.
//   W [outputs, inputs]   x f16 [rows <= n, inputs]   sums and y in f32; see LinearArgs for what comes of y
//   grid one block a tile of 16 outputs   block 32 x warps (at most 8), warps share the inputs   shared 5 to 34 KB   sm_75+
//   cost reads W once: bandwidth-bound up to 8 rows, judge it in GB/s
//   a row's sums have one order, whatever n, rows or its neighbours are; the products are exact in f32
//   pair crates/moss-kernels/src/cuda/linear.rs
#include "common/linear.cuh"

extern "C" __global__ void __launch_bounds__(256, 4) linear_int8_n8(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::Int8, 1>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_int8_n16(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::Int8, 2>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_int8_n32(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::Int8, 4>(args);
}
extern "C" __global__ void __launch_bounds__(256, 1) linear_int8_n64(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::Int8, 8>(args);
}
