// Operations of one block in f32, between the matrix products of GPTQ (crates/moss-quantize).
// Row-major; every kernel is bound by memory bandwidth. layer_norm_f32: y = (x - mean) /
// sqrt(variance + eps) * weight + bias, arXiv 1607.06450
//   x, y [rows, columns]   grid rows   block 256   cost reads a row three times from the caches, writes it once
// add_bias_f32: x += bias, then gelu where asked for
//   x [rows, columns]   grid (columns / 256, rows)   block 256   cost reads and writes 4 bytes a value
// split_heads_f32: outputs of qkv_proj to queries, keys and values of each head, queries and keys
// rotated (arXiv 2104.09864, pairs (2i, 2i + 1))
//   qkv [rows, shards, query | value | key, heads / shards, head_dim]   q [heads, rows, head_dim]   k, v [heads, positions, head_dim], from position
//   `start` on   sin, cos [positions, pairs]   grid (hidden / 2 / 256, rows)   block 256   cost reads and writes 12 bytes a value of hidden
// merge_heads_f32: y[row, head * head_dim + i] = x[head, row, i]
//   grid (hidden / 256, rows)   block 256   cost reads and writes 4 bytes a value
// causal_softmax_f32: row i of scores becomes softmax over its columns 0..=first + i, zero behind
// them
//   scores [rows, columns]   grid rows   block 256   cost reads a row three times from the caches, writes it once
// permute_upper_f32: elements (i, j), i <= j, of a panel of a symmetric matrix to (place[i],
// place[j]), or their mirror image, of its reordering
//   panel [start + width, width], columns from `start` on   targets: addresses of such panels of `panel_width` columns, of a matrix of order n
//   grid (width / 256, start + width)   block 256   cost reads 4 bytes a value, writes a sector a value
//   pair crates/moss-kernels/src/cuda/f32_ops.rs
#include "common/types.cuh"

constexpr u32 THREADS = 256;

// The result of `op` over every thread's value, in one order, in every thread.
template <typename Op> __device__ __forceinline__ float block_reduce(float v, float identity, Op op,
                                                                     float* scratch) {
#pragma unroll
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(~0u, v, offset));
    __syncthreads();  // the scratch may still be read from the reduction before
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();
    v = threadIdx.x % WARP < THREADS / WARP ? scratch[threadIdx.x % WARP] : identity;
#pragma unroll
    for (u32 offset = WARP / 2; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(~0u, v, offset));
    return v;
}

__device__ __forceinline__ float add(float a, float b) { return a + b; }
__device__ __forceinline__ float larger(float a, float b) { return fmaxf(a, b); }

extern "C" __global__ void __launch_bounds__(THREADS) layer_norm_f32(
    const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
    float* __restrict__ y, u32 columns, float eps) {
    __shared__ float scratch[THREADS / WARP];
    wait_for_previous();
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
    wait_for_previous();
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
    wait_for_previous();
    const u32 row = blockIdx.y, rows = gridDim.y, pair = blockIdx.x * THREADS + threadIdx.x;
    const u32 hidden = heads * head_dim;
    if (pair >= hidden / 2) return;
    const u32 head = 2 * pair / head_dim, lane = 2 * pair % head_dim;
    const u32 local = heads / shards;  // heads of a slab
    const float* slab = qkv + u64(row) * 3 * hidden + u64(head / local) * 3 * local * head_dim +
                        (head % local) * head_dim + lane;
    const u32 next = local * head_dim;  // from queries to values, and to keys
    const u32 position = start + row;
    float s = 0.f, c = 1.f;
    if (lane / 2 < pairs)
        s = sin[u64(position) * pairs + lane / 2], c = cos[u64(position) * pairs + lane / 2];
    const float* key = slab + 2 * next;
    float* to_q = q + (u64(head) * rows + row) * head_dim + lane;
    float* to_k = k + (u64(head) * positions + position) * head_dim + lane;
    float* to_v = v + (u64(head) * positions + position) * head_dim + lane;
    to_q[0] = slab[0] * c - slab[1] * s, to_q[1] = slab[1] * c + slab[0] * s;
    to_k[0] = key[0] * c - key[1] * s, to_k[1] = key[1] * c + key[0] * s;
    to_v[0] = slab[next], to_v[1] = slab[next + 1];
}

extern "C" __global__ void __launch_bounds__(THREADS) merge_heads_f32(const float* __restrict__ x,
                                                                      float* __restrict__ y,
                                                                      u32 heads, u32 head_dim) {
    wait_for_previous();
    const u32 row = blockIdx.y, rows = gridDim.y, column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= heads * head_dim) return;
    y[u64(row) * heads * head_dim + column] =
        x[(u64(column / head_dim) * rows + row) * head_dim + column % head_dim];
}

extern "C" __global__ void __launch_bounds__(THREADS) causal_softmax_f32(float* __restrict__ scores,
                                                                         u32 columns, u32 first) {
    __shared__ float scratch[THREADS / WARP];
    wait_for_previous();
    float* row = scores + u64(blockIdx.x) * columns;
    const u32 seen = min(first + blockIdx.x + 1, columns);
    float most = -INFINITY, sum = 0.f;
    for (u32 i = threadIdx.x; i < seen; i += THREADS) most = fmaxf(most, row[i]);
    most = block_reduce(most, -INFINITY, larger, scratch);
    for (u32 i = threadIdx.x; i < seen; i += THREADS) sum += expf(row[i] - most);
    sum = block_reduce(sum, 0.f, add, scratch);
    for (u32 i = threadIdx.x; i < columns; i += THREADS)
        row[i] = i < seen ? expf(row[i] - most) / sum : 0.f;
}

extern "C" __global__ void __launch_bounds__(THREADS) permute_upper_f32(
    const float* __restrict__ panel, u32 start, u32 width, const u32* __restrict__ place,
    float* const* __restrict__ targets, u32 panel_width, u32 n) {
    wait_for_previous();
    const u32 i = blockIdx.y, column = blockIdx.x * THREADS + threadIdx.x;
    const u32 j = start + column;
    if (column >= width || i > j) return;
    const u32 row = min(place[i], place[j]), to = max(place[i], place[j]);
    const u32 target = to / panel_width, target_start = target * panel_width;
    const u32 target_width = min(panel_width, n - target_start);
    targets[target][u64(row) * target_width + (to - target_start)] = panel[u64(i) * width + column];
}
