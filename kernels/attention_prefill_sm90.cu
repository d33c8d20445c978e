// attention_prefill_sm90_{64,128,256}: as attention_prefill.cu, with tiles of up to 128 queries.
//
//   pair crates/moss-cuda/src/attention_prefill.rs
#include "common/prefill_attention_args.cuh"
#include "common/tensor_map.cuh"

// Mirrored by `PrefillAttentionSm90Args` in crates/moss-cuda/src/args.
struct PrefillAttentionSm90Args {
    TensorMap q;     // [tokens, heads, stride], copied in boxes of 64 tokens x 64 elements
    TensorMap keys;  // [num_blocks * heads * 16, stride], copied in boxes of 16 positions
    TensorMap values;
    PrefillAttentionArgs base;
};
CHECK_LAYOUT_PrefillAttentionSm90Args;

extern "C" __global__ void __launch_bounds__(384) attention_prefill_sm90_64(
    const __grid_constant__ PrefillAttentionSm90Args args) {}
extern "C" __global__ void __launch_bounds__(384) attention_prefill_sm90_128(
    const __grid_constant__ PrefillAttentionSm90Args args) {}
extern "C" __global__ void __launch_bounds__(384) attention_prefill_sm90_256(
    const __grid_constant__ PrefillAttentionSm90Args args) {}
