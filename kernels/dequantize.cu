// dequantize_{int4,int8}: a panel of a packed weight as f16, for GEMM with cuBLAS (prefill).
//
//   weight, table  as in Segment of common/linear.cuh
//   out            f16 [16 * tiles, 64 * panel_blocks], row-major: (q - zero) * scale, rounded once
//   The panel has `tiles` tiles from first_tile on, and panel_blocks blocks of inputs from
//   first_block on.
//   grid one warp per tile and block   block 256   sm_75+
//   cost reads 0.5 or 1 byte per weight and writes 2, into L2 if the panel is small enough
//   pair crates/moss-cuda/src/repack.rs
#include "common/dequantize.cuh"
#include "common/layouts.cuh"

// Mirrored by `DequantizeArgs` in crates/moss-cuda/src/args.
struct DequantizeArgs {
    const uint4* weight;
    const uint2* table;
    half* out;
    u32 blocks, groups, group_magic;  // of the whole matrix
    u32 first_tile, tiles, first_block, panel_blocks;
};
CHECK_LAYOUT_DequantizeArgs;

template <Format F> __device__ __forceinline__ void dequantize(const DequantizeArgs& a) {
    griddepcontrol_wait();
    const u32 warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    if (warp >= a.tiles * a.panel_blocks) return;
    const u32 tile = warp / a.panel_blocks, panel_block = warp % a.panel_blocks;
    const u32 block = a.first_block + panel_block;
    const u64 at = u64(a.first_tile + tile) * a.blocks + block;
    const u32 group = a.group_magic ? __umulhi(block, a.group_magic) : block;
    const uint2 entry = __ldg(a.table + (u64(a.first_tile + tile) * a.groups + group) * 8 + g);
    half* out = a.out + (u64(tile) * 16 + g) * a.panel_blocks * K_BLOCK + panel_block * K_BLOCK +
                8 * t;
#pragma unroll
    for (u32 piece = 0; piece < 2; ++piece) {  // 32 inputs each: two steps of mma
        DequantizedRows dequantized;
        if constexpr (F == Format::Int4) {
            const uint2 w = __ldcs(reinterpret_cast<const uint2*>(a.weight + at * WARP + lane) +
                                   piece);
            dequantized = dequantize_rows<F>(&w.x, entry);
        } else {
            const uint4 w = load_streaming(a.weight + (at * 2 + piece) * WARP + lane);
            dequantized = dequantize_rows<F>(&w.x, entry);
        }
#pragma unroll
        for (u32 row = 0; row < 2; ++row)
            *reinterpret_cast<uint4*>(out + u64(row) * 8 * a.panel_blocks * K_BLOCK +
                                      32 * piece) = dequantized.row[row];
    }
}

extern "C" __global__ void __launch_bounds__(256) dequantize_int4(
    const __grid_constant__ DequantizeArgs a) {
    dequantize<Format::Int4>(a);
}
extern "C" __global__ void __launch_bounds__(256) dequantize_int8(
    const __grid_constant__ DequantizeArgs a) {
    dequantize<Format::Int8>(a);
}
