// matmul_{int4,int8}_{store,add}: y = x W^T for many rows, W packed: made dense tile by tile on the
// way to the tensor cores.
//   weight and table as in LinearArgs' Segment   x f16 [n, x_stride], zeros in places that are filled up
//   store  y f16 [n, y_stride]: rounded once, from an f32 sum   add  y f32 [n, y_stride]: added to, `splits` times in turn
//   turns  u32, one a tile of y, zero before and after: whose turn it is to add, so that the order of sums is always the same
//   grid (rows / 128) x (outputs / 192) x splits, rows fastest, so that neighbours share what they read of the weight   block 640   shared 226 KB
//   a row's sums depend on neither n nor the rows beside it
//   eight warps fill the stages: x as it is, the weight through (q - zero) * scale; twelve multiply, 64 outputs a warpgroup
//   sm_90a alone: other cards multiply dense panels (dequantize.cu)
//   cost 2 n flops a weight; reads 0.5 or 1 byte a weight and 128 rows, from L2 mostly
//   pair crates/moss-kernels/src/cuda/matmul_packed.rs
#include "common/dequantize.cuh"
#include "common/wgmma.cuh"

// Mirrored by `MatmulArgs` in crates/moss-kernels/src/cuda/args.rs.
struct MatmulArgs {
    const uint4* weight;
    const uint2* table;
    const half* x;
    void* y;
    u32* turns;
    u32 tiles, blocks, groups, group_magic;  // of the weight
    u32 outputs, n, x_stride, y_stride, splits;
};

constexpr u32 OUTPUTS = 192;  // of a block
constexpr u32 TEAMS = 2, TEAM = 4, FILLERS = TEAMS * TEAM,
              MULTIPLIERS = OUTPUTS / 16;  // warps; a team fills every other stage
constexpr u32 THREADS = (FILLERS + MULTIPLIERS) * WARP;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr u32 MANY =
    128;  // rows of a block: 6144 outputs and 512 rows are 128 blocks, for 132 multiprocessors
constexpr u32 TILES = OUTPUTS / 16 /
                      TEAM;  // tiles of the weight that a warp makes dense, 16 outputs each
// Stages of the weight and of x. A multiple of TEAMS each, so that a stage is one team's for good;
// more of x, which comes from afar.
constexpr u32 WEIGHT_STAGES = 4, WEIGHT_BYTES = OUTPUTS * SWIZZLED_ROW, X_STAGES = 8,
              X_BYTES = MANY * SWIZZLED_ROW, X_AT = WEIGHT_STAGES * WEIGHT_BYTES;
static_assert(WEIGHT_STAGES % TEAMS == 0 && X_STAGES % TEAMS == 0);
constexpr u32 X_AHEAD = 3;  // blocks of a team whose x is on its way while it makes a weight dense
constexpr u32 AHEAD = 4;    // blocks beyond the next that the weight is asked for

// What one block of the grid has to do.
struct Part {
    u32 first_row, first_tile, first_block, end_block, tile, split;
};

__device__ __forceinline__ Part part_of(const MatmulArgs& a) {
    const u32 row_tiles = (a.n + MANY - 1) / MANY,
              output_tiles = (a.tiles * 16 + OUTPUTS - 1) / OUTPUTS;
    const u32 tile = blockIdx.x % (row_tiles * output_tiles),
              split = blockIdx.x / (row_tiles * output_tiles);
    return {tile % row_tiles * MANY,
            tile / row_tiles * (OUTPUTS / 16),
            split * a.blocks / a.splits,
            (split + 1) * a.blocks / a.splits,
            tile,
            split};
}

// The stages in turn, and which half of their barriers' time it is; barriers are those of x.
struct Turn {
    u32 weight = 0, x = 0, parity = 0;
    __device__ __forceinline__ void next() {
        if (++weight == WEIGHT_STAGES) weight = 0;
        if (++x == X_STAGES) x = 0, parity ^= 1;
    }
    __device__ __forceinline__ void next_of_team() {
#pragma unroll
        for (u32 i = 0; i < TEAMS; ++i) next();
    }
};

template <Format F> struct Packed {
    u32 words[TILES][F == Format::Int4 ? 4 : 8];
    uint2 entries[TILES];
};

// Odd rows take the upper half of a block's inputs first: eight neighbouring lanes then store to
// all banks.
__device__ __forceinline__ u32 is_odd() { return threadIdx.x / 4 % 2; }
__device__ __forceinline__ u32 first_tile_of_warp(const Part& part) {
    return part.first_tile + threadIdx.x / WARP % TEAM * TILES;
}

template <Format F> __device__ __forceinline__ void load(Packed<F>& to, const MatmulArgs& a,
                                                         const Part& part, u32 block) {
    const u32 lane = threadIdx.x % WARP,
              group = a.group_magic ? __umulhi(block, a.group_magic) : block;
    constexpr u32 PIECES = F == Format::Int4 ? 1 : 2;  // 16 bytes a lane each
#pragma unroll
    for (u32 i = 0; i < TILES; ++i) {
        const u32 tile = min(first_tile_of_warp(part) + i, a.tiles - 1);
        to.entries[i] = __ldg(a.table + (u64(tile) * a.groups + group) * 8 + lane / 4);
#pragma unroll
        for (u32 piece = 0; piece < PIECES; ++piece) {
            const u32 which = PIECES == 1 ? 0 : piece ^ is_odd();
            const uint4 w = __ldg(a.weight +
                                  ((u64(tile) * a.blocks + block) * PIECES + which) * WARP + lane);
            to.words[i][4 * piece] = w.x, to.words[i][4 * piece + 1] = w.y,
                            to.words[i][4 * piece + 2] = w.z, to.words[i][4 * piece + 3] = w.w;
        }
    }
}

template <Format F> __device__ __forceinline__ void ask_for(const MatmulArgs& a, const Part& part,
                                                            u32 block) {
    constexpr u32 BYTES = F == Format::Int4 ? 512 : 1024,
                  LINES = BYTES / 128;  // of a tile and block
    const u32 lane = threadIdx.x % WARP;
    if (lane >= TILES * LINES || block >= part.end_block) return;
    const u32 tile = min(first_tile_of_warp(part) + lane / LINES, a.tiles - 1);
    prefetch(reinterpret_cast<const char*>(a.weight) + (u64(tile) * a.blocks + block) * BYTES +
             lane % LINES * 128);
}

template <Format F> __device__ __forceinline__ void store_dense(u32 stage,
                                                                const Packed<F>& packed) {
    const u32 tile = threadIdx.x / WARP % TEAM * TILES, lane = threadIdx.x % WARP, g = lane / 4,
              t = lane % 4;
#pragma unroll
    for (u32 i = 0; i < TILES; ++i) {
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32* const words = packed.words[i];
            u32 w[4];
            if constexpr (F == Format::Int4)
                w[0] = is_odd() ? words[2 - 2 * half] : words[2 * half],
                w[1] = is_odd() ? words[3 - 2 * half] : words[2 * half + 1];
            else
                w[0] = words[4 * half], w[1] = words[4 * half + 1], w[2] = words[4 * half + 2],
                w[3] = words[4 * half + 3];
            const DenseRows dense = dense_rows<F>(w, packed.entries[i]);
            const u32 at = stage + swizzled((tile + i) * 16 + g, 4 * (half ^ is_odd()) + t);
#pragma unroll
            for (u32 row = 0; row < 2; ++row)
                asm volatile(
                    "st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at + row * 8 * SWIZZLED_ROW),
                    "r"(dense.row[row].x), "r"(dense.row[row].y), "r"(dense.row[row].z),
                    "r"(dense.row[row].w)
                    : "memory");
        }
    }
}

// One team's stages. While it makes the weight of one dense, x of its next two is on its way.
template <Format F> __device__ __forceinline__ void fill(const MatmulArgs& a, const Part& part,
                                                         u32 stages, u32 full, u32 empty) {
    constexpr u32 ROWS_AT_ONCE = TEAM * WARP / 8, COPIES = MANY / ROWS_AT_ONCE;
    const u32 team = threadIdx.x / WARP / TEAM, piece = threadIdx.x % 8,
              first_row = threadIdx.x % (TEAM * WARP) / 8;
    const half* const x = a.x + 8 * piece;
    u32 rows[COPIES];
#pragma unroll
    for (u32 i = 0; i < COPIES; ++i)
        rows[i] = min(part.first_row + first_row + i * ROWS_AT_ONCE, a.n - 1) * a.x_stride;

    u32 block = part.first_block + team;
    Turn turn, x_turn;  // of the weight's next block, and of x's
    for (u32 i = 0; i < team; ++i) turn.next(), x_turn.next();
    const auto copy_x = [&](u32 of_block) {
        barrier_wait(empty + 8 * x_turn.x,
                     x_turn.parity ^ 1);  // past the end too: the weight's stages rely on it
        if (of_block < part.end_block) {
            const u32 to = stages + X_AT + x_turn.x * X_BYTES + swizzled(first_row, piece);
#pragma unroll
            for (u32 i = 0; i < COPIES; ++i)
                copy_async(to + i * ROWS_AT_ONCE * SWIZZLED_ROW, x + rows[i] + of_block * K_BLOCK);
        }
        x_turn.next_of_team();
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    if (block >= part.end_block) return;
    Packed<F> packed;
    load<F>(packed, a, part, block);
    wait_for_previous();
#pragma unroll
    for (u32 i = 0; i < X_AHEAD; ++i) copy_x(block + i * TEAMS);
    for (; block < part.end_block; block += TEAMS, turn.next_of_team()) {
        store_dense<F>(stages + turn.weight * WEIGHT_BYTES, packed);
        if (block + TEAMS < part.end_block) load<F>(packed, a, part, block + TEAMS);
        ask_for<F>(a, part, block + TEAMS + AHEAD);
        asm volatile("cp.async.wait_group %0;" ::"n"(X_AHEAD - 1) : "memory");
        fence_for_wgmma();
        __syncwarp();
        if (threadIdx.x % WARP == 0) barrier_arrive(full + 8 * turn.x);
        copy_x(block +
               X_AHEAD * TEAMS);  // waits for the block that frees the weight's next stage, too
    }
}

__device__ __forceinline__ void multiply(float (&c)[64], const Part& part, u32 stages, u32 full,
                                         u32 empty) {
    const u32 group = threadIdx.x / 128 - FILLERS / 4;
    Turn turn;
    u32 read = 0;
    for (u32 block = part.first_block; block < part.end_block; ++block) {
        const u64 w = matrix_at(stages + turn.weight * WEIGHT_BYTES + group * 64 * SWIZZLED_ROW),
                  x = matrix_at(stages + X_AT + turn.x * X_BYTES);
        barrier_wait(full + 8 * turn.x, turn.parity);
        wgmma_begin();
#pragma unroll
        for (u32 k = 0; k < 4; ++k)
            wgmma_64x128(c, w + 2 * k, x + 2 * k, block > part.first_block || k > 0);
        wgmma_commit();
        wgmma_wait<1>();
        if (block > part.first_block && threadIdx.x % WARP == 0) barrier_arrive(empty + 8 * read);
        read = turn.x;
        turn.next();
    }
    wgmma_wait<0>();
}

__device__ __forceinline__ void multipliers_meet() {
    asm volatile("bar.sync 1, %0;" ::"n"(MULTIPLIERS * WARP) : "memory");
}

// f16 through shared memory, turned, so that neighbouring outputs of a row are written together.
__device__ __forceinline__ void store(const MatmulArgs& a, const Part& part, const float (&c)[64],
                                      u32 shared) {
    constexpr u32 PITCH = OUTPUTS * 2 + 16, PIECES = OUTPUTS / 8;  // bytes; of a row
    const u32 thread = threadIdx.x - FILLERS * WARP, warp = thread / WARP, lane = thread % WARP;
#pragma unroll
    for (u32 j = 0; j < MANY / 8; j += 2) {
        const u32 row = 8 * (j + lane / 16) + lane % 8, output = warp * 16 + lane / 8 % 2 * 8;
        u32 pair[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i)
            pair[i] = as_u32(__floats2half2_rn(c[4 * j + 2 * i], c[4 * j + 2 * i + 1]));
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                         shared + row * PITCH + output * 2),
                     "r"(pair[0]), "r"(pair[1]), "r"(pair[2]), "r"(pair[3])
                     : "memory");
    }
    multipliers_meet();
    const u32 rows = min(MANY, a.n - part.first_row);
    for (u32 i = thread; i < rows * PIECES; i += MULTIPLIERS * WARP) {
        const u32 row = i / PIECES, output = part.first_tile * 16 + i % PIECES * 8;
        uint4 v;
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "r"(shared + row * PITCH + i % PIECES * 16));
        if (output < a.outputs)
            *reinterpret_cast<uint4*>(static_cast<half*>(a.y) +
                                      u64(part.first_row + row) * a.y_stride + output) = v;
    }
}

// f32, likewise, when those who have the inputs before these are done.
__device__ __forceinline__ void add(const MatmulArgs& a, const Part& part, const float (&c)[64],
                                    u32 shared) {
    constexpr u32 PITCH = OUTPUTS + 4;  // floats
    const u32 thread = threadIdx.x - FILLERS * WARP, warp = thread / WARP, lane = thread % WARP,
              g = lane / 4, t = lane % 4;
#pragma unroll
    for (u32 i = 0; i < 64; ++i) {
        const u32 row = i / 4 * 8 + 2 * t + i % 2, output = warp * 16 + g + i / 2 % 2 * 8;
        asm volatile("st.shared.f32 [%0], %1;" ::"r"(shared + (row * PITCH + output) * 4), "f"(c[i])
                     : "memory");
    }
    u32* const turn = a.turns + part.tile;
    if (thread == 0 && a.splits > 1) {
        u32 now;
        do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
        while (now != part.split);
    }
    multipliers_meet();
    for (u32 row = warp; row < min(MANY, a.n - part.first_row); row += MULTIPLIERS) {
        float* const y = static_cast<float*>(a.y) + u64(part.first_row + row) * a.y_stride;
#pragma unroll
        for (u32 column = lane; column < OUTPUTS; column += WARP) {
            const u32 output = part.first_tile * 16 + column;
            float v;
            asm volatile("ld.shared.f32 %0, [%1];"
                         : "=f"(v)
                         : "r"(shared + (row * PITCH + column) * 4));
            if (output < a.outputs)
                asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(y + output), "f"(v)
                             : "memory");
        }
    }
    if (a.splits == 1) return;
    __threadfence();
    multipliers_meet();
    if (thread == 0)
        asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(turn),
                     "r"(part.split + 1 == a.splits ? 0 : part.split + 1)
                     : "memory");
}

template <Format F, bool ADD> __device__ __forceinline__ void matmul(const MatmulArgs& a) {
    extern __shared__ char memory[];
    __shared__ u64 barriers[2 * X_STAGES];
    const u32 stages = (shared_address(memory) + 1023) & ~1023u, full = shared_address(barriers),
              empty = full + 8 * X_STAGES;
    if (threadIdx.x == 0) {
        for (u32 i = 0; i < X_STAGES; ++i)
            barrier_init(full + 8 * i, TEAM), barrier_init(empty + 8 * i, MULTIPLIERS);
    }
    __syncthreads();
    let_next_start();
    const Part part = part_of(a);
    if (threadIdx.x < FILLERS * WARP) return fill<F>(a, part, stages, full, empty);
    wait_for_previous();
    float c[64];
    multiply(c, part, stages, full, empty);
    multipliers_meet();  // all stages have been read
    if constexpr (ADD)
        add(a, part, c, stages);
    else
        store(a, part, c, stages);
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
