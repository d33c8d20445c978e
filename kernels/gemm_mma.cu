// gemm_mma_{f16,int8,int4}_n{64,128}: y = x W^T of prompts (prefill, GEMM) on tensor cores by
// mma.sync, with the epilogue in the same launch. For GPUs without the code of gemm_sm90.cu.
//
//   weight, table, x, epilogues  as in LinearArgs of common/linear_args.cuh: RESIDUAL adds
//   [out_proj | fc_out] to y with fc_out's bias; QKV_ROPE_GELU is the rotary embedding, KV cache
//   write and GELU of [qkv_proj | fc_in]
//   grid (n / 64 or n / 128, outputs / 128), rounded up; the outputs of both matrices of
//   QKV_ROPE_GELU are rounded up separately   block 128   shared 8 to 48 KB   sm_75+
//   A tile is 64 or 128 tokens by 128 outputs; a warp multiplies half of the tokens by 64 outputs.
//   x and f16 weights go through shared memory; packed weights are dequantized from registers, as
//   (q - zero) * scale.
//   A row of y has the same bits for every n, in every tile and in both tile sizes: the sums are in
//   the order of the inputs.
//   cost 2 n operations per weight; reads x and the weight once per tile, mostly from L2
//   pair crates/moss-cuda/src/gemm_mma.rs
#include "common/dequantize.cuh"
#include "common/gemm_epilogue.cuh"
#include "common/linear_args.cuh"
#include "common/mma.cuh"

constexpr u32 THREADS = 128, TILE_OUTPUTS = 128, WARP_OUTPUTS = 64;
// Inputs of a step: half a block, two operations of 16.
constexpr u32 STEP = 32, PIECES_PER_ROW = STEP / 8;

// Pipeline stages. sm_75 has no cp.async: there, the next step is loaded into registers.
#if __CUDA_ARCH__ >= 800
constexpr u32 STAGES = 3;
#else
constexpr u32 STAGES = 2;
#endif

// Rows of shared memory hold the inputs of a step, in pieces of 8 (16 bytes). Lane 4 g + t reads
// piece t of row g: eight neighbouring lanes read 128 consecutive bytes.
// A copy of rows to shared memory by all threads: cp.async, or through registers on sm_75.
template <u32 ROWS> struct RowCopy {
    static constexpr u32 COPIES = ROWS * PIECES_PER_ROW / THREADS;
    const half* matrix;
    u32 offset[COPIES];
#if __CUDA_ARCH__ < 800
    uint4 registers[COPIES];
#endif

    // Rows past `last` repeat it; their products are not used.
    __device__ __forceinline__ void select(const half* of, u32 stride, u32 first, u32 last) {
        // The rows of a tile are less than 2^32 values apart.
        matrix = of + u64(min(first, last)) * stride;
#pragma unroll
        for (u32 i = 0; i < COPIES; ++i) {
            const u32 at = threadIdx.x + i * THREADS;
            const u32 row = min(first + at / PIECES_PER_ROW, last) - min(first, last);
            offset[i] = row * stride + at % PIECES_PER_ROW * 8;
        }
    }
    __device__ __forceinline__ void start(uint4* to) {
#pragma unroll
        for (u32 i = 0; i < COPIES; ++i) {
#if __CUDA_ARCH__ >= 800
            const u32 address = static_cast<u32>(
                __cvta_generic_to_shared(to + threadIdx.x + i * THREADS));
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address),
                         "l"(matrix + offset[i])
                         : "memory");
#else
            registers[i] = __ldg(reinterpret_cast<const uint4*>(matrix + offset[i]));
#endif
        }
        matrix += STEP;
    }
    __device__ __forceinline__ void finish(uint4* to) const {
#if __CUDA_ARCH__ < 800
#pragma unroll
        for (u32 i = 0; i < COPIES; ++i) to[threadIdx.x + i * THREADS] = registers[i];
#endif
    }
};

// A block of the warp's tiles of 16 outputs of a packed weight, in registers.
template <Format F> struct PackedTiles {
    static constexpr u32 PIECES = F == Format::Int4 ? 1 : 2, TILES = WARP_OUTPUTS / 16;
    const uint4* weight[TILES];
    const uint2* table[TILES];
    u32 group_blocks, left_in_group;
    uint4 words[TILES][PIECES];
    uint2 entry[TILES];

    __device__ __forceinline__ void select(const Segment& s, u32 output, u32 outputs) {
        const u32 lane = threadIdx.x % WARP;
#pragma unroll
        for (u32 i = 0; i < TILES; ++i) {
            const u32 tile = min(output / 16 + i, (outputs + 15) / 16 - 1);
            weight[i] = s.weight + u64(tile) * s.blocks * PIECES * WARP + lane;
            table[i] = s.table + u64(tile) * s.groups * 8 + lane / 4;
        }
        group_blocks = left_in_group = s.group_blocks;
    }
    __device__ __forceinline__ void load() {
#pragma unroll
        for (u32 i = 0; i < TILES; ++i) {
#pragma unroll
            for (u32 piece = 0; piece < PIECES; ++piece)
                words[i][piece] = load_streaming(weight[i] + piece * WARP);
            entry[i] = __ldg(table[i]);
            weight[i] += PIECES * WARP;
        }
        if (--left_in_group == 0) {
            left_in_group = group_blocks;
#pragma unroll
            for (u32 i = 0; i < TILES; ++i) table[i] += 8;
        }
    }
    // Half of the inputs as B fragments: `b[j]` are two operations of 8 outputs each.
    __device__ __forceinline__ void dequantize(uint4 (&b)[WARP_OUTPUTS / 8], u32 half) const {
#pragma unroll
        for (u32 i = 0; i < TILES; ++i) {
            u32 w[4];
            if constexpr (F == Format::Int4) {
                w[0] = half == 0 ? words[i][0].x : words[i][0].z;
                w[1] = half == 0 ? words[i][0].y : words[i][0].w;
            } else {
                const uint4 piece = half == 0 ? words[i][0] : words[i][PIECES - 1];
                w[0] = piece.x, w[1] = piece.y, w[2] = piece.z, w[3] = piece.w;
            }
            const DequantizedRows rows = dequantize_rows<F>(w, entry[i]);
            b[2 * i] = rows.row[0], b[2 * i + 1] = rows.row[1];
        }
    }
};

template <Format F, u32 TOKENS> __device__ __forceinline__ void gemm(const LinearArgs& a) {
    constexpr u32 MT = TOKENS / 32, NT = WARP_OUTPUTS / 8;  // operations per warp
    constexpr u32 X_PIECES = TOKENS * PIECES_PER_ROW,
                  W_PIECES = F == Format::F16 ? TILE_OUTPUTS * PIECES_PER_ROW : 0;
    __shared__ __align__(128) uint4 stages[STAGES][X_PIECES + W_PIECES];
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    const u32 warp_token = warp % 2 * (TOKENS / 2), warp_output = warp / 2 * WARP_OUTPUTS;
    griddepcontrol_launch_dependents();

    // The matrices of this tile: one, or the sum of two.
    const bool is_sum = a.epilogue == RESIDUAL;
    const u32 first_rows = is_sum ? a.rows : 3 * a.heads.hidden;
    const u32 first_tiles = (first_rows + TILE_OUTPUTS - 1) / TILE_OUTPUTS;
    const u32 tile = blockIdx.y + (a.tile_offset > 0 ? first_tiles : 0);
    const bool is_second = !is_sum && tile >= first_tiles;
    const u32 token = blockIdx.x * TOKENS,
              output = (is_second ? tile - first_tiles : tile) * TILE_OUTPUTS;
    const u32 outputs = is_second ? a.heads.inner_size : first_rows;
    const u32 segments = is_sum && a.segments[1].blocks > 0 ? 2 : 1;

    float acc[MT][4 * NT] = {};
    griddepcontrol_wait();
#pragma unroll 1
    for (u32 i = 0; i < segments; ++i) {
        const Segment& s = a.segments[is_second ? 1 : i];
        const u32 steps = s.blocks * (K_BLOCK / STEP);
        RowCopy<TOKENS> x;
        RowCopy<F == Format::F16 ? TILE_OUTPUTS : THREADS / PIECES_PER_ROW> w;
        PackedTiles<F == Format::F16 ? Format::Int4 : F> packed;
        x.select(s.x, s.x_stride, token, a.n - 1);
        if constexpr (F == Format::F16) {
            w.select(reinterpret_cast<const half*>(s.weight), s.blocks * K_BLOCK, output,
                     (outputs + 15) / 16 * 16 - 1);
        } else {
            packed.select(s, output + warp_output, outputs);
            packed.load();
        }
        const auto start = [&](u32 step) {
            if (step < steps) {
                uint4* const to = stages[step % STAGES];
                x.start(to);
                if constexpr (F == Format::F16) w.start(to + X_PIECES);
            }
#if __CUDA_ARCH__ >= 800
            asm volatile("cp.async.commit_group;" ::: "memory");
#endif
        };
        const auto finish = [&](u32 step) {
            if (step >= steps) return;
            uint4* const to = stages[step % STAGES];
            x.finish(to);
            if constexpr (F == Format::F16) w.finish(to + X_PIECES);
        };
        __syncthreads();  // the previous segment's stages have been read
#pragma unroll
        for (u32 step = 0; step + 1 < STAGES; ++step) start(step), finish(step);
#pragma unroll 1
        for (u32 step = 0; step < steps; ++step) {
#if __CUDA_ARCH__ >= 800
            asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
#endif
            __syncthreads();
            start(step + STAGES - 1);
            const uint4* const from = stages[step % STAGES];
            uint4 b[NT];
            if constexpr (F == Format::F16) {
#pragma unroll
                for (u32 j = 0; j < NT; ++j)
                    b[j] = from[X_PIECES + (warp_output + 8 * j + g) * PIECES_PER_ROW + t];
            } else {
                packed.dequantize(b, step % 2);
                if (step % 2 == 1 && step + 1 < steps) packed.load();
            }
#pragma unroll
            for (u32 m = 0; m < MT; ++m) {
                const u32 row = warp_token + 16 * m + g;
                const uint4 upper = from[row * PIECES_PER_ROW + t];
                const uint4 lower = from[(row + 8) * PIECES_PER_ROW + t];
#pragma unroll
                for (u32 j = 0; j < NT; ++j)
                    mma_f16(acc[m] + 4 * j, upper.x, lower.x, upper.y, lower.y, b[j].x, b[j].y);
#pragma unroll
                for (u32 j = 0; j < NT; ++j)
                    mma_f16(acc[m] + 4 * j, upper.z, lower.z, upper.w, lower.w, b[j].z, b[j].w);
            }
            if (STAGES == 2) finish(step + 1);
        }
    }
#pragma unroll
    for (u32 m = 0; m < MT; ++m) {
        const u32 row = token + warp_token + 16 * m, column = output + warp_output;
        if (is_sum) {
            add_residual<NT>(a, row, column, acc[m], true);
        } else if (is_second) {
            store_gelu<NT>(a.heads, a.n, row, column, acc[m]);
        } else {
            store_heads<NT>(a.heads, a.n, row, column, acc[m]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_f16_n64(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::F16, 64>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_f16_n128(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::F16, 128>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_int8_n64(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::Int8, 64>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_int8_n128(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::Int8, 128>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_int4_n64(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::Int4, 64>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_mma_int4_n128(
    const __grid_constant__ LinearArgs a) {
    gemm<Format::Int4, 128>(a);
}
