// Arguments of prefill attention, shared by attention_prefill.cu and attention_prefill_sm90.cu.
#pragma once
#include "layouts.cuh"
#include "types.cuh"

// Mirrored by `PrefillAttentionArgs` in crates/moss-cuda/src/args.
struct PrefillAttentionArgs {
    const half* q;
    const half* keys;
    const half* values;
    const u32* tables;
    const uint4* tiles;
    half* out;
    const u32* scatter;
    u32 max_blocks, heads, head_dim, stride, out_stride;
    float scale;
};
CHECK_LAYOUT_PrefillAttentionArgs;
