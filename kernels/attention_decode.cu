// attention_decode_{16,32,64,128,256}: softmax(q k^T scale) v of one query a sequence over its
// cached positions, the keys split over blocks (flash-decoding). The last block of a head to finish
// joins the parts, in the order of the keys.
//   q f16 [n, heads, stride]   keys, values f16 [blocks, heads, 16, stride]   tables u32 [n, max_blocks]   rows u32 [n] or null
//   positions u32 [rows of the pass]: sequence i has the one row rows[i], or i
//   parts f32 [n, heads, splits, 2 + stride] (maximum, sum, weighted values)   tickets u32 [n, heads], zero before and after
//   out f16 [n, out_stride], column head * head_dim + d, or `scatter` of it
//   stride is a multiple of 8, at most the kernel's number; lanes of q past head_dim are zero
//   grid (splits, heads, n), 32 positions a split; splits past the context leave at once   block 128, a warp half a cache block   shared 5.2 KB   sm_75+
//   cost reads 4 * stride bytes a position and head: bandwidth-bound
//   pair crates/moss-kernels/src/cuda/attention.rs
#include "common/types.cuh"

// Mirrored by `DecodeAttentionArgs` in crates/moss-kernels/src/cuda/args.rs.
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

constexpr u32 WARPS = 4, WARP_POSITIONS = BLOCK_POSITIONS / 2, SPLIT = WARPS * WARP_POSITIONS;
constexpr u32 JOINED = WARPS * WARP;  // parts that are joined together; a thread each

// Eight neighbouring lanes of a head.
struct Eight {
    float v[8];
};

__device__ __forceinline__ Eight widen(uint4 raw) {
    const half2* pairs = reinterpret_cast<const half2*>(&raw);
    Eight e;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const float2 pair = __half22float2(pairs[i]);
        e.v[2 * i] = pair.x, e.v[2 * i + 1] = pair.y;
    }
    return e;
}

// Joins the parts of one head, 128 at a time: first their weights, then a thread each for the
// head's lanes.
__device__ __forceinline__ void join_parts(const DecodeAttentionArgs& a, const float* parts,
                                           u32 used, u32 row, u32 head) {
    __shared__ float weights[JOINED], joined_totals[JOINED];
    const u32 part_size = 2 + a.stride, thread = threadIdx.x;
    float top = -INFINITY;
    for (u32 s = thread % WARP; s < used; s += WARP)
        top = fmaxf(top, __ldcg(parts + s * part_size));
    top = warp_max(top);              // every warp finds the same
    float total = 0.f, sums[2] = {};  // lanes of the head: at most 256
    for (u32 first = 0; first < used; first += JOINED) {
        const u32 count = min(JOINED, used - first);
        __syncthreads();
        if (thread < count) {
            const float* part = parts + (first + thread) * part_size;
            weights[thread] = expf(__ldcg(part) - top);
            joined_totals[thread] = __ldcg(part + 1);
        }
        __syncthreads();
        const float* values = parts + first * part_size + 2 + thread;
#pragma unroll 8
        for (u32 s = 0; s < count; ++s) {
            total += weights[s] * joined_totals[s];
            if (thread < a.head_dim) sums[0] += weights[s] * __ldcg(values + s * part_size);
            if (thread + JOINED < a.head_dim)
                sums[1] += weights[s] * __ldcg(values + s * part_size + JOINED);
        }
    }
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        const u32 d = thread + i * JOINED, column = head * a.head_dim + d;
        if (d < a.head_dim)
            a.out[u64(row) * a.out_stride + (a.scatter ? a.scatter[column] : column)] =
                __float2half_rn(sums[i] / total);
    }
}

// LANES lanes share a key: 8 of its values each.
template <u32 LANES> __device__ __forceinline__ void attend(const DecodeAttentionArgs& a) {
    constexpr u32 KEYS = WARP / LANES, ROUNDS = KEYS < WARP_POSITIONS
                                                    ? WARP_POSITIONS / KEYS
                                                    : 1;  // keys at a time; rounds of a warp
    __shared__ float tops[WARPS], totals[WARPS];
    __shared__ float sums[WARPS][LANES * 8];
    __shared__ bool is_last;
    // Positions and tables are there before the pass begins, and so is all of the cache but this
    // pass's own positions.
    const u32 split = blockIdx.x, head = blockIdx.y, sequence = blockIdx.z,
              row = a.rows ? a.rows[sequence] : sequence;
    const u32 position = a.positions[row], used = position / SPLIT + 1;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, part = lane % LANES,
              key = lane / LANES;
    const u32 first = split * SPLIT + warp * WARP_POSITIONS;  // first position of this warp
    const bool in_stride = part * 8 < a.stride;
    u64 at = 0;
    if (split < used && first <= position) {
        const u64 block = a.tables[sequence * a.max_blocks + first / BLOCK_POSITIONS];
        at = ((block * a.heads + head) * BLOCK_POSITIONS + first % BLOCK_POSITIONS) * a.stride;
        for (u32 line = lane; line * 64 < WARP_POSITIONS * a.stride; line += WARP) {
            prefetch(a.keys + at + line * 64);
            prefetch(a.values + at + line * 64);
        }
        at += part * 8;
    }
    wait_for_previous();
    let_next_start();  // not earlier: the next kernel begins with what the one before this one left
    if (split >= used) return;

    float top = -INFINITY, total = 0.f;
    Eight sum = {};
    if (first <= position) {
        const Eight q = widen(in_stride
                                  ? *reinterpret_cast<const uint4*>(
                                        a.q + (u64(row) * a.heads + head) * a.stride + part * 8)
                                  : make_uint4(0, 0, 0, 0));
        const auto is_seen = [&](u32 round) {
            const u32 offset = round * KEYS + key;
            return offset < WARP_POSITIONS && first + offset <= position;
        };
        uint4 raw[ROUNDS];  // all loads in flight before the first is used; zeros for what is not
                            // seen, which may be unwritten
        const auto load = [&](const half* from) {
#pragma unroll
            for (u32 i = 0; i < ROUNDS; ++i) {
                const half* line = from + at + u64(i * KEYS + key) * a.stride;
                raw[i] = is_seen(i) && in_stride ? load_once(reinterpret_cast<const uint4*>(line))
                                                 : make_uint4(0, 0, 0, 0);
            }
        };
        float scores[ROUNDS];
        load(a.keys);
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) {
            const Eight k = widen(raw[i]);
            float dot = 0.f;
#pragma unroll
            for (u32 j = 0; j < 8; ++j) dot += q.v[j] * k.v[j];
#pragma unroll
            for (u32 step = LANES / 2; step > 0; step /= 2) dot += __shfl_xor_sync(~0u, dot, step);
            scores[i] = is_seen(i) ? dot * a.scale : -INFINITY;
            top = fmaxf(top, scores[i]);
        }
        top = warp_max(top);
        load(a.values);
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) {
            const float weight = expf(scores[i] - top);
            const Eight v = widen(raw[i]);
            total += weight;
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sum.v[j] += weight * v.v[j];
        }
#pragma unroll
        for (u32 step = LANES; step < WARP; step *= 2) {  // over the keys of a round
            total += __shfl_xor_sync(~0u, total, step);
#pragma unroll
            for (u32 j = 0; j < 8; ++j) sum.v[j] += __shfl_xor_sync(~0u, sum.v[j], step);
        }
    }
    if (lane == 0) tops[warp] = top, totals[warp] = total;
    if (key == 0) {
#pragma unroll
        for (u32 j = 0; j < 8; ++j) sums[warp][part * 8 + j] = sum.v[j];
    }
    __syncthreads();

    float* parts = a.parts + (u64(sequence) * a.heads + head) * gridDim.x * (2 + a.stride);
    float* mine = parts + split * (2 + a.stride);
    float block_top = tops[0];  // the first warp always has a key
#pragma unroll
    for (u32 w = 1; w < WARPS; ++w) block_top = fmaxf(block_top, tops[w]);
    for (u32 d = threadIdx.x; d < a.stride; d += blockDim.x) {
        float value = 0.f;
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w) value += expf(tops[w] - block_top) * sums[w][d];
        __stcg(mine + 2 + d, value);
    }
    if (threadIdx.x == 0) {
        float block_total = 0.f;
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w) block_total += expf(tops[w] - block_top) * totals[w];
        __stcg(mine, block_top);
        __stcg(mine + 1, block_total);
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
    join_parts(a, parts, used, row, head);
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
