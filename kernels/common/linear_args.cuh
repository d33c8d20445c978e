// Arguments of the matrix products: weights, inputs and epilogues. Shared by the decode (GEMV)
// kernels of common/linear.cuh and by the prefill (GEMM) kernels gemm_*.cu.
#pragma once
#include "heads.cuh"
#include "layouts.cuh"

// One weight matrix and its input. Mirrored by `Segment` in crates/moss-cuda/src/args.
struct Segment {
    const uint4* weight;  // f16 [16 tiles, 64 blocks]; int8, int4: fragments [tile][block][lane]
    const uint2* table;   // [tile][group][8]: half pairs (scale, shift) of rows g, g + 8; f16: null
    const half* x;        // [n, x_stride], zero past the inputs
    u32 x_stride;
    u32 blocks;        // inputs, in blocks of 64
    u32 groups;        // quantization groups
    u32 group_blocks;  // blocks per group
    u32 unit_blocks;   // blocks summed before scaling: for int4 with pairs of blocks 2, else 1
};
CHECK_LAYOUT_Segment;

enum Epilogue : u32 { STORE, RESIDUAL, QKV_ROPE_GELU };

// Mirrored by `LinearArgs` in crates/moss-cuda/src/args.
struct LinearArgs {
    Segment segments[2];
    u32 first_tiles;  // tiles of segments[0], followed by those of segments[1]; 0: y is their sum
    u32 tile_offset;  // first tile of this launch
    u32 rows;         // STORE, RESIDUAL: outputs
    u32 n;            // tokens
    u32 epilogue;
    u32 layer;
    u64 out_stride;
    float* out;         // [n, out_stride]; STORE: = sum + bias; RESIDUAL: += sum + bias
    const float* bias;  // [rows] or null
    u64* non_finite;    // see report_non_finite
    Heads heads;        // QKV_ROPE_GELU: segments[0] is qkv_proj, segments[1] is fc_in
};
CHECK_LAYOUT_LinearArgs;

// Parameters of the decode kernels. Mirrored by `DecodeLinearArgs` in crates/moss-cuda/src/args.
struct DecodeLinearArgs {
    LinearArgs linear;
    u32 tiles;  // of the launch
};
CHECK_LAYOUT_DecodeLinearArgs;
