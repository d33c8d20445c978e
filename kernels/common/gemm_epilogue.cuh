// Epilogues of the GEMMs of prefill, from the accumulators of 16 tokens: rotary embedding, KV cache
// write, GELU (common/heads.cuh), and the residual sum.
//
// A warp holds 16 tokens and 8 J outputs. Lane 4 g + t holds, as after mma and wgmma,
//   c[4 j + 0..1]  token g, outputs 8 j + 2 t + 0..1
//   c[4 j + 2..3]  token g + 8, the same outputs
#pragma once
#include "heads.cuh"
#include "linear_args.cuh"

// x sigmoid(2 u) is 0.5 x (1 + tanh(u)), with fewer instructions. The relative error is
// below 1e-5 for |x| up to 9.
__device__ __forceinline__ float gelu_sigmoid(float x) {
    constexpr float SCALE = -2.f * 1.4426950408889634f *
                            0.7978845608028654f;  // -2 u, as exponent of 2
    const float u = x * fmaf(SCALE * 0.044715f, x * x, SCALE);
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(u));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.f + power));
    return x * inverse;
}

// Transposes 4 x 4 words of the four lanes of a row: word i of lane t becomes word t of lane i.
// Then a lane holds 8 neighbouring f16 outputs, and the four lanes of a row write whole sectors.
__device__ __forceinline__ void transpose_words(u32 (&v)[4]) {
#pragma unroll
    for (u32 distance = 1; distance <= 2; distance *= 2) {
        const bool is_upper = threadIdx.x & distance;
#pragma unroll
        for (u32 pair = 0; pair < 2; ++pair) {
            const u32 low = distance == 1 ? 2 * pair : pair, high = low + distance;
            const u32 received = __shfl_xor_sync(~0u, is_upper ? v[low] : v[high], distance);
            if (is_upper) {
                v[low] = received;
            } else {
                v[high] = received;
            }
        }
    }
}

__device__ __forceinline__ u32 pack_pair(float even, float odd) {
    const half2 pair = __floats2half2_rn(even, odd);
    return *reinterpret_cast<const u32*>(&pair);
}

// The place of 8 neighbouring outputs of qkv_proj within a row of q or of the cache. Heads are a
// multiple of 8 wide.
struct HeadGroup {
    u32 offset;
    u32 flags;  // part (0 query, 1 value, 2 key) | valid << 2 | first rotary pair << 3
};

__device__ __forceinline__ HeadGroup find_head_group(const Heads& to, u32 r) {
    const u32 part_size = to.hidden / to.shards;
    const u32 slab = r / (3 * part_size), in_slab = r - slab * 3 * part_size;
    const u32 part = in_slab / part_size, in_part = in_slab - part * part_size;
    const u32 head_in_slab = in_part / to.head_dim, lane = in_part - head_in_slab * to.head_dim;
    const u32 head = slab * (to.num_heads / to.shards) + head_in_slab;
    return {head * (part == 0 ? 1 : BLOCK_POSITIONS) * to.head_stride + lane,
            part | u32(r < 3 * to.hidden) << 2 | lane / 2 << 3};
}

// Stores outputs of qkv_proj pair by pair, for heads whose width is not a multiple of 8.
template <u32 J> __device__ __forceinline__ void store_narrow_heads(const Heads& to, u32 n,
                                                                    u32 token, u32 output,
                                                                    const float (&c)[4 * J]) {
    float values[4 * J];  // in local memory, for the index
#pragma unroll
    for (u32 i = 0; i < 4 * J; ++i) values[i] = c[i];
#pragma unroll 1
    for (u32 i = 0; i < 2 * J; ++i) {
        const u32 of_row = token + threadIdx.x % WARP / 4 + i % 2 * 8;
        const u32 r = output + i / 2 * 8 + threadIdx.x % 4 * 2;
        if (of_row < n && r < 3 * to.hidden)
            store_head_pair(to, of_row, r, values[2 * i], values[2 * i + 1]);
    }
}

// Stores outputs of qkv_proj: queries and keys are rotated, keys and values are written to the
// cache. `token` is the warp's first token, `output` its first output; J is a multiple of 4.
template <u32 J> __device__ __forceinline__ void store_heads(const Heads& to, u32 n, u32 token,
                                                             u32 output, const float (&c)[4 * J]) {
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    if (to.head_dim % 8 != 0) return store_narrow_heads<J>(to, n, token, output, c);
    const HeadGroup own = find_head_group(to, output + 8 * min(lane, J - 1));  // for the warp
    half* rows[2][3];                                                          // query, value, key
    u64 angle[2];
    bool valid[2];
#pragma unroll
    for (u32 row = 0; row < 2; ++row) {
        const u32 of_row = token + g + 8 * row, safe = min(of_row, n - 1);
        const u32 slot = to.slots[safe];
        const u64 cached = (u64(slot / BLOCK_POSITIONS) * to.num_heads * BLOCK_POSITIONS +
                            slot % BLOCK_POSITIONS) *
                           to.head_stride;
        valid[row] = of_row < n;
        angle[row] = u64(to.positions[safe]) * to.rotary_pairs;
        rows[row][0] = to.q + u64(safe) * to.num_heads * to.head_stride;
        rows[row][1] = to.values + cached, rows[row][2] = to.keys + cached;
    }
#pragma unroll
    for (u32 from = 0; from < J; from += 4) {
        float v[4][4];
        u32 pair[4];  // rotary pair of this lane's outputs
        bool any_rotated = false;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 flags = __shfl_sync(~0u, own.flags, from + i);
            pair[i] = (flags & 3) == 1 ? ~0u : (flags >> 3) + t;
            any_rotated |= pair[i] < to.rotary_pairs;
#pragma unroll
            for (u32 e = 0; e < 4; ++e) v[i][e] = c[4 * (from + i) + e];
        }
        if (any_rotated) {
            float sin[4][2], cos[4][2];
#pragma unroll
            for (u32 i = 0; i < 8; ++i) {
                const bool rotated = pair[i / 2] < to.rotary_pairs;
                const u64 at = angle[i % 2] + pair[i / 2];
                sin[i / 2][i % 2] = rotated ? __ldg(to.sin + at) : 0.f;
                cos[i / 2][i % 2] = rotated ? __ldg(to.cos + at) : 0.f;
            }
#pragma unroll
            for (u32 i = 0; i < 8; ++i) {
                if (pair[i / 2] >= to.rotary_pairs) continue;
                const float s = sin[i / 2][i % 2], k = cos[i / 2][i % 2];
                float& even = v[i / 2][i % 2 * 2];
                float& odd = v[i / 2][i % 2 * 2 + 1];
                const float2 rotated = HeadPair::rotated(make_float2(even, odd), s, k);
                even = rotated.x, odd = rotated.y;
            }
        }
        const u32 offset = __shfl_sync(~0u, own.offset, from + t);
        const u32 flags = __shfl_sync(~0u, own.flags, from + t), part = flags & 3;
#pragma unroll
        for (u32 row = 0; row < 2; ++row) {
            u32 words[4];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) words[i] = pack_pair(v[i][2 * row], v[i][2 * row + 1]);
            transpose_words(words);
            half* const to_row = part == 0 ? rows[row][0] : part == 1 ? rows[row][1] : rows[row][2];
            if (valid[row] && (flags & 4))
                *reinterpret_cast<uint4*>(to_row + offset) = make_uint4(words[0], words[1],
                                                                        words[2], words[3]);
        }
    }
}

// Stores outputs of fc_in: bias and GELU. Their number is even; J is a multiple of 4.
template <u32 J> __device__ __forceinline__ void store_gelu(const Heads& to, u32 n, u32 token,
                                                            u32 output, const float (&c)[4 * J]) {
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 first = output + 2 * t;
    const float* const bias = to.inner_bias + first;
    half* const rows[2] = {to.inner + u64(token + g) * to.inner_stride,
                           to.inner + u64(token + g + 8) * to.inner_stride};
#pragma unroll
    for (u32 from = 0; from < J; from += 4) {
        u32 words[2][4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 j = from + i;
            const float2 b = first + 8 * j < to.inner_size
                                 ? __ldg(reinterpret_cast<const float2*>(bias + 8 * j))
                                 : float2();
#pragma unroll
            for (u32 row = 0; row < 2; ++row)
                words[row][i] = pack_pair(gelu_sigmoid(c[4 * j + 2 * row] + b.x),
                                          gelu_sigmoid(c[4 * j + 2 * row + 1] + b.y));
        }
        const u32 r = output + 8 * (from + t);  // after the transposition
#pragma unroll
        for (u32 row = 0; row < 2; ++row) {
            u32(&w)[4] = words[row];
            transpose_words(w);
            if (token + g + 8 * row >= n) continue;
            if (r + 8 <= to.inner_size && !to.inner_scatter) {
                *reinterpret_cast<uint4*>(rows[row] + r) = make_uint4(w[0], w[1], w[2], w[3]);
                continue;
            }
            for (u32 i = 0; i < 8 && r + i < to.inner_size; ++i) {
                const u32 word = i < 4 ? (i < 2 ? w[0] : w[1]) : i < 6 ? w[2] : w[3];
                const u32 column = to.inner_scatter ? __ldg(to.inner_scatter + r + i) : r + i;
                rows[row][column] = __ushort_as_half(u16(word >> i % 2 * 16));
            }
        }
    }
}

// Reports the non-finite values among the outputs of this lane, which it has stored.
__device__ __forceinline__ void find_non_finite(const LinearArgs& a, u32 token, u32 first,
                                                u32 groups) {
    for (u32 row = token + threadIdx.x % WARP / 4; row < token + 16 && row < a.n; row += 8) {
        for (u32 r = first; r < first + 8 * groups && r < a.rows; r += 8) {
            for (u32 e = 0; e < 2; ++e) {
                const float v = a.out[u64(row) * a.out_stride + r + e];
                if (!is_finite(v)) report_non_finite(a.non_finite, a.layer, row, v);
            }
        }
    }
}

// The values of y that a lane holds of a tile.
template <u32 J> struct ResidualTile {
    float* upper;  // token g, output 2 t
    float* lower;
    u32 outputs;  // from 2 t to the end
    bool has_upper, has_lower;

    __device__ __forceinline__ ResidualTile(const LinearArgs& a, u32 token, u32 output) {
        const u32 g = threadIdx.x % WARP / 4, first = output + 2 * (threadIdx.x % 4);
        upper = a.out + u64(token + g) * a.out_stride + first;
        lower = upper + 8 * a.out_stride;
        outputs = a.rows > first ? a.rows - first : 0;
        has_upper = token + g < a.n, has_lower = token + g + 8 < a.n;
    }
    // The part from group j on.
    __device__ __forceinline__ ResidualTile from(u32 j) const {
        ResidualTile part = *this;
        part.upper += 8 * j, part.lower += 8 * j;
        part.outputs = outputs > 8 * j ? outputs - 8 * j : 0;
        return part;
    }
    __device__ __forceinline__ float2 load(u32 j, u32 row) const {
        const float* const y = (row == 0 ? upper : lower) + 8 * j;
        return 8 * j < outputs && (row == 0 ? has_upper : has_lower)
                   ? __ldcg(reinterpret_cast<const float2*>(y))
                   : float2();
    }
    __device__ __forceinline__ void store(u32 j, u32 row, float2 v) const {
        float* const y = (row == 0 ? upper : lower) + 8 * j;
        if (8 * j < outputs && (row == 0 ? has_upper : has_lower))
            *reinterpret_cast<float2*>(y) = v;
    }
};

// y of a tile, before its first sum.
template <u32 J> __device__ __forceinline__ void load_residual(const LinearArgs& a, u32 token,
                                                               u32 output, float (&y)[4 * J]) {
    const ResidualTile<J> tile(a, token, output);
#pragma unroll
    for (u32 i = 0; i < 2 * J; ++i) {
        const float2 v = tile.load(i / 2, i % 2);
        y[2 * i] = v.x, y[2 * i + 1] = v.y;
    }
}

// Stores y, after its last sum: with the bias, and with a check for non-finite values. The number
// of outputs is even.
template <u32 J, u32 FROM = 0, u32 TO = J>
__device__ __forceinline__ float store_residual(const LinearArgs& a, const ResidualTile<J>& tile,
                                                u32 output, const float* y) {
    const float* const bias = a.bias + output + 2 * (threadIdx.x % 4);
    float worst = 0.f;  // products with 0: not 0 if a value is not finite
#pragma unroll
    for (u32 j = FROM; j < TO; ++j) {
        const float2 b = a.bias && 8 * j < tile.outputs
                             ? __ldg(reinterpret_cast<const float2*>(bias + 8 * j))
                             : float2();
#pragma unroll
        for (u32 row = 0; row < 2; ++row) {
            const float* const from = y + 4 * (j - FROM) + 2 * row;
            const float2 v = a.bias ? make_float2(from[0] + b.x, from[1] + b.y)
                                    : make_float2(from[0], from[1]);
            tile.store(j, row, v);
            worst += 0.f * v.x + 0.f * v.y;
        }
    }
    return worst;
}

// Adds one of several partial sums (slices of the inputs) to y. The order of the additions is that
// of the calls.
template <u32 J> __device__ __forceinline__ void add_residual(const LinearArgs& a, u32 token,
                                                              u32 output, const float (&c)[4 * J],
                                                              bool is_last) {
    const ResidualTile<J> tile(a, token, output);
    constexpr u32 BATCH = J < 4 ? J : 4;  // groups that are loaded at the same time
    float worst = 0.f;
#pragma unroll
    for (u32 from = 0; from < J; from += BATCH) {
        float y[4 * BATCH];
#pragma unroll
        for (u32 i = 0; i < 2 * BATCH; ++i) {
            const float2 v = tile.load(from + i / 2, i % 2);
            y[2 * i] = v.x, y[2 * i + 1] = v.y;
        }
#pragma unroll
        for (u32 i = 0; i < 4 * BATCH; ++i) y[i] += c[4 * from + i];
        if (is_last) {
            const ResidualTile<J> batch = tile.from(from);
            worst += store_residual<J, 0, BATCH>(a, batch, output + 8 * from, y);
        } else {
#pragma unroll
            for (u32 i = 0; i < 2 * BATCH; ++i)
                tile.store(from + i / 2, i % 2, make_float2(y[2 * i], y[2 * i + 1]));
        }
    }
    if (worst != 0.f) find_non_finite(a, token, output + 2 * (threadIdx.x % 4), J);
}

// Prefetches of what the epilogues of 16 tokens read, by a warp.
template <u32 J> __device__ __forceinline__ void prefetch_residual(const LinearArgs& a, u32 token,
                                                                   u32 output) {
    constexpr u32 LINES = J * 8 * u32(sizeof(float)) / 128;
    for (u32 i = threadIdx.x % WARP; i < 16 * LINES; i += WARP) {
        const u32 row = token + i / LINES, r = output + i % LINES * 32;
        if (row < a.n && r < a.rows) prefetch_l2(a.out + u64(row) * a.out_stride + r);
    }
}
template <u32 J> __device__ __forceinline__ void prefetch_bias(const Heads& to, u32 output) {
    const u32 r = output + threadIdx.x % WARP * 32;
    if (threadIdx.x % WARP <= J / 4 && r < to.inner_size) prefetch_l2(to.inner_bias + r);
}
__device__ __forceinline__ void prefetch_positions(const Heads& to, u32 n, u32 token) {
    if (threadIdx.x % WARP < 2 && token < n)
        prefetch_l2((threadIdx.x % WARP == 0 ? to.positions : to.slots) + token);
}
// After prefetch_positions, because it reads the positions.
__device__ __forceinline__ void prefetch_angles(const Heads& to, u32 n, u32 token) {
    const u32 row = token + threadIdx.x % 16;
    if (row >= n || to.rotary_pairs == 0) return;
    const u64 angle = u64(to.positions[row]) * to.rotary_pairs;
    prefetch_l2((threadIdx.x % WARP < 16 ? to.sin : to.cos) + angle);
}
