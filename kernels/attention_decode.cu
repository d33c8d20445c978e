// attention_decode_{16,32,64,128,256}: softmax(q k^T * scale) v for one query per generated
// token over the paged KV cache. The keys are split over thread blocks (flash-decoding). The last
// block of a head to finish combines the partial results, in the order of the keys.
//
//   q             f16 [tokens, heads, stride], zero past head_dim
//   keys, values  f16 [blocks, heads, 16, stride]
//   tables        u32 [n, max_blocks], the block tables
//   rows          u32 [n] or null: sequence i has the one token rows[i], or i
//   positions     u32 [tokens]
//   parts         f32 [n, heads, splits, 2 + stride]: maximum, sum of weights, weighted values
//   tickets       u32 [n, heads], zero before and after
//   out           f16 [tokens, out_stride], column c = head * head_dim + d, or scatter[c]
//   stride        a multiple of 8, at most the number in the kernel's name
//   grid (splits, heads, n), 32 positions per split; splits past the context return at once
//   block 128, half a cache block per warp   shared 5.2 KB   sm_75+
//   cost reads 4 * stride bytes per position and head: bound by memory bandwidth
//   pair crates/moss-cuda/src/attention.rs
#include "common/layouts.cuh"
#include "common/types.cuh"

// Mirrored by `DecodeAttentionArgs` in crates/moss-cuda/src/args.
struct DecodeAttentionArgs {
    const half* q;
    const half* keys;
    const half* values;
    const u32* tables;
    const u32* rows;
    const u32* positions;
    float* parts;
    u32* tickets;
    half* out;
    const u32* scatter;
    u32 max_blocks, heads, head_dim, stride, out_stride;
    float scale;
};
CHECK_LAYOUT_DecodeAttentionArgs;

constexpr u32 WARPS = 4, WARP_POSITIONS = BLOCK_POSITIONS / 2, SPLIT = WARPS * WARP_POSITIONS;
constexpr u32 COMBINED = WARPS * WARP;  // splits combined per round, one per thread

// Eight neighbouring elements of a head.
struct Float8 {
    float v[8];
};

__device__ __forceinline__ Float8 to_float8(uint4 raw) {
    const half2* pairs = reinterpret_cast<const half2*>(&raw);
    Float8 e;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const float2 pair = __half22float2(pairs[i]);
        e.v[2 * i] = pair.x, e.v[2 * i + 1] = pair.y;
    }
    return e;
}

// Combines the partial results of one head, 128 splits per round: first one thread per split
// computes its weight, then one thread per element of the head sums over the splits.
__device__ __forceinline__ void combine_splits(const DecodeAttentionArgs& a, const float* parts,
                                               u32 used, u32 row, u32 head) {
    __shared__ float weights[COMBINED], split_sums[COMBINED];
    const u32 part_size = 2 + a.stride, thread = threadIdx.x;
    float max_score = -INFINITY;
    for (u32 s = thread % WARP; s < used; s += WARP)
        max_score = fmaxf(max_score, __ldcg(parts + s * part_size));
    max_score = warp_max(max_score);       // the same value in every warp
    float weight_sum = 0.f, sums[2] = {};  // a head has at most 256 elements
    for (u32 first = 0; first < used; first += COMBINED) {
        const u32 count = min(COMBINED, used - first);
        __syncthreads();
        if (thread < count) {
            const float* part = parts + (first + thread) * part_size;
            weights[thread] = expf(__ldcg(part) - max_score);
            split_sums[thread] = __ldcg(part + 1);
        }
        __syncthreads();
        const float* values = parts + first * part_size + 2 + thread;
#pragma unroll 8
        for (u32 s = 0; s < count; ++s) {
            weight_sum += weights[s] * split_sums[s];
            if (thread < a.head_dim) sums[0] += weights[s] * __ldcg(values + s * part_size);
            if (thread + COMBINED < a.head_dim)
                sums[1] += weights[s] * __ldcg(values + s * part_size + COMBINED);
        }
    }
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        const u32 d = thread + i * COMBINED, column = head * a.head_dim + d;
        if (d < a.head_dim)
            a.out[u64(row) * a.out_stride + (a.scatter ? a.scatter[column] : column)] =
                __float2half_rn(sums[i] / weight_sum);
    }
}

// LANES lanes share a key, 8 of its elements each.
template <u32 LANES> __device__ __forceinline__ void attend(const DecodeAttentionArgs& a) {
    constexpr u32 KEYS = WARP / LANES;  // keys per round of a warp
    constexpr u32 ROUNDS = KEYS < WARP_POSITIONS ? WARP_POSITIONS / KEYS : 1;
    __shared__ float max_scores[WARPS], weight_sums[WARPS];
    __shared__ float sums[WARPS][LANES * 8];
    __shared__ bool is_last;
    // Positions, block tables and the cache of earlier forward passes were written before the
    // preceding kernel started: reading and prefetching them needs no griddepcontrol.wait.
    const u32 split = blockIdx.x, head = blockIdx.y, sequence = blockIdx.z;
    const u32 row = a.rows ? a.rows[sequence] : sequence;
    const u32 position = a.positions[row], used = position / SPLIT + 1;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 part = lane % LANES, key = lane / LANES;
    const u32 first = split * SPLIT + warp * WARP_POSITIONS;  // first position of this warp
    const bool in_stride = part * 8 < a.stride;
    u64 at = 0;
    if (split < used && first <= position) {
        const u64 block = a.tables[sequence * a.max_blocks + first / BLOCK_POSITIONS];
        at = ((block * a.heads + head) * BLOCK_POSITIONS + first % BLOCK_POSITIONS) * a.stride;
        for (u32 line = lane; line * 64 < WARP_POSITIONS * a.stride; line += WARP) {
            prefetch_l2(a.keys + at + line * 64);
            prefetch_l2(a.values + at + line * 64);
        }
        at += part * 8;
    }
    griddepcontrol_wait();
    // Only after the wait: the next kernel reads results of the kernel before this one ahead of its
    // own griddepcontrol.wait (segments[1] in common/linear.cuh).
    griddepcontrol_launch_dependents();
    if (split >= used) return;

    float max_score = -INFINITY, weight_sum = 0.f;
    Float8 sum = {};
    if (first <= position) {
        const Float8 q = to_float8(
            in_stride ? *reinterpret_cast<const uint4*>(
                            a.q + (u64(row) * a.heads + head) * a.stride + part * 8)
                      : make_uint4(0, 0, 0, 0));
        const auto is_visible = [&](u32 round) {
            const u32 offset = round * KEYS + key;
            return offset < WARP_POSITIONS && first + offset <= position;
        };
        // All loads are in flight before the first is used. Keys past the position may be
        // uninitialized memory: they are not read, and count as zero.
        uint4 raw[ROUNDS];
        const auto load = [&](const half* from) {
#pragma unroll
            for (u32 i = 0; i < ROUNDS; ++i) {
                const half* line = from + at + u64(i * KEYS + key) * a.stride;
                raw[i] = is_visible(i) && in_stride
                             ? load_streaming(reinterpret_cast<const uint4*>(line))
                             : make_uint4(0, 0, 0, 0);
            }
        };
        float scores[ROUNDS];
        load(a.keys);
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) {
            const Float8 k = to_float8(raw[i]);
            float dot = 0.f;
#pragma unroll
            for (u32 j = 0; j < 8; ++j) dot += q.v[j] * k.v[j];
#pragma unroll
            for (u32 step = LANES / 2; step > 0; step /= 2) dot += __shfl_xor_sync(~0u, dot, step);
            scores[i] = is_visible(i) ? dot * a.scale : -INFINITY;
            max_score = fmaxf(max_score, scores[i]);
        }
        max_score = warp_max(max_score);
        load(a.values);
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) {
            const float weight = expf(scores[i] - max_score);
            const Float8 v = to_float8(raw[i]);
            weight_sum += weight;
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sum.v[j] += weight * v.v[j];
        }
#pragma unroll
        for (u32 step = LANES; step < WARP; step *= 2) {  // sum over the keys of a round
            weight_sum += __shfl_xor_sync(~0u, weight_sum, step);
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sum.v[j] += __shfl_xor_sync(~0u, sum.v[j], step);
        }
    }
    if (lane == 0) max_scores[warp] = max_score, weight_sums[warp] = weight_sum;
    if (key == 0) {
#pragma unroll
        for (u32 j = 0; j < 8; ++j) sums[warp][part * 8 + j] = sum.v[j];
    }
    __syncthreads();

    float* parts = a.parts + (u64(sequence) * a.heads + head) * gridDim.x * (2 + a.stride);
    float* own_part = parts + split * (2 + a.stride);
    float block_max = max_scores[0];  // the first warp always has a key
#pragma unroll
    for (u32 w = 1; w < WARPS; ++w) block_max = fmaxf(block_max, max_scores[w]);
    for (u32 d = threadIdx.x; d < a.stride; d += blockDim.x) {
        float value = 0.f;
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w) value += expf(max_scores[w] - block_max) * sums[w][d];
        __stcg(own_part + 2 + d, value);
    }
    if (threadIdx.x == 0) {
        float block_sum = 0.f;
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w)
            block_sum += expf(max_scores[w] - block_max) * weight_sums[w];
        __stcg(own_part, block_max);
        __stcg(own_part + 1, block_sum);
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        u32* ticket = a.tickets + sequence * a.heads + head;
        is_last = atomicAdd(ticket, 1u) == used - 1;
        if (is_last) *ticket = 0;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    combine_splits(a, parts, used, row, head);
}

extern "C" __global__ void __launch_bounds__(128) attention_decode_16(
    const __grid_constant__ DecodeAttentionArgs a) {
    attend<2>(a);
}
extern "C" __global__ void __launch_bounds__(128) attention_decode_32(
    const __grid_constant__ DecodeAttentionArgs a) {
    attend<4>(a);
}
extern "C" __global__ void __launch_bounds__(128) attention_decode_64(
    const __grid_constant__ DecodeAttentionArgs a) {
    attend<8>(a);
}
extern "C" __global__ void __launch_bounds__(128) attention_decode_128(
    const __grid_constant__ DecodeAttentionArgs a) {
    attend<16>(a);
}
extern "C" __global__ void __launch_bounds__(128) attention_decode_256(
    const __grid_constant__ DecodeAttentionArgs a) {
    attend<32>(a);
}
