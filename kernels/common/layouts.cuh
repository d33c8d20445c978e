// Size of every struct that Rust passes to the kernels, and size and offset of its fields.
// Generated from crates/moss-cuda/src/args by its test `write_layouts`: do not edit.
#pragma once
#include "types.cuh"

// clang-format off
#ifdef __CUDACC_RTC__  // NVRTC has no __builtin_offsetof
#define OFFSET_OF(type, field) __INTADDR__(&((type*)0)->field)
#else
#define OFFSET_OF(type, field) __builtin_offsetof(type, field)
#endif
#define CHECK_SIZE(type, size) \
    static_assert(sizeof(type) == size, #type " differs from crates/moss-cuda/src/args")
#define CHECK_FIELD(type, field, offset, size) \
    static_assert(OFFSET_OF(type, field) == offset && sizeof(type::field) == size, \
                  #type "::" #field " differs from crates/moss-cuda/src/args")

#define CHECK_LAYOUT_Segment \
    CHECK_SIZE(Segment, 48); \
    CHECK_FIELD(Segment, weight, 0, 8); \
    CHECK_FIELD(Segment, table, 8, 8); \
    CHECK_FIELD(Segment, x, 16, 8); \
    CHECK_FIELD(Segment, x_stride, 24, 4); \
    CHECK_FIELD(Segment, blocks, 28, 4); \
    CHECK_FIELD(Segment, groups, 32, 4); \
    CHECK_FIELD(Segment, group_blocks, 36, 4); \
    CHECK_FIELD(Segment, unit_blocks, 40, 4)

#define CHECK_LAYOUT_LinearArgs \
    CHECK_SIZE(LinearArgs, 264); \
    CHECK_FIELD(LinearArgs, segments, 0, 96); \
    CHECK_FIELD(LinearArgs, first_tiles, 96, 4); \
    CHECK_FIELD(LinearArgs, tile_offset, 100, 4); \
    CHECK_FIELD(LinearArgs, rows, 104, 4); \
    CHECK_FIELD(LinearArgs, n, 108, 4); \
    CHECK_FIELD(LinearArgs, epilogue, 112, 4); \
    CHECK_FIELD(LinearArgs, layer, 116, 4); \
    CHECK_FIELD(LinearArgs, out_stride, 120, 8); \
    CHECK_FIELD(LinearArgs, out, 128, 8); \
    CHECK_FIELD(LinearArgs, bias, 136, 8); \
    CHECK_FIELD(LinearArgs, non_finite, 144, 8); \
    CHECK_FIELD(LinearArgs, heads, 152, 112)

#define CHECK_LAYOUT_DecodeLinearArgs \
    CHECK_SIZE(DecodeLinearArgs, 272); \
    CHECK_FIELD(DecodeLinearArgs, linear, 0, 264); \
    CHECK_FIELD(DecodeLinearArgs, tiles, 264, 4)

#define CHECK_LAYOUT_LinearSm90Args \
    CHECK_SIZE(LinearSm90Args, 1088); \
    CHECK_FIELD(LinearSm90Args, x, 0, 256); \
    CHECK_FIELD(LinearSm90Args, weight, 256, 256); \
    CHECK_FIELD(LinearSm90Args, table, 512, 256); \
    CHECK_FIELD(LinearSm90Args, linear, 768, 264); \
    CHECK_FIELD(LinearSm90Args, parts, 1032, 8); \
    CHECK_FIELD(LinearSm90Args, tickets, 1040, 8); \
    CHECK_FIELD(LinearSm90Args, tiles, 1048, 4)

#define CHECK_LAYOUT_Heads \
    CHECK_SIZE(Heads, 112); \
    CHECK_FIELD(Heads, q, 0, 8); \
    CHECK_FIELD(Heads, keys, 8, 8); \
    CHECK_FIELD(Heads, values, 16, 8); \
    CHECK_FIELD(Heads, positions, 24, 8); \
    CHECK_FIELD(Heads, slots, 32, 8); \
    CHECK_FIELD(Heads, sin, 40, 8); \
    CHECK_FIELD(Heads, cos, 48, 8); \
    CHECK_FIELD(Heads, inner_bias, 56, 8); \
    CHECK_FIELD(Heads, inner, 64, 8); \
    CHECK_FIELD(Heads, inner_scatter, 72, 8); \
    CHECK_FIELD(Heads, inner_size, 80, 4); \
    CHECK_FIELD(Heads, inner_stride, 84, 4); \
    CHECK_FIELD(Heads, hidden, 88, 4); \
    CHECK_FIELD(Heads, shards, 92, 4); \
    CHECK_FIELD(Heads, num_heads, 96, 4); \
    CHECK_FIELD(Heads, head_dim, 100, 4); \
    CHECK_FIELD(Heads, head_stride, 104, 4); \
    CHECK_FIELD(Heads, rotary_pairs, 108, 4)

#define CHECK_LAYOUT_NormTarget \
    CHECK_SIZE(NormTarget, 24); \
    CHECK_FIELD(NormTarget, out, 0, 8); \
    CHECK_FIELD(NormTarget, scatter, 8, 8); \
    CHECK_FIELD(NormTarget, stride, 16, 4)

#define CHECK_LAYOUT_DecodeAttentionArgs \
    CHECK_SIZE(DecodeAttentionArgs, 104); \
    CHECK_FIELD(DecodeAttentionArgs, q, 0, 8); \
    CHECK_FIELD(DecodeAttentionArgs, keys, 8, 8); \
    CHECK_FIELD(DecodeAttentionArgs, values, 16, 8); \
    CHECK_FIELD(DecodeAttentionArgs, tables, 24, 8); \
    CHECK_FIELD(DecodeAttentionArgs, positions, 32, 8); \
    CHECK_FIELD(DecodeAttentionArgs, parts, 40, 8); \
    CHECK_FIELD(DecodeAttentionArgs, tickets, 48, 8); \
    CHECK_FIELD(DecodeAttentionArgs, out, 56, 8); \
    CHECK_FIELD(DecodeAttentionArgs, scatter, 64, 8); \
    CHECK_FIELD(DecodeAttentionArgs, max_blocks, 72, 4); \
    CHECK_FIELD(DecodeAttentionArgs, heads, 76, 4); \
    CHECK_FIELD(DecodeAttentionArgs, head_dim, 80, 4); \
    CHECK_FIELD(DecodeAttentionArgs, stride, 84, 4); \
    CHECK_FIELD(DecodeAttentionArgs, out_stride, 88, 4); \
    CHECK_FIELD(DecodeAttentionArgs, least_splits, 92, 4); \
    CHECK_FIELD(DecodeAttentionArgs, scale, 96, 4)

#define CHECK_LAYOUT_KvQuantizeArgs \
    CHECK_SIZE(KvQuantizeArgs, 48); \
    CHECK_FIELD(KvQuantizeArgs, keys, 0, 8); \
    CHECK_FIELD(KvQuantizeArgs, values, 8, 8); \
    CHECK_FIELD(KvQuantizeArgs, slots, 16, 8); \
    CHECK_FIELD(KvQuantizeArgs, key_cache, 24, 8); \
    CHECK_FIELD(KvQuantizeArgs, value_cache, 32, 8); \
    CHECK_FIELD(KvQuantizeArgs, heads, 40, 4); \
    CHECK_FIELD(KvQuantizeArgs, stride, 44, 4)

#define CHECK_LAYOUT_PrefillAttentionArgs \
    CHECK_SIZE(PrefillAttentionArgs, 80); \
    CHECK_FIELD(PrefillAttentionArgs, q, 0, 8); \
    CHECK_FIELD(PrefillAttentionArgs, keys, 8, 8); \
    CHECK_FIELD(PrefillAttentionArgs, values, 16, 8); \
    CHECK_FIELD(PrefillAttentionArgs, tables, 24, 8); \
    CHECK_FIELD(PrefillAttentionArgs, tiles, 32, 8); \
    CHECK_FIELD(PrefillAttentionArgs, out, 40, 8); \
    CHECK_FIELD(PrefillAttentionArgs, scatter, 48, 8); \
    CHECK_FIELD(PrefillAttentionArgs, max_blocks, 56, 4); \
    CHECK_FIELD(PrefillAttentionArgs, heads, 60, 4); \
    CHECK_FIELD(PrefillAttentionArgs, head_dim, 64, 4); \
    CHECK_FIELD(PrefillAttentionArgs, stride, 68, 4); \
    CHECK_FIELD(PrefillAttentionArgs, out_stride, 72, 4); \
    CHECK_FIELD(PrefillAttentionArgs, scale, 76, 4)

#define CHECK_LAYOUT_TensorMap \
    CHECK_SIZE(TensorMap, 128); \
    CHECK_FIELD(TensorMap, words, 0, 128)

#define CHECK_LAYOUT_GemmArgs \
    CHECK_SIZE(GemmArgs, 832); \
    CHECK_FIELD(GemmArgs, x, 0, 256); \
    CHECK_FIELD(GemmArgs, weight, 256, 256); \
    CHECK_FIELD(GemmArgs, linear, 512, 264); \
    CHECK_FIELD(GemmArgs, semaphores, 776, 8); \
    CHECK_FIELD(GemmArgs, slices, 784, 4)

#define CHECK_LAYOUT_TransposedGemmArgs \
    CHECK_SIZE(TransposedGemmArgs, 1088); \
    CHECK_FIELD(TransposedGemmArgs, x, 0, 256); \
    CHECK_FIELD(TransposedGemmArgs, weight, 256, 256); \
    CHECK_FIELD(TransposedGemmArgs, table, 512, 256); \
    CHECK_FIELD(TransposedGemmArgs, linear, 768, 264); \
    CHECK_FIELD(TransposedGemmArgs, semaphores, 1032, 8); \
    CHECK_FIELD(TransposedGemmArgs, slices, 1040, 4)

#define CHECK_LAYOUT_PrefillAttentionSm90Args \
    CHECK_SIZE(PrefillAttentionSm90Args, 512); \
    CHECK_FIELD(PrefillAttentionSm90Args, q, 0, 128); \
    CHECK_FIELD(PrefillAttentionSm90Args, keys, 128, 128); \
    CHECK_FIELD(PrefillAttentionSm90Args, values, 256, 128); \
    CHECK_FIELD(PrefillAttentionSm90Args, base, 384, 80)

#define CHECK_LAYOUT_CopyRun \
    CHECK_SIZE(CopyRun, 32); \
    CHECK_FIELD(CopyRun, from, 0, 8); \
    CHECK_FIELD(CopyRun, to, 8, 8); \
    CHECK_FIELD(CopyRun, words, 16, 8); \
    CHECK_FIELD(CopyRun, row_words, 24, 8)

#define CHECK_LAYOUT_CopyRunsArgs \
    CHECK_SIZE(CopyRunsArgs, 128); \
    CHECK_FIELD(CopyRunsArgs, runs, 0, 128)

#define CHECK_LAYOUT_SampleParams \
    CHECK_SIZE(SampleParams, 64); \
    CHECK_FIELD(SampleParams, repetition_penalty, 0, 4); \
    CHECK_FIELD(SampleParams, temperature, 4, 4); \
    CHECK_FIELD(SampleParams, top_k, 8, 4); \
    CHECK_FIELD(SampleParams, allowed, 12, 4); \
    CHECK_FIELD(SampleParams, history_len, 16, 4); \
    CHECK_FIELD(SampleParams, top_p, 20, 4); \
    CHECK_FIELD(SampleParams, min_p, 24, 4); \
    CHECK_FIELD(SampleParams, stop_ids, 28, 20); \
    CHECK_FIELD(SampleParams, stop_factor, 48, 8); \
    CHECK_FIELD(SampleParams, uniform, 56, 8)

#define CHECK_LAYOUT_SampleResult \
    CHECK_SIZE(SampleResult, 8); \
    CHECK_FIELD(SampleResult, status, 0, 4); \
    CHECK_FIELD(SampleResult, token, 4, 4)

#define CHECK_LAYOUT_SampleArgs \
    CHECK_SIZE(SampleArgs, 56); \
    CHECK_FIELD(SampleArgs, logits, 0, 8); \
    CHECK_FIELD(SampleArgs, params, 8, 8); \
    CHECK_FIELD(SampleArgs, history, 16, 8); \
    CHECK_FIELD(SampleArgs, maxima, 24, 8); \
    CHECK_FIELD(SampleArgs, results, 32, 8); \
    CHECK_FIELD(SampleArgs, logits_stride, 40, 4); \
    CHECK_FIELD(SampleArgs, history_stride, 44, 4); \
    CHECK_FIELD(SampleArgs, vocab, 48, 4)
// clang-format on
