// Tensor maps: the descriptors of bulk tensor copies to shared memory (TMA, sm_90).
#pragma once
#include "layouts.cuh"
#include "types.cuh"

// A CUtensorMap, which the driver encodes (crates/moss-cuda/src/tensor_map.rs). All maps here are
// of f16 with the 128-byte swizzle of common/wgmma.cuh, or of words without one; elements outside
// the tensor are read as zero. Mirrored by `TensorMap` in crates/moss-cuda/src/args.
struct alignas(64) TensorMap {
    u64 words[16];
};
CHECK_LAYOUT_TensorMap;
