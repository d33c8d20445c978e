// matmul_{int4,int8}_{store,add}: y = x W^T for prefill (GEMM) with packed weights. Producer warps
// dequantize weight tiles into shared memory; consumer warps multiply them with wgmma.
//
//   weight, table  as in Segment of common/linear.cuh
//   x              f16 [n, x_stride], zero in padding columns
//   y   store      f16 [n, y_stride], rounded once from the f32 sum
//       add        f32 [n, y_stride], accumulated in `splits` steps (split-K)
//   turns          u32, one semaphore per tile of y, zero before and after: the split that adds
//                  next, so that the order of sums is fixed
//   grid (n / 128) * (outputs / 192) * splits, rounded up, tokens fastest, so that neighbouring
//   blocks read the same weights from L2   block 640   shared 226 KB   sm_90a
//   8 producer warps fill the pipeline stages: x with cp.async, weights as (q - zero) * scale
//   12 consumer warps multiply, 64 outputs per warpgroup
//   A token's result depends neither on n nor on the other tokens. Other GPUs multiply
//   dequantized panels (dequantize.cu).
//   cost 2 n operations per weight; reads 0.5 or 1 byte per weight and 128 tokens, mostly from L2
//   pair crates/moss-cuda/src/matmul_packed.rs
#include "common/dequantize.cuh"
#include "common/layouts.cuh"
#include "common/wgmma.cuh"

// Mirrored by `MatmulArgs` in crates/moss-cuda/src/args.
struct MatmulArgs {
    const uint4* weight;
    const uint2* table;
    const half* x;
    void* y;
    u32* turns;                              // semaphores
    u32 tiles, blocks, groups, group_magic;  // of the weight
    u32 outputs, n, x_stride, y_stride, splits;
};
CHECK_LAYOUT_MatmulArgs;

constexpr u32 TILE_OUTPUTS = 192;  // outputs per block
// Producer group i fills the pipeline stages of the blocks i, i + 2, i + 4, ...
constexpr u32 PRODUCER_GROUPS = 2, GROUP_WARPS = 4;
constexpr u32 PRODUCER_WARPS = PRODUCER_GROUPS * GROUP_WARPS, CONSUMER_WARPS = TILE_OUTPUTS / 16;
constexpr u32 THREADS = (PRODUCER_WARPS + CONSUMER_WARPS) * WARP;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Tokens per block. 6144 outputs and 512 tokens give 128 blocks, for 132 multiprocessors.
constexpr u32 TILE_TOKENS = 128;
// Weight tiles of 16 outputs per producer warp.
constexpr u32 WARP_TILES = TILE_OUTPUTS / 16 / GROUP_WARPS;
// Pipeline stages of the weight and of x. Both counts are multiples of the producer groups, so that
// each stage belongs to one group. x has more, because its copies have a longer latency.
constexpr u32 WEIGHT_STAGES = 4, WEIGHT_BYTES = TILE_OUTPUTS * SWIZZLED_ROW;
constexpr u32 X_STAGES = 8, X_BYTES = TILE_TOKENS * SWIZZLED_ROW,
              X_OFFSET = WEIGHT_STAGES * WEIGHT_BYTES;
static_assert(WEIGHT_STAGES % PRODUCER_GROUPS == 0 && X_STAGES % PRODUCER_GROUPS == 0);
constexpr u32 X_IN_FLIGHT = 3;  // blocks of a group whose x is in flight during dequantization
// Distance of the L2 prefetch of weights, in blocks after the next one.
constexpr u32 PREFETCH_DISTANCE = 4;

// The tile of y and the split of the inputs that one thread block computes.
struct WorkTile {
    u32 first_token, first_tile, first_block, end_block, tile, split;
};

__device__ __forceinline__ WorkTile find_work_tile(const MatmulArgs& a) {
    const u32 token_tiles = (a.n + TILE_TOKENS - 1) / TILE_TOKENS;
    const u32 output_tiles = (a.tiles * 16 + TILE_OUTPUTS - 1) / TILE_OUTPUTS;
    const u32 tile = blockIdx.x % (token_tiles * output_tiles);
    const u32 split = blockIdx.x / (token_tiles * output_tiles);
    return {tile % token_tiles * TILE_TOKENS,
            tile / token_tiles * (TILE_OUTPUTS / 16),
            split * a.blocks / a.splits,
            (split + 1) * a.blocks / a.splits,
            tile,
            split};
}

// Position in the ring of pipeline stages: the stage of the weight and of x, and the phase parity
// of the mbarriers. Each stage of x has a `full` and an `empty` mbarrier.
struct PipelineState {
    u32 weight = 0, x = 0, phase = 0;
    __device__ __forceinline__ void advance() {
        if (++weight == WEIGHT_STAGES) weight = 0;
        if (++x == X_STAGES) x = 0, phase ^= 1;
    }
    __device__ __forceinline__ void advance_group() {
#pragma unroll
        for (u32 i = 0; i < PRODUCER_GROUPS; ++i) advance();
    }
};

template <Format F> struct Packed {
    u32 words[WARP_TILES][F == Format::Int4 ? 4 : 8];
    uint2 entries[WARP_TILES];
};

// Lanes of odd rows dequantize the upper half of a block's inputs first, so that the stores of
// eight neighbouring lanes cover all banks.
__device__ __forceinline__ u32 is_odd_row() { return threadIdx.x / 4 % 2; }
__device__ __forceinline__ u32 first_tile_of_warp(const WorkTile& work) {
    return work.first_tile + threadIdx.x / WARP % GROUP_WARPS * WARP_TILES;
}

template <Format F> __device__ __forceinline__ void load(Packed<F>& to, const MatmulArgs& a,
                                                         const WorkTile& work, u32 block) {
    const u32 lane = threadIdx.x % WARP;
    const u32 group = a.group_magic ? __umulhi(block, a.group_magic) : block;
    constexpr u32 PIECES = F == Format::Int4 ? 1 : 2;  // 16 bytes per lane each
#pragma unroll
    for (u32 i = 0; i < WARP_TILES; ++i) {
        const u32 tile = min(first_tile_of_warp(work) + i, a.tiles - 1);
        to.entries[i] = __ldg(a.table + (u64(tile) * a.groups + group) * 8 + lane / 4);
#pragma unroll
        for (u32 piece = 0; piece < PIECES; ++piece) {
            const u32 which = PIECES == 1 ? 0 : piece ^ is_odd_row();
            const uint4 w = __ldg(a.weight +
                                  ((u64(tile) * a.blocks + block) * PIECES + which) * WARP + lane);
            u32* const words = to.words[i] + 4 * piece;
            words[0] = w.x, words[1] = w.y, words[2] = w.z, words[3] = w.w;
        }
    }
}

template <Format F> __device__ __forceinline__ void prefetch_weight(const MatmulArgs& a,
                                                                    const WorkTile& work,
                                                                    u32 block) {
    constexpr u32 BYTES = F == Format::Int4 ? 512 : 1024;  // per tile and block
    constexpr u32 LINES = BYTES / 128;
    const u32 lane = threadIdx.x % WARP;
    if (lane >= WARP_TILES * LINES || block >= work.end_block) return;
    const u32 tile = min(first_tile_of_warp(work) + lane / LINES, a.tiles - 1);
    prefetch_l2(reinterpret_cast<const char*>(a.weight) + (u64(tile) * a.blocks + block) * BYTES +
                lane % LINES * 128);
}

__device__ __forceinline__ void store_shared(u32 address, uint4 v) {
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
}

// Dequantizes one block of the warp's weight tiles into a pipeline stage.
template <Format F> __device__ __forceinline__ void store_dequantized(u32 stage,
                                                                      const Packed<F>& packed) {
    const u32 tile = threadIdx.x / WARP % GROUP_WARPS * WARP_TILES;
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (u32 i = 0; i < WARP_TILES; ++i) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32* const words = packed.words[i];
            u32 w[4];
            if constexpr (F == Format::Int4) {
                w[0] = is_odd_row() ? words[2 - 2 * half] : words[2 * half];
                w[1] = is_odd_row() ? words[3 - 2 * half] : words[2 * half + 1];
            } else {
                w[0] = words[4 * half], w[1] = words[4 * half + 1];
                w[2] = words[4 * half + 2], w[3] = words[4 * half + 3];
            }
            const DequantizedRows rows = dequantize_rows<F>(w, packed.entries[i]);
            const u32 at = stage +
                           swizzled_offset((tile + i) * 16 + g, 4 * (half ^ is_odd_row()) + t);
#pragma unroll
            for (u32 row = 0; row < 2; ++row)
                store_shared(at + row * 8 * SWIZZLED_ROW, rows.row[row]);
        }
    }
}

// Producer: fills the pipeline stages of one group. While it dequantizes the weight of one block,
// the copies of x for the next two are in flight.
template <Format F> __device__ __forceinline__ void produce(const MatmulArgs& a,
                                                            const WorkTile& work, u32 stages,
                                                            u32 full, u32 empty) {
    constexpr u32 ROWS_PER_COPY = GROUP_WARPS * WARP / 8, COPIES = TILE_TOKENS / ROWS_PER_COPY;
    const u32 group = threadIdx.x / WARP / GROUP_WARPS, piece = threadIdx.x % 8;
    const u32 first_token = threadIdx.x % (GROUP_WARPS * WARP) / 8;
    const half* const x = a.x + 8 * piece;
    u32 rows[COPIES];
#pragma unroll
    for (u32 i = 0; i < COPIES; ++i)
        rows[i] = min(work.first_token + first_token + i * ROWS_PER_COPY, a.n - 1) * a.x_stride;

    u32 block = work.first_block + group;
    PipelineState state, x_state;  // of the next block to dequantize, and of the next x to copy
    for (u32 i = 0; i < group; ++i) state.advance(), x_state.advance();
    const auto copy_x = [&](u32 of_block) {
        // Also after the last block: the wait protects the weight's stages, too.
        mbarrier_wait(empty + 8 * x_state.x, x_state.phase ^ 1);
        if (of_block < work.end_block) {
            const u32 to = stages + X_OFFSET + x_state.x * X_BYTES +
                           swizzled_offset(first_token, piece);
#pragma unroll
            for (u32 i = 0; i < COPIES; ++i)
                cp_async(to + i * ROWS_PER_COPY * SWIZZLED_ROW, x + rows[i] + of_block * K_BLOCK);
        }
        x_state.advance_group();
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    if (block >= work.end_block) return;
    Packed<F> packed;
    load<F>(packed, a, work, block);
    griddepcontrol_wait();
#pragma unroll
    for (u32 i = 0; i < X_IN_FLIGHT; ++i) copy_x(block + i * PRODUCER_GROUPS);
    for (; block < work.end_block; block += PRODUCER_GROUPS, state.advance_group()) {
        store_dequantized<F>(stages + state.weight * WEIGHT_BYTES, packed);
        if (block + PRODUCER_GROUPS < work.end_block)
            load<F>(packed, a, work, block + PRODUCER_GROUPS);
        prefetch_weight<F>(a, work, block + PRODUCER_GROUPS + PREFETCH_DISTANCE);
        asm volatile("cp.async.wait_group %0;" ::"n"(X_IN_FLIGHT - 1) : "memory");
        fence_proxy_async();
        __syncwarp();
        if (threadIdx.x % WARP == 0) mbarrier_arrive(full + 8 * state.x);
        // Its wait also covers the block that frees the weight's next stage.
        copy_x(block + X_IN_FLIGHT * PRODUCER_GROUPS);
    }
}

// Consumer: accumulates 64 outputs of all tokens per warpgroup.
__device__ __forceinline__ void consume(float (&c)[64], const WorkTile& work, u32 stages, u32 full,
                                        u32 empty) {
    const u32 group = threadIdx.x / 128 - PRODUCER_WARPS / 4;
    PipelineState state;
    u32 previous = 0;
    for (u32 block = work.first_block; block < work.end_block; ++block) {
        const u64 w = matrix_descriptor(stages + state.weight * WEIGHT_BYTES +
                                        group * 64 * SWIZZLED_ROW);
        const u64 x = matrix_descriptor(stages + X_OFFSET + state.x * X_BYTES);
        mbarrier_wait(full + 8 * state.x, state.phase);
        wgmma_fence();
#pragma unroll
        for (u32 k = 0; k < 4; ++k)
            wgmma_64x128(c, w + 2 * k, x + 2 * k, block > work.first_block || k > 0);
        wgmma_commit();
        wgmma_wait<1>();
        if (block > work.first_block && threadIdx.x % WARP == 0)
            mbarrier_arrive(empty + 8 * previous);
        previous = state.x;
        state.advance();
    }
    wgmma_wait<0>();
}

// Named barrier of the consumer warps.
__device__ __forceinline__ void consumer_barrier() {
    asm volatile("bar.sync 1, %0;" ::"n"(CONSUMER_WARPS * WARP) : "memory");
}

// Epilogue: rounds to f16 and transposes through shared memory, so that neighbouring outputs of a
// token are written together.
__device__ __forceinline__ void store(const MatmulArgs& a, const WorkTile& work,
                                      const float (&c)[64], u32 shared) {
    constexpr u32 PITCH = TILE_OUTPUTS * 2 + 16;  // bytes
    constexpr u32 PIECES = TILE_OUTPUTS / 8;      // 16-byte pieces per token
    const u32 thread = threadIdx.x - PRODUCER_WARPS * WARP, warp = thread / WARP,
              lane = thread % WARP;
#pragma unroll
    for (u32 j = 0; j < TILE_TOKENS / 8; j += 2) {
        const u32 row = 8 * (j + lane / 16) + lane % 8, output = warp * 16 + lane / 8 % 2 * 8;
        u32 pair[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i)
            pair[i] = as_u32(__floats2half2_rn(c[4 * j + 2 * i], c[4 * j + 2 * i + 1]));
        const u32 at = shared + row * PITCH + output * 2;
        asm volatile(
            "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at),
            "r"(pair[0]), "r"(pair[1]), "r"(pair[2]), "r"(pair[3])
            : "memory");
    }
    consumer_barrier();
    const u32 rows = min(TILE_TOKENS, a.n - work.first_token);
    for (u32 i = thread; i < rows * PIECES; i += CONSUMER_WARPS * WARP) {
        const u32 row = i / PIECES, output = work.first_tile * 16 + i % PIECES * 8;
        uint4 v;
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "r"(shared + row * PITCH + i % PIECES * 16));
        half* const y = static_cast<half*>(a.y) + u64(work.first_token + row) * a.y_stride;
        if (output < a.outputs) *reinterpret_cast<uint4*>(y + output) = v;
    }
}

// Epilogue: adds to y in f32, also through shared memory, after the earlier splits have added
// theirs.
__device__ __forceinline__ void add(const MatmulArgs& a, const WorkTile& work, const float (&c)[64],
                                    u32 shared) {
    constexpr u32 PITCH = TILE_OUTPUTS + 4;  // floats
    const u32 thread = threadIdx.x - PRODUCER_WARPS * WARP, warp = thread / WARP;
    const u32 lane = thread % WARP, g = lane / 4, t = lane % 4;
#pragma unroll
    for (u32 i = 0; i < 64; ++i) {
        const u32 row = i / 4 * 8 + 2 * t + i % 2, output = warp * 16 + g + i / 2 % 2 * 8;
        asm volatile("st.shared.f32 [%0], %1;" ::"r"(shared + (row * PITCH + output) * 4), "f"(c[i])
                     : "memory");
    }
    u32* const semaphore = a.turns + work.tile;
    if (thread == 0 && a.splits > 1) {
        u32 now;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                         : "=r"(now)
                         : "l"(semaphore)
                         : "memory");
        } while (now != work.split);
    }
    consumer_barrier();
    for (u32 row = warp; row < min(TILE_TOKENS, a.n - work.first_token); row += CONSUMER_WARPS) {
        float* const y = static_cast<float*>(a.y) + u64(work.first_token + row) * a.y_stride;
#pragma unroll
        for (u32 column = lane; column < TILE_OUTPUTS; column += WARP) {
            const u32 output = work.first_tile * 16 + column;
            float v;
            asm volatile("ld.shared.f32 %0, [%1];"
                         : "=f"(v)
                         : "r"(shared + (row * PITCH + column) * 4));
            if (output < a.outputs) {
                asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(y + output), "f"(v)
                             : "memory");
            }
        }
    }
    if (a.splits == 1) return;
    __threadfence();
    consumer_barrier();
    if (thread == 0) {
        const u32 next = work.split + 1 == a.splits ? 0 : work.split + 1;
        asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(semaphore), "r"(next) : "memory");
    }
}

template <Format F, bool ADD> __device__ __forceinline__ void matmul(const MatmulArgs& a) {
    extern __shared__ char memory[];
    __shared__ u64 barriers[2 * X_STAGES];
    const u32 stages = (shared_address(memory) + 1023) & ~1023u;  // aligned for the swizzle
    const u32 full = shared_address(barriers), empty = full + 8 * X_STAGES;
    if (threadIdx.x == 0) {
        for (u32 i = 0; i < X_STAGES; ++i) {
            mbarrier_init(full + 8 * i, GROUP_WARPS);
            mbarrier_init(empty + 8 * i, CONSUMER_WARPS);
        }
    }
    __syncthreads();
    griddepcontrol_launch_dependents();
    const WorkTile work = find_work_tile(a);
    if (threadIdx.x < PRODUCER_WARPS * WARP) return produce<F>(a, work, stages, full, empty);
    griddepcontrol_wait();
    float c[64];
    consume(c, work, stages, full, empty);
    consumer_barrier();  // all stages have been read: the epilogue reuses their memory
    if constexpr (ADD) {
        add(a, work, c, stages);
    } else {
        store(a, work, c, stages);
    }
}

#else

template <Format F, bool ADD> __device__ __forceinline__ void matmul(const MatmulArgs&) {}

#endif

extern "C" __global__ void
    __launch_bounds__(THREADS, 1) matmul_int4_store(const __grid_constant__ MatmulArgs a) {
    matmul<Format::Int4, false>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_int4_add(
    const __grid_constant__ MatmulArgs a) {
    matmul<Format::Int4, true>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_int8_store(
    const __grid_constant__ MatmulArgs a) {
    matmul<Format::Int8, false>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_int8_add(
    const __grid_constant__ MatmulArgs a) {
    matmul<Format::Int8, true>(a);
}
