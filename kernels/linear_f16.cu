// linear_f16_n{8,16,32,64}: y = W x for up to n rows of x: row-major f16, 16 rows x 128 bytes a
// round.
//   W [outputs, inputs]   x f16 [rows <= n, inputs]   sums and y in f32; see LinearArgs for what comes of y
//   grid one block a tile of 16 outputs   block 32 x warps (at most 8), warps share the inputs   shared 5 to 34 KB   sm_75+
//   cost reads W once: bandwidth-bound up to 8 rows, judge it in GB/s
//   a row's sums have one order, whatever n, rows or its neighbours are; the products are exact in f32
//   pair crates/moss-kernels/src/cuda/linear.rs
#include "common/linear.cuh"

extern "C" __global__ void __launch_bounds__(256, 4) linear_f16_n8(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::F16, 1>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_f16_n16(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::F16, 2>(args);
}
extern "C" __global__ void __launch_bounds__(256, 2) linear_f16_n32(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::F16, 4>(args);
}
extern "C" __global__ void __launch_bounds__(256, 1) linear_f16_n64(
    const __grid_constant__ LinearArgs args) {
    linear_rows<Format::F16, 8>(args);
}
