// Epilogues of gemm_transposed_sm90.cu for a pair of outputs and several tokens: rotary embedding,
// KV cache write, GELU, and the residual sum. The loads of all tokens come first.
#pragma once
#include "gemm_epilogue.cuh"

// Outputs r and r + 1 (r even), for COUNT tokens, of which the first `count` are stored.
template <u32 COUNT> struct TransposedOutputs {
    const LinearArgs& a;
    const u32 r;
    const u32 (&tokens)[COUNT];
    const u32 count;
    float2 (&y)[COUNT];

    __device__ __forceinline__ void heads() const {
        const Heads& to = a.heads;
        if (r >= 3 * to.hidden) return;
        const HeadPair pair(to, r);
        u32 slot[COUNT] = {};
        if (pair.needs_slot()) {
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) slot[i] = to.slots[tokens[i]];
        }
        if (pair.is_rotated()) {
            u64 angle[COUNT];
            float sin[COUNT], cos[COUNT];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) angle[i] = pair.angle(to.positions[tokens[i]]);
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) sin[i] = to.sin[angle[i]], cos[i] = to.cos[angle[i]];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) y[i] = HeadPair::rotated(y[i], sin[i], cos[i]);
        }
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i)
            if (i < count) pair.store(tokens[i], slot[i], y[i]);
    }

    __device__ __forceinline__ void gelu() const {
        const Heads& to = a.heads;
        if (r >= to.inner_size) return;  // an even number
        const float2 bias = __ldg(reinterpret_cast<const float2*>(to.inner_bias + r));
        uint2 columns = make_uint2(r, r + 1);
        if (to.inner_scatter) columns = __ldg(reinterpret_cast<const uint2*>(to.inner_scatter + r));
        const bool is_pair = columns.y == columns.x + 1 && columns.x % 2 == 0;
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) {
            if (i >= count) break;
            half* const row = to.inner + u64(tokens[i]) * to.inner_stride;
            const half2 out = __floats2half2_rn(gelu_sigmoid(y[i].x + bias.x),
                                                gelu_sigmoid(y[i].y + bias.y));
            if (is_pair) {
                *reinterpret_cast<half2*>(row + columns.x) = out;
            } else {
                row[columns.x] = __low2half(out), row[columns.y] = __high2half(out);
            }
        }
    }

    // Adds one of several partial sums (slices of the inputs) to y, in the order of the calls. Only
    // the last one waits for memory; it adds the bias and reports non-finite sums.
    __device__ __forceinline__ void residual(bool is_last) const {
        if (r >= a.rows) return;  // an even number
        float2* at[COUNT];
        float2 old[COUNT], bias = {};
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i)
            at[i] = reinterpret_cast<float2*>(a.out + tokens[i] * a.out_stride + r);
        if (!is_last) {
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i)
                if (i < count)
                    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(at[i]), "f"(y[i].x),
                                 "f"(y[i].y)
                                 : "memory");
            return;
        }
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) old[i] = __ldcg(at[i]);
        if (a.bias) bias = __ldg(reinterpret_cast<const float2*>(a.bias + r));
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) {
            if (i >= count) break;
            float2 sum = make_float2(old[i].x + y[i].x, old[i].y + y[i].y);
            if (a.bias) sum.x += bias.x, sum.y += bias.y;
            __stcg(at[i], sum);
            if (!is_finite(sum.x)) report_non_finite(a.non_finite, a.layer, tokens[i], sum.x);
            if (!is_finite(sum.y)) report_non_finite(a.non_finite, a.layer, tokens[i], sum.y);
        }
    }
};
