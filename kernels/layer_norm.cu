// layer_norm: h = (x - mean) / sqrt(variance + eps) * weight + bias (arXiv 1607.06450).
//
//   x             f32 [tokens of the forward batch, hidden]
//   source_rows   u32 [grid] or null: the token of each block
//   weight, bias  f32 [hidden]
//   h             f16, to one or two targets, each with its input permutation
//   grid one block per token   block 1024   shared 128 B   sm_75+
//   cost reads a row of 4 * hidden bytes once, and values past 6144 three times: microseconds
//   pair crates/moss-cuda/src/elementwise.rs
#include "common/layouts.cuh"
#include "common/types.cuh"

// Mirrored by `NormTarget` in crates/moss-cuda/src/args.
struct NormTarget {
    half* out;           // [tokens, stride], or null: no target
    const u32* scatter;  // input permutation: the column of each value, or null
    u32 stride;
};
CHECK_LAYOUT_NormTarget;

constexpr u32 THREADS = 1024;
constexpr u32 PER_THREAD = 6;  // values per thread in registers: 6144 per block

// Sums the values of all threads, in a fixed order.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
    v = warp_sum(v);
    __syncthreads();  // the previous sum may still read the scratch
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();
    float sum = scratch[threadIdx.x % WARP];
    return warp_sum(sum);
}

extern "C" __global__ void __launch_bounds__(THREADS) layer_norm(
    const float* __restrict__ x, const u32* __restrict__ source_rows,
    const float* __restrict__ weight, const float* __restrict__ bias, u32 hidden, float eps,
    NormTarget first, NormTarget second) {
    __shared__ float scratch[THREADS / WARP];
    const u32 thread = threadIdx.x;
    griddepcontrol_launch_dependents();
    float weights[PER_THREAD], biases[PER_THREAD], v[PER_THREAD];
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = thread + k * THREADS;
        weights[k] = i < hidden ? weight[i] : 0.f, biases[k] = i < hidden ? bias[i] : 0.f;
    }
    griddepcontrol_wait();
    const float* row = x + u64(source_rows ? source_rows[blockIdx.x] : blockIdx.x) * hidden;
    float sum = 0.f;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        const u32 i = thread + k * THREADS;
        v[k] = i < hidden ? row[i] : 0.f;
        sum += v[k];
    }
    for (u32 i = thread + PER_THREAD * THREADS; i < hidden; i += THREADS) sum += row[i];
    const float mean = block_sum(sum, scratch) / hidden;
    // Two passes (squared differences from the mean): some elements of the residual stream are
    // hundreds of times larger than the rest.
    float squares = 0.f;
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        if (thread + k * THREADS < hidden) squares += (v[k] - mean) * (v[k] - mean);
    }
    for (u32 i = thread + PER_THREAD * THREADS; i < hidden; i += THREADS)
        squares += (row[i] - mean) * (row[i] - mean);
    const float scale = rsqrtf(block_sum(squares, scratch) / hidden + eps);
    const auto store = [&](u32 i, float value, float w, float b) {
        const half h = __float2half_rn((value - mean) * scale * w + b);
        first.out[u64(blockIdx.x) * first.stride + (first.scatter ? first.scatter[i] : i)] = h;
        if (second.out) {
            second.out[u64(blockIdx.x) * second.stride + (second.scatter ? second.scatter[i] : i)] =
                h;
        }
    };
#pragma unroll
    for (u32 k = 0; k < PER_THREAD; ++k) {
        if (thread + k * THREADS < hidden) store(thread + k * THREADS, v[k], weights[k], biases[k]);
    }
    for (u32 i = thread + PER_THREAD * THREADS; i < hidden; i += THREADS)
        store(i, row[i], weight[i], bias[i]);
}
