// What surrounds the dense products of many rows.
// heads_and_inner: outputs of [qkv_proj | fc_in] to where they belong (see common/heads.cuh).
//   y f16 [rows, y_stride]: columns below 3 hidden are qkv_proj's, those from inner_start on fc_in's
//   grid (pairs of columns / 256, rows)   block 256   cost reads and writes 2 bytes a value: bandwidth-bound
// add_bias: x += bias and a look at every value; closes a layer.
//   x f32 [rows, hidden]   grid (hidden / 1024, rows)   block 256
//   pair crates/moss-kernels/src/cuda/many_rows.rs
#include "common/heads.cuh"

extern "C" __global__ void __launch_bounds__(256) heads_and_inner(
    const half* __restrict__ y, u32 y_stride, u32 inner_start,
    const __grid_constant__ Heads heads) {
    wait_for_previous();
    const u32 row = blockIdx.y, column = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
    const bool is_inner = column >= inner_start;
    const u32 r = is_inner ? column - inner_start : column;
    if (r >= (is_inner ? heads.inner_size : 3 * heads.hidden)) return;
    const float2 pair = __half22float2(
        *reinterpret_cast<const half2*>(y + u64(row) * y_stride + column));
    if (is_inner) {
        store_inner(heads, row, r, pair.x);
        if (r + 1 < heads.inner_size) store_inner(heads, row, r + 1, pair.y);
    } else {
        store_head_pair(heads, row, r, pair.x, pair.y);
    }
}

extern "C" __global__ void __launch_bounds__(256) add_bias(float* __restrict__ x,
                                                           const float* __restrict__ bias,
                                                           u32 hidden, u32 layer, u64* non_finite) {
    wait_for_previous();
    const u32 row = blockIdx.y;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < hidden; i += gridDim.x * blockDim.x) {
        const float v = x[u64(row) * hidden + i] + (bias ? bias[i] : 0.f);
        x[u64(row) * hidden + i] = v;
        if (!is_finite(v)) report_non_finite(non_finite, layer, row, v);
    }
}
