// Element-wise operations in f32 between the matrix products of GPTQ calibration
// (crates/moss-quantize). Matrices are row-major. All kernels are bound by memory bandwidth.
//
// layer_norm_f32: y = (x - mean) / sqrt(variance + eps) * weight + bias (arXiv 1607.06450)
//   x, y  [rows, columns]
//   grid rows   block 256   cost reads a row three times from the caches, writes it once
//
// add_bias_f32: x += bias, then GELU if requested
//   x  [rows, columns]
//   grid (columns / 256, rows)   block 256   cost reads and writes 4 bytes per value
//
// split_heads_f32: outputs of qkv_proj to queries, keys and values of each head; queries and keys
// get the rotary embedding (arXiv 2104.09864, pairs (2i, 2i + 1))
//   qkv       [rows, shards, query | value | key, heads / shards, head_dim]
//   q         [heads, rows, head_dim]
//   k, v      [heads, positions, head_dim], written from position `start` on
//   sin, cos  [positions, pairs]
//   grid (hidden / 2 / 256, rows)   block 256   cost reads and writes 12 bytes per value of hidden
//
// merge_heads_f32: y[row, head * head_dim + i] = x[head, row, i]
//   grid (hidden / 256, rows)   block 256   cost reads and writes 4 bytes per value
//
// causal_softmax_f32: softmax of row i over the columns 0..=first + i, zero in the other columns
//   scores  [rows, columns]
//   grid rows   block 256   cost reads a row three times from the caches, writes it once
//
// permute_upper_f32: symmetric permutation of the upper triangle of a matrix of order n. Element
// (i, j), i <= j, of a panel moves to (place[i], place[j]), or to its mirror image.
//   panel    [start + width, width], the columns from `start` on
//   targets  addresses of the panels of the result, of panel_width columns each
//   grid (width / 256, start + width)   block 256   cost reads 4 bytes, writes a sector per value
//
//   pair crates/moss-cuda/src/f32_ops/mod.rs
#include "common/types.cuh"

constexpr u32 THREADS = 256;

// Reduces the values of all threads with `op`, in a fixed order. All threads get the result.
template <typename Op> __device__ __forceinline__ float block_reduce(float v, float identity, Op op,
                                                                     float* scratch) {
#pragma unroll
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(~0u, v, offset));
    __syncthreads();  // the previous reduction may still read the scratch
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();
    v = threadIdx.x % WARP < THREADS / WARP ? scratch[threadIdx.x % WARP] : identity;
#pragma unroll
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(~0u, v, offset));
    return v;
}

__device__ __forceinline__ float add(float a, float b) { return a + b; }
__device__ __forceinline__ float maximum(float a, float b) { return fmaxf(a, b); }

extern "C" __global__ void __launch_bounds__(THREADS) layer_norm_f32(
    const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
    float* __restrict__ y, u32 columns, float eps) {
    __shared__ float scratch[THREADS / WARP];
    griddepcontrol_wait();
    const float* row = x + u64(blockIdx.x) * columns;
    float* out = y + u64(blockIdx.x) * columns;
    float sum = 0.f, squares = 0.f;
    for (u32 i = threadIdx.x; i < columns; i += THREADS) sum += row[i];
    const float mean = block_reduce(sum, 0.f, add, scratch) / columns;
    for (u32 i = threadIdx.x; i < columns; i += THREADS)
        squares += (row[i] - mean) * (row[i] - mean);
    const float deviation = sqrtf(block_reduce(squares, 0.f, add, scratch) / columns + eps);
    for (u32 i = threadIdx.x; i < columns; i += THREADS)
        out[i] = (row[i] - mean) / deviation * weight[i] + bias[i];
}

extern "C" __global__ void __launch_bounds__(THREADS) add_bias_f32(float* __restrict__ x,
                                                                   const float* __restrict__ bias,
                                                                   u32 columns, u32 gelu) {
    griddepcontrol_wait();
    const u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= columns) return;
    float* value = x + u64(blockIdx.y) * columns + i;
    const float v = *value + bias[i];
    *value = gelu ? gelu_tanh(v) : v;
}

extern "C" __global__ void __launch_bounds__(THREADS) split_heads_f32(
    const float* __restrict__ qkv, const float* __restrict__ sin, const float* __restrict__ cos,
    float* __restrict__ q, float* __restrict__ k, float* __restrict__ v, u32 heads, u32 head_dim,
    u32 shards, u32 pairs, u32 start, u32 positions) {
    griddepcontrol_wait();
    const u32 row = blockIdx.y, rows = gridDim.y, pair = blockIdx.x * THREADS + threadIdx.x;
    const u32 hidden = heads * head_dim;
    if (pair >= hidden / 2) return;
    const u32 head = 2 * pair / head_dim, lane = 2 * pair % head_dim;
    const u32 slab_heads = heads / shards;  // heads per slab
    const float* slab = qkv + u64(row) * 3 * hidden +
                        u64(head / slab_heads) * 3 * slab_heads * head_dim +
                        (head % slab_heads) * head_dim + lane;
    const u32 part_size = slab_heads * head_dim;  // of queries, of values, and of keys
    const u32 position = start + row;
    float s = 0.f, c = 1.f;
    if (lane / 2 < pairs)
        s = sin[u64(position) * pairs + lane / 2], c = cos[u64(position) * pairs + lane / 2];
    const float* key = slab + 2 * part_size;
    float* to_q = q + (u64(head) * rows + row) * head_dim + lane;
    float* to_k = k + (u64(head) * positions + position) * head_dim + lane;
    float* to_v = v + (u64(head) * positions + position) * head_dim + lane;
    to_q[0] = slab[0] * c - slab[1] * s, to_q[1] = slab[1] * c + slab[0] * s;
    to_k[0] = key[0] * c - key[1] * s, to_k[1] = key[1] * c + key[0] * s;
    to_v[0] = slab[part_size], to_v[1] = slab[part_size + 1];
}

extern "C" __global__ void __launch_bounds__(THREADS) merge_heads_f32(const float* __restrict__ x,
                                                                      float* __restrict__ y,
                                                                      u32 heads, u32 head_dim) {
    griddepcontrol_wait();
    const u32 row = blockIdx.y, rows = gridDim.y, column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= heads * head_dim) return;
    y[u64(row) * heads * head_dim + column] =
        x[(u64(column / head_dim) * rows + row) * head_dim + column % head_dim];
}

extern "C" __global__ void __launch_bounds__(THREADS) causal_softmax_f32(float* __restrict__ scores,
                                                                         u32 columns, u32 first) {
    __shared__ float scratch[THREADS / WARP];
    griddepcontrol_wait();
    float* row = scores + u64(blockIdx.x) * columns;
    const u32 visible = min(first + blockIdx.x + 1, columns);
    float row_max = -INFINITY, sum = 0.f;
    for (u32 i = threadIdx.x; i < visible; i += THREADS) row_max = fmaxf(row_max, row[i]);
    row_max = block_reduce(row_max, -INFINITY, maximum, scratch);
    for (u32 i = threadIdx.x; i < visible; i += THREADS) sum += expf(row[i] - row_max);
    sum = block_reduce(sum, 0.f, add, scratch);
    for (u32 i = threadIdx.x; i < columns; i += THREADS)
        row[i] = i < visible ? expf(row[i] - row_max) / sum : 0.f;
}

extern "C" __global__ void __launch_bounds__(THREADS) permute_upper_f32(
    const float* __restrict__ panel, u32 start, u32 width, const u32* __restrict__ place,
    float* const* __restrict__ targets, u32 panel_width, u32 n) {
    griddepcontrol_wait();
    const u32 i = blockIdx.y, column = blockIdx.x * THREADS + threadIdx.x;
    const u32 j = start + column;
    if (column >= width || i > j) return;
    const u32 row = min(place[i], place[j]), to = max(place[i], place[j]);
    const u32 target = to / panel_width, target_start = target * panel_width;
    const u32 target_width = min(panel_width, n - target_start);
    targets[target][u64(row) * target_width + (to - target_start)] = panel[u64(i) * width + column];
}
