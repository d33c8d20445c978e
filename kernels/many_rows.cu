// Epilogues of the dense GEMMs of prefill.
//
// heads_and_inner: the outputs of [qkv_proj | fc_in] to queries, KV cache and fc_out's input
// (common/heads.cuh)
//   y  f16 [tokens, y_stride]; columns below 3 * hidden are qkv_proj's, from inner_start on fc_in's
//   grid (column pairs / 256, tokens)   block 256
//   cost reads and writes 2 bytes per value: bound by memory bandwidth
//
// add_bias: x += bias, and a check for non-finite values, at the end of a layer
//   x  f32 [tokens, hidden]
//   grid (hidden / 1024, tokens)   block 256
//
//   pair crates/moss-cuda/src/qkv_rope_gelu.rs, crates/moss-cuda/src/elementwise.rs
#include "common/heads.cuh"

extern "C" __global__ void __launch_bounds__(256) heads_and_inner(
    const half* __restrict__ y, u32 y_stride, u32 inner_start,
    const __grid_constant__ Heads heads) {
    griddepcontrol_wait();
    const u32 token = blockIdx.y, column = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
    const bool is_inner = column >= inner_start;
    const u32 r = is_inner ? column - inner_start : column;
    if (r >= (is_inner ? heads.inner_size : 3 * heads.hidden)) return;
    const float2 pair = __half22float2(
        *reinterpret_cast<const half2*>(y + u64(token) * y_stride + column));
    if (is_inner) {
        store_inner(heads, token, r, pair.x);
        if (r + 1 < heads.inner_size) store_inner(heads, token, r + 1, pair.y);
    } else {
        store_head_pair(heads, token, r, pair.x, pair.y);
    }
}

extern "C" __global__ void __launch_bounds__(256) add_bias(float* __restrict__ x,
                                                           const float* __restrict__ bias,
                                                           u32 hidden, u32 layer, u64* non_finite) {
    griddepcontrol_wait();
    const u32 token = blockIdx.y;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < hidden; i += gridDim.x * blockDim.x) {
        const float v = x[u64(token) * hidden + i] + (bias ? bias[i] : 0.f);
        x[u64(token) * hidden + i] = v;
        if (!is_finite(v)) report_non_finite(non_finite, layer, token, v);
    }
}
