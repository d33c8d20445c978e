// attention_decode_{,int8_}{16,32,64,128,256}: softmax(q k^T * scale) v for one query per generated
// token over the paged KV cache. A thread block computes a range of the splits of 32 positions of a
// head (flash-decoding). If a head has several blocks, the last one to finish combines the partial
// results, in the order of the positions. The arithmetic of a head, and so its bits, depend on
// its context alone: not on the number of blocks or sequences.
//
//   q             f16 [n, heads, stride], zero past head_dim
//   keys, values  f16 [blocks, heads, 16, stride], or 8-bit integers (common/kv_cache.cuh)
//   tables        u32 [n, max_blocks], the block tables
//   positions     u32 [n]; rows of one sequence have consecutive positions
//   parts         f32 [n, heads, max_blocks / 2, 2 + stride]: maximum, sum of weights, weighted
//                 values of each split; unused if the grid has one block per head
//   tickets       u32 [n, heads], zero before and after; unused like parts
//   out           f16 [n, out_stride], column c = head * head_dim + d, or scatter[c]
//   stride        a multiple of 8, at most the number in the kernel's name
//   least_splits  splits of a block, if the head has so many
//   grid (heads, n, blocks per head), 64 splits per block at most; blocks without a split return
//   block 128   shared 11 KB   sm_75+
//   cost reads 4 * stride bytes per position and head: bound by memory bandwidth. One layer of MOSS
//        at context 512 on an H200: 1 sequence 6.9 us (share of copy bandwidth 0.42), 8 25.6 us
//        (0.92), 64 184 us (1.02), 256 725 us (1.04). An 8-bit cache has
//        2 * stride + 4 bytes; 1, 8, 64 and 256 sequences take 0.87, 0.71, 0.63 and 0.59 times as
//        long, of 0.50
//   pair crates/moss-cuda/src/attention.rs
#include "common/kv_cache.cuh"
#include "common/layouts.cuh"
#include "common/types.cuh"

// Mirrored by `DecodeAttentionArgs` in crates/moss-cuda/src/args.
struct DecodeAttentionArgs {
    const half* q;
    const half* keys;
    const half* values;
    const u32* tables;
    const u32* positions;
    float* parts;
    u32* tickets;
    half* out;
    const u32* scatter;
    u32 max_blocks, heads, head_dim, stride, out_stride, least_splits;
    float scale;
};
CHECK_LAYOUT_DecodeAttentionArgs;

constexpr u32 WARPS = 4, GROUP = BLOCK_POSITIONS / 2, SPLIT = WARPS * GROUP;
constexpr u32 MAX_SPLITS = 64;  // splits per thread block
constexpr u32 COMBINED = 16;    // partial results in flight per thread while combining

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

// Adds weight * value to sum.
__device__ __forceinline__ void add_weighted(float2& sum, float weight, float2 value) {
    sum.x = fmaf(weight, value.x, sum.x);
    sum.y = fmaf(weight, value.y, sum.y);
}

__device__ __forceinline__ float2 operator+(float2 a, float2 b) {
    return make_float2(a.x + b.x, a.y + b.y);
}

// Adds pairs of neighbours, then pairs of sums.
template <u32 COUNT, typename T> __device__ __forceinline__ T tree_sum(T (&terms)[COUNT]) {
#pragma unroll
    for (u32 step = 1; step < COUNT; step *= 2) {
#pragma unroll
        for (u32 i = 0; i < COUNT; i += 2 * step) terms[i] = terms[i] + terms[i + step];
    }
    return terms[0];
}

// Sums each of COUNT values over LANES neighbouring lanes. Lane l of these has the sum of value
// l / (LANES / COUNT). A step exchanges half of the values with the other half of the lanes: fewer
// shuffles than a sum for each value, in the same order.
template <u32 LANES, u32 COUNT>
__device__ __forceinline__ float lane_sums(float (&values)[COUNT], u32 lane) {
    u32 live = COUNT;
#pragma unroll
    for (u32 step = LANES / 2; step > 0; step /= 2) {
        if (live > 1) {
            live /= 2;
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) {
                if (i < live) {
                    const bool upper = lane & step;
                    const float sent = upper ? values[i] : values[i + live];
                    const float kept = upper ? values[i + live] : values[i];
                    values[i] = kept + __shfl_xor_sync(~0u, sent, step);
                }
            }
        } else {
            values[0] += __shfl_xor_sync(~0u, values[0], step);
        }
    }
    return values[0];
}

// Adds one to the counter of a head's finished blocks. Their writes are visible to the block that
// this returns true to, the last one.
__device__ __forceinline__ bool is_last_of(u32* ticket, u32 blocks) {
    __shared__ bool is_last;
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 before;
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                     : "=r"(before)
                     : "l"(ticket)
                     : "memory");
        is_last = before == blocks - 1;
        if (is_last) *ticket = 0;
    }
    __syncthreads();
    return is_last;
}

// The weighted values of a thread's elements, and the sum of the weights.
struct Attended {
    float2 values;
    float weights;

    __device__ __forceinline__ void add(float weight, float2 split_values, float split_weights) {
        add_weighted(values, weight, split_values);
        weights = fmaf(weight, split_weights, weights);
    }
};

// Combines the partial results of a head. Every warp computes the weights of 32 splits at a time.
__device__ __forceinline__ Attended combine(const float* parts, u32 used, u32 size, u32 d) {
    const u32 lane = threadIdx.x % WARP;
    const bool in_stride = d + 2 < size;
    const auto load = [&](u32 split, u32 element, bool exists) {
        const float* from = parts + split * size + element;
        return exists && split < used ? __ldcg(reinterpret_cast<const float2*>(from))
                                      : make_float2(0.f, 0.f);
    };
    float2 values[COMBINED];
#pragma unroll
    for (u32 i = 0; i < COMBINED; ++i) values[i] = load(i, 2 + d, in_stride);
    float2 own = load(lane, 0, true);  // maximum and sum of weights of a split
    float max_score = lane < used ? own.x : -INFINITY;
    for (u32 s = lane + WARP; s < used; s += WARP)
        max_score = fmaxf(max_score, __ldcg(parts + s * size));
    max_score = warp_max(max_score);
    Attended sum = {};
    for (u32 first = 0; first < used; first += COMBINED) {
        if (first > 0 && first % WARP == 0) own = load(first + lane, 0, true);
        const float own_weight = expf(own.x - max_score);
#pragma unroll
        for (u32 i = 0; i < COMBINED; ++i) {
            const float weight = __shfl_sync(~0u, own_weight, (first + i) % WARP);
            const float weights = __shfl_sync(~0u, own.y, (first + i) % WARP);
            if (first + i < used) sum.add(weight, values[i], weights);
            values[i] = load(first + COMBINED + i, 2 + d, in_stride);
        }
    }
    return sum;
}

// What the warps of a block exchange.
struct Shared {
    float weights[MAX_SPLITS * SPLIT];  // exp(score - maximum of its group), 16-byte aligned
    float factors[MAX_SPLITS * WARPS];  // exp(maximum of a group - maximum of its split)
    float maxima[MAX_SPLITS * WARPS];   // of the scores of a group
    float split_maxima[MAX_SPLITS], split_sums[MAX_SPLITS];
    u32 blocks[MAX_SPLITS * SPLIT / BLOCK_POSITIONS];
    // Of the head; here instead of in registers.
    float* parts;
    u32 used, row_blocks;  // splits and thread blocks
};

// Which positions of the next split are loaded while one is computed.
enum class Next { ALL, VISIBLE, NONE };

// Eight neighbouring elements of a key.
__device__ __forceinline__ Float8 key_elements(const F16Cache&, const u32* raw) {
    return to_float8(make_uint4(raw[0], raw[1], raw[2], raw[3]));
}
__device__ __forceinline__ Float8 key_elements(const Int8Cache&, const u32* raw) {
    return {int8_at<0>(raw[0]), int8_at<1>(raw[0]), int8_at<2>(raw[0]), int8_at<3>(raw[0]),
            int8_at<0>(raw[1]), int8_at<1>(raw[1]), int8_at<2>(raw[1]), int8_at<3>(raw[1])};
}

// Two neighbouring elements of a value.
__device__ __forceinline__ float2 value_elements(const F16Cache&, u32 raw) {
    return __half22float2(reinterpret_cast<const half2&>(raw));
}
__device__ __forceinline__ float2 value_elements(const Int8Cache&, u32 raw) {
    return make_float2(int8_at<0>(raw), int8_at<1>(raw));
}

// LANES lanes share a key, 8 of its elements each. A warp computes the scores of 8 positions of
// each split, then the weighted values of 64 elements of the head. Of an 8-bit cache, a score is
// multiplied by the scale of the key, and a weight, after it was added to the sum of weights, by
// that of the value.
template <u32 LANES, typename Cache>
__device__ __forceinline__ void attend(const DecodeAttentionArgs& a) {
    using Element = typename Cache::Element;
    constexpr u32 KEY_WORDS = 8 * sizeof(Element) / 4;  // of a lane
    constexpr u32 LINE = 128 / sizeof(Element);         // elements of a line of L2
    constexpr Cache CACHE = {};
    const Element* const all_keys = reinterpret_cast<const Element*>(a.keys);
    const Element* const all_values = reinterpret_cast<const Element*>(a.values);
    constexpr u32 KEYS = WARP / LANES < GROUP ? WARP / LANES : GROUP;  // per round of a warp
    constexpr u32 ROUNDS = GROUP / KEYS;
    __shared__ alignas(16) Shared shared;
    const u32 stride = a.stride;
    // Positions, block tables and the cache of earlier forward passes were written before the
    // preceding kernel started: reading and prefetching them needs no griddepcontrol.wait.
    const u32 head = blockIdx.x, row = blockIdx.y, n = gridDim.y;
    const u32 position = a.positions[row], used = position / SPLIT + 1;
    const u32 per_block = max((used + gridDim.z - 1) / gridDim.z, a.least_splits);
    const u32 first_split = blockIdx.z * per_block, first = first_split * SPLIT;
    // Without griddepcontrol.wait: the next kernel starts after the first block of the head, which
    // calls it, has called griddepcontrol.launch_dependents.
    if (first_split >= used) return;
    const u32 splits = min(per_block, used - first_split), last = splits - 1;
    const u32 seen = position + 1 - first;  // positions from the block's first
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 part = lane % LANES, key = lane / LANES;
    const u32 d = 2 * threadIdx.x;  // of two elements of the head
    const u32 table = row * a.max_blocks + first / BLOCK_POSITIONS;
    if (threadIdx.x == 0) {
        const u64 row_head = u64(row) * a.heads + head;
        shared.parts = a.parts + row_head * ((a.max_blocks + 1) / 2) * (2 + stride);
        shared.used = used;
        shared.row_blocks = (used + per_block - 1) / per_block;
    }
    for (u32 i = threadIdx.x; i < splits * (SPLIT / BLOCK_POSITIONS); i += blockDim.x)
        shared.blocks[i] = i * BLOCK_POSITIONS < seen ? a.tables[table + i] : 0;
    __syncthreads();

    // The first element of a position of this head, counted from the block's first position.
    const auto line_of = [&](u32 offset) {
        return Cache::line(shared.blocks[offset / BLOCK_POSITIONS], a.heads, head,
                           offset % BLOCK_POSITIONS, stride);
    };
    // The scale of a position, and those of the following ones up to a multiple of 8.
    const auto scales_of = [&](const Element* cache, u32 offset) {
        if constexpr (Cache::HAS_SCALES)
            return Cache::scales(cache, shared.blocks[offset / BLOCK_POSITIONS], a.heads, head,
                                 offset % BLOCK_POSITIONS, stride);
    };
    // Keys and values past the position may be uninitialized memory: they are not read, and count
    // as zero, or have the weight zero. In `raw`, a round of keys takes KEY_WORDS words, a position
    // of values one.
    u32 raw[SPLIT];
    u16 raw_scale = 0;  // of the key whose score this lane has
    const bool has_part = part * 8 < stride, has_d = d < stride;
    const auto load_key = [&](u32 i, const Element* line, u32 visible) {
        const u32 offset = i * KEYS + key;
        const bool is_visible = offset < visible && has_part;
        const Element* const from = line + i * KEYS * stride;
        if constexpr (KEY_WORDS == 4) {
            uint4 words = make_uint4(0, 0, 0, 0);
            if (is_visible) words = load_streaming(reinterpret_cast<const uint4*>(from));
            raw[4 * i] = words.x, raw[4 * i + 1] = words.y;
            raw[4 * i + 2] = words.z, raw[4 * i + 3] = words.w;
        } else {
            uint2 words = make_uint2(0, 0);
            if (is_visible) words = __ldcs(reinterpret_cast<const uint2*>(from));
            raw[2 * i] = words.x, raw[2 * i + 1] = words.y;
        }
    };
    const auto load_value = [&](u32 i, const Element* line, u32 visible) {
        using Pair = typename Cache::Pair;
        const Element* from = line + i % BLOCK_POSITIONS * stride;
        raw[i] = i < visible && has_d ? __ldcs(reinterpret_cast<const Pair*>(from)) : 0;
    };
    const auto keys_of = [&](u32 split) {
        return all_keys + line_of(split * SPLIT + warp * GROUP) + key * stride + part * 8;
    };
    const auto values_of = [&](u32 block) {
        return all_values + line_of(block * BLOCK_POSITIONS) + d;
    };
    // The position in a group whose score this lane has after lane_sums.
    constexpr u32 SUM_LANES = LANES / ROUNDS;  // with the same sum
    const u32 scored = part / SUM_LANES * KEYS + key;
    const auto load_scale = [&](u32 split, u32 visible) {
        if constexpr (Cache::HAS_SCALES) {
            const half* const scales = scales_of(all_keys, split * SPLIT + warp * GROUP);
            raw_scale = 0;
            if (scored < visible) raw_scale = __ldcs(reinterpret_cast<const u16*>(scales) + scored);
        }
    };
    // Visible positions of this warp's group of a split.
    const auto visible_of = [&](u32 split) {
        const u32 start = split * SPLIT + warp * GROUP;
        return seen > start ? min(seen - start, GROUP) : 0;
    };

    const u32 first_visible = visible_of(0);
    for (u32 at = lane * LINE; at < first_visible * stride; at += WARP * LINE)
        prefetch_l2(all_values + line_of(warp * GROUP) + at);
    if constexpr (Cache::HAS_SCALES) {
        for (u32 i = threadIdx.x * BLOCK_POSITIONS; i < splits * SPLIT && i < seen;
             i += blockDim.x * BLOCK_POSITIONS)
            prefetch_l2(scales_of(all_values, i));
    }
    // The n rows of this pass may be of one sequence.
    const bool is_old = (warp + 1) * GROUP + n <= seen;
    const Element* first_keys = keys_of(0);
    if (is_old) {
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) load_key(i, first_keys, GROUP);
        load_scale(0, GROUP);
    }
    griddepcontrol_wait();
    // Only after the wait: the next kernel reads results of the kernel before this one ahead of its
    // own griddepcontrol.wait (segments[1] in common/linear.cuh).
    griddepcontrol_launch_dependents();
    const uint4* from = reinterpret_cast<const uint4*>(a.q + (u64(row) * a.heads + head) * stride +
                                                       part * 8);
    const Float8 q = to_float8(has_part ? *from : make_uint4(0, 0, 0, 0));
    if (!is_old) {
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) load_key(i, first_keys, first_visible);
        load_scale(0, first_visible);
    }

    const auto compute_scores = [&](u32 s, Next next) {
        const u32 visible = next == Next::NONE ? visible_of(s) : GROUP;
        const u32 next_visible = next == Next::VISIBLE ? visible_of(s + 1) : GROUP;
        const Element* next_keys = next == Next::NONE ? nullptr : keys_of(s + 1);
        const float key_scale = __half2float(__ushort_as_half(raw_scale));
        if (next != Next::NONE) load_scale(s + 1, next_visible);
        float dots[ROUNDS];
#pragma unroll
        for (u32 i = 0; i < ROUNDS; ++i) {
            const Float8 k = key_elements(CACHE, raw + KEY_WORDS * i);
            if (next != Next::NONE) load_key(i, next_keys, next_visible);
            dots[i] = 0.f;
#pragma unroll
            for (u32 j = 0; j < 8; ++j) dots[i] = fmaf(q.v[j], k.v[j], dots[i]);
        }
        if (next == Next::NONE) {
            const Element* lines[2] = {values_of(0), values_of(1)};
#pragma unroll
            for (u32 i = 0; i < SPLIT; ++i) load_value(i, lines[i / BLOCK_POSITIONS], seen);
        }
        float dot = lane_sums<LANES>(dots, part);
        if constexpr (Cache::HAS_SCALES) dot = __fmul_rn(dot, key_scale);
        const float score = scored < visible ? __fmul_rn(dot, a.scale) : -INFINITY;
        const float max_score = warp_max(score);
        if (part % SUM_LANES == 0 && scored < GROUP)
            shared.weights[s * SPLIT + warp * GROUP + scored] = visible > 0
                                                                    ? expf(score - max_score)
                                                                    : 0.f;
        if (lane == 0) shared.maxima[s * WARPS + warp] = max_score;
    };
    u32 s = 0;
    for (; s + 1 < last; ++s) compute_scores(s, Next::ALL);
    for (; s < last; ++s) compute_scores(s, Next::VISIBLE);
    compute_scores(s, Next::NONE);
    __syncthreads();

    const auto load_weights = [&](float (&own)[GROUP], u32 group) {
#pragma unroll
        for (u32 i = 0; i < GROUP; i += 4) {
            const float4 four = *reinterpret_cast<const float4*>(shared.weights + group * GROUP +
                                                                 i);
            own[i] = four.x, own[i + 1] = four.y, own[i + 2] = four.z, own[i + 3] = four.w;
        }
    };
    // One thread per group: its sum of weights, and its factor in the split.
    for (u32 g = threadIdx.x; g - lane < splits * WARPS; g += blockDim.x) {
        const u32 group = min(g, splits * WARPS - 1);
        const float max_score = shared.maxima[group];
        float split_max = fmaxf(max_score, __shfl_xor_sync(~0u, max_score, 1));
        split_max = fmaxf(split_max, __shfl_xor_sync(~0u, split_max, 2));
        const float factor = expf(max_score - split_max);
        float own[GROUP], sums[KEYS] = {}, split_sum = 0.f;
        load_weights(own, group);
#pragma unroll
        for (u32 i = 0; i < GROUP; ++i) sums[i % KEYS] += own[i];
        if constexpr (Cache::HAS_SCALES) {
            const u32 start = group * GROUP;  // those of positions that are not read may be NaN
            uint4 words = make_uint4(0, 0, 0, 0);
            if (start < seen)
                words = __ldcs(reinterpret_cast<const uint4*>(scales_of(all_values, start)));
            const Float8 scales = to_float8(words);
            if (g == group) {
#pragma unroll
                for (u32 i = 0; i < GROUP; ++i)
                    shared.weights[start + i] = start + i < seen ? own[i] * scales.v[i] : 0.f;
            }
        }
        const float sum = tree_sum(sums);
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w)
            split_sum = fmaf(__shfl_sync(~0u, factor, w, WARPS), __shfl_sync(~0u, sum, w, WARPS),
                             split_sum);
        if (g == group) {
            shared.factors[g] = factor;
            shared.split_maxima[g / WARPS] = split_max;
            shared.split_sums[g / WARPS] = split_sum;
        }
    }
    __syncthreads();

    const u32 row_blocks = shared.row_blocks, part_size = 2 + stride;
    float max_score = -INFINITY;  // of this block
    for (u32 i = lane; i < splits; i += WARP) max_score = fmaxf(max_score, shared.split_maxima[i]);
    max_score = warp_max(max_score);
    Attended sum = {};
    const auto add_values = [&](u32 s, Next next) {
        const u32 next_split = (s + 1) * SPLIT, visible = seen - s * SPLIT;
        const u32 next_visible = next == Next::VISIBLE ? seen - next_split : SPLIT;
        const Element* lines[2] = {next == Next::NONE ? nullptr : values_of(2 * s + 2),
                                   next == Next::NONE ? nullptr : values_of(2 * s + 3)};
        float2 value = {};
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w) {
            if (next == Next::NONE && w * GROUP >= visible) break;
            float2 sums[KEYS] = {};
            float own[GROUP];
            load_weights(own, s * WARPS + w);
#pragma unroll
            for (u32 j = 0; j < GROUP; ++j) {
                const u32 i = w * GROUP + j;
                const float2 v = value_elements(CACHE, raw[i]);
                if (next != Next::NONE) load_value(i, lines[i / BLOCK_POSITIONS], next_visible);
                add_weighted(sums[j % KEYS], own[j], v);
            }
            add_weighted(value, shared.factors[s * WARPS + w], tree_sum(sums));
        }
        if (row_blocks == 1) {
            sum.add(expf(shared.split_maxima[s] - max_score), value, shared.split_sums[s]);
        } else {
            float2* own = reinterpret_cast<float2*>(shared.parts + (first_split + s) * part_size);
            if (has_d) __stcg(own + 1 + threadIdx.x, value);
            if (threadIdx.x == 0)
                __stcg(own, make_float2(shared.split_maxima[s], shared.split_sums[s]));
        }
    };
    for (s = 0; s + 1 < last; ++s) add_values(s, Next::ALL);
    for (; s < last; ++s) add_values(s, Next::VISIBLE);
    add_values(s, Next::NONE);
    if (row_blocks > 1) {
        if (!is_last_of(a.tickets + row * a.heads + head, row_blocks)) return;
        sum = combine(shared.parts, shared.used, part_size, d);
    }
    const float attended[2] = {sum.values.x / sum.weights, sum.values.y / sum.weights};
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        const u32 column = head * a.head_dim + d + i;
        if (d + i < a.head_dim)
            a.out[u64(row) * a.out_stride + (a.scatter ? a.scatter[column] : column)] =
                __float2half_rn(attended[i]);
    }
}

// With 7 blocks per multiprocessor (72 registers) or 5 (96), 32 sequences take 10 and 30 % longer
// on an H200. For sm_80, 80 registers are too few.
#if __CUDA_ARCH__ == 800
constexpr u32 LEAST_BLOCKS = 5;
#else
constexpr u32 LEAST_BLOCKS = 6;
#endif

#define KERNEL(name, lanes, cache, least_blocks)                          \
    extern "C" __global__ void __launch_bounds__(128, least_blocks) name( \
        const __grid_constant__ DecodeAttentionArgs a) {                  \
        attend<lanes, cache>(a);                                          \
    }
KERNEL(attention_decode_16, 2, F16Cache, 3)
KERNEL(attention_decode_32, 4, F16Cache, 3)
KERNEL(attention_decode_64, 8, F16Cache, 3)
KERNEL(attention_decode_128, 16, F16Cache, 3)
KERNEL(attention_decode_256, 32, F16Cache, LEAST_BLOCKS)
KERNEL(attention_decode_int8_16, 2, Int8Cache, 3)
KERNEL(attention_decode_int8_32, 4, Int8Cache, 3)
KERNEL(attention_decode_int8_64, 8, Int8Cache, 3)
KERNEL(attention_decode_int8_128, 16, Int8Cache, 3)
KERNEL(attention_decode_int8_256, 32, Int8Cache, LEAST_BLOCKS)
