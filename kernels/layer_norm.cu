// layer_norm: h = (x - mean) / sqrt(variance + eps) * weight + bias, arXiv 1607.06450.
//   x f32 [rows of the pass, hidden]   weight, bias f32 [hidden]   h f16, to one or two places, each in an order of its own
//   grid one block a row   block 1024   shared 128 B   sm_75+
//   cost reads a row of 4 x hidden bytes once, what is past 6144 values three times: microseconds
//   pair crates/moss-kernels/src/cuda/norm.rs
#include "common/types.cuh"

// Mirrored by `NormTarget` in crates/moss-kernels/src/cuda/args.rs.
struct NormTarget {
    half* out;           // [rows, stride], or null for nowhere
    const u32* scatter;  // column of each value, or null for its own number
    u32 stride;
};

constexpr u32 THREADS = 1024;
constexpr u32 KEPT = 6;  // values a thread keeps: 6144 in all

// The sum of every thread's value, in one order.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
    v = warp_sum(v);
    __syncthreads();  // the scratch may still be read from the sum before
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
    let_next_start();
    float factor[KEPT], summand[KEPT], v[KEPT];  // in registers: what one read brings
#pragma unroll
    for (u32 k = 0; k < KEPT; ++k) {
        const u32 i = thread + k * THREADS;
        factor[k] = i < hidden ? weight[i] : 0.f, summand[k] = i < hidden ? bias[i] : 0.f;
    }
    wait_for_previous();
    const float* row = x + u64(source_rows ? source_rows[blockIdx.x] : blockIdx.x) * hidden;
    float sum = 0.f;
#pragma unroll
    for (u32 k = 0; k < KEPT; ++k) {
        const u32 i = thread + k * THREADS;
        v[k] = i < hidden ? row[i] : 0.f;
        sum += v[k];
    }
    for (u32 i = thread + KEPT * THREADS; i < hidden; i += THREADS) sum += row[i];
    const float mean = block_sum(sum, scratch) / hidden;
    float squares = 0.f;  // of the differences: the stream has a few lanes hundreds of times larger
                          // than the rest
#pragma unroll
    for (u32 k = 0; k < KEPT; ++k) {
        if (thread + k * THREADS < hidden) squares += (v[k] - mean) * (v[k] - mean);
    }
    for (u32 i = thread + KEPT * THREADS; i < hidden; i += THREADS)
        squares += (row[i] - mean) * (row[i] - mean);
    const float scale = rsqrtf(block_sum(squares, scratch) / hidden + eps);
    const auto put = [&](u32 i, float value, float w, float b) {
        const half h = __float2half_rn((value - mean) * scale * w + b);
        first.out[u64(blockIdx.x) * first.stride + (first.scatter ? first.scatter[i] : i)] = h;
        if (second.out)
            second.out[u64(blockIdx.x) * second.stride + (second.scatter ? second.scatter[i] : i)] =
                h;
    };
#pragma unroll
    for (u32 k = 0; k < KEPT; ++k) {
        if (thread + k * THREADS < hidden) put(thread + k * THREADS, v[k], factor[k], summand[k]);
    }
    for (u32 i = thread + KEPT * THREADS; i < hidden; i += THREADS)
        put(i, row[i], weight[i], bias[i]);
}
