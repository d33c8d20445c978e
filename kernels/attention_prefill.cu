// attention_prefill_{,int8_}{16,32,64,128,256}: softmax(q k^T * scale) v, causal, for many queries
// per sequence over the paged KV cache (FlashAttention-2, arXiv 2307.08691). Softmax and sums are
// computed in f32; the weights are rounded to f16.
//
//   q             f16 [tokens, heads, stride], zero past head_dim
//   keys, values  f16 [blocks, heads, 16, stride], or 8-bit integers (common/kv_cache.cuh), which
//                 are dequantized to f16 in shared memory
//   tables        u32 [sequences, max_blocks], the block tables
//   tiles         [num_tiles] of (sequence, first token in q, number of tokens 1..=64, position of
//                 the first token); the tokens of a tile have consecutive positions
//   out           f16 [tokens, out_stride], column c = head * head_dim + d, or scatter[c]
//   stride        a multiple of 8, at most the number in the kernel's name
//   head_dim, out_stride  even
//   The token at position p attends to positions 0..=p, which must be in the cache. Nothing past
//   the last position of its tile is read. A result has the same bits in any tile, but a
//   non-finite key or value also affects the earlier tokens of its tile.
//   grid (num_tiles, heads)   block 128, 16 tokens per warp   sm_75+
//   shared 192 B (sm_80+) or 128 B (sm_75) per element of a head: at 256, 48 or 32 KB
//   cost 4 * head_dim operations per token, head and visible position: measure it in TFLOP/s
//   pair crates/moss-cuda/src/attention_prefill.rs
#include "common/kv_cache.cuh"
#include "common/mma.cuh"
#include "common/prefill_attention_args.cuh"

constexpr u32 THREADS = 128, WARP_ROWS = 16;

// Positions of a key tile. Key tiles are aligned to position 0, so that the order of sums does not
// depend on the query tile.
constexpr u32 KEYS = 2 * BLOCK_POSITIONS;

// Pipeline stages: a ring buffer of alternating key and value tiles. The third stage lets cp.async
// overlap with arithmetic. sm_75 has no cp.async: there, two blocks per multiprocessor hide the
// latency, and both fit with two stages.
#if __CUDA_ARCH__ >= 800
constexpr u32 STAGES = 3;
#else
constexpr u32 STAGES = 2;
#endif

__device__ __forceinline__ u32 shared_address(const void* p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

// A copy of 16 bytes to shared memory: cp.async, or through registers on sm_75, where several loads
// are issued before the first store.
struct AsyncCopy {
    uint4* to;
    uint4 registers;

    // Writes zeros if not `in_range`; `from` is not read then.
    __device__ __forceinline__ void start(uint4* destination, const half* from, bool in_range) {
        to = destination;
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                     "l"(from), "r"(in_range ? 16 : 0)
                     : "memory");
#else
        registers = in_range ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
    }
    __device__ __forceinline__ void finish() {
#if __CUDA_ARCH__ < 800
        *to = registers;
#endif
    }
};

// The same of 8 integers of an 8-bit cache, through registers on every GPU.
struct DequantizingCopy {
    uint4* to;
    uint2 integers;
    u16 scale;

    __device__ __forceinline__ void start(uint4* destination, const u8* from, const half* scales,
                                          bool in_range) {
        to = destination;
        integers = in_range ? *reinterpret_cast<const uint2*>(from) : make_uint2(0, 0);
        scale = in_range ? *reinterpret_cast<const u16*>(scales) : 0;
    }
    __device__ __forceinline__ void finish() const {
        const half2 factor = __half2half2(__ushort_as_half(scale));
        const uint2 low = dequantize_int8(integers.x, factor);
        const uint2 high = dequantize_int8(integers.y, factor);
        *to = make_uint4(low.x, low.y, high.x, high.y);
    }
};

// Commits a cp.async group. Empty groups are committed too, because wait_copies counts groups.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for the oldest tile in flight, and until all warps have read the tile before it.
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
#endif
    __syncthreads();
}

// Loads four 8x8 matrices; lanes 0-7, 8-15, 16-23 and 24-31 hold the addresses of their rows. Lane
// 4 g + t receives elements 2t and 2t + 1 of row g.
__device__ __forceinline__ void load_matrices(u32 (&m)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at)
                 : "memory");
}

// The same, transposed: lane 4 g + t receives rows 2t and 2t + 1 of column g.
__device__ __forceinline__ void load_transposed(u32 (&m)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at)
                 : "memory");
}

// Stops the compiler from moving loads across it. At head_dim 256, queries and sums occupy 192 of
// 255 registers; without the barrier, the compiler hoists so many loads on sm_75 that registers
// spill.
__device__ __forceinline__ void scheduling_barrier() {
#if __CUDA_ARCH__ < 800
    __syncwarp();
#endif
}

// exp2f that flushes subnormal results to zero: exp2(0) is exactly 1, exp2(-inf) exactly 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ u32 pack(float low, float high) {
    const half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const u32*>(&pair);
}

// A tile in shared memory: KEYS positions of D elements, in pieces of 8 (16 bytes). The index of a
// piece is XOR-swizzled with its row, so that the 8 rows of a matrix are in 8 different groups of
// banks.
template <u32 D> struct Layout {
    static constexpr u32 PIECES = D / 8, ROW_BYTES = 2 * D;
    static constexpr u32 SHARING = PIECES < 8 ? 8 / PIECES : 1;  // rows per 128 bytes of banks
    static __device__ __forceinline__ u32 index(u32 row, u32 piece) {
        return row * PIECES + (piece ^ row % 8 / SHARING);
    }
    // Index of the same piece `down` rows below: a multiple of 8, or of 4 if the row is below 4.
    static __device__ __forceinline__ u32 index_below(u32 index, u32 down) {
        return (index ^ down % 8 / SHARING) + down * PIECES;
    }
    // Byte address of the piece 2 i after piece 0 or 1 of a row, whose byte address is `at`.
    static __device__ __forceinline__ u32 address_after(u32 at, u32 i) {
        return (at ^ i % 4 * 32) + i / 4 * 128;
    }
};

// The query tile of a thread block. The last tiles of a sequence have the most keys, so they start
// first, in all heads.
struct WorkTile {
    u32 head;
    uint4 tile;  // sequence, first token, number of tokens, position
};

__device__ __forceinline__ WorkTile find_work_tile(const PrefillAttentionArgs& a) {
    u32 number = blockIdx.y * gridDim.x + blockIdx.x;
    asm volatile("" : "+r"(number));  // recomputed: no register is free to keep it across the loop
    return WorkTile{number % a.heads, a.tiles[gridDim.x - 1 - number / a.heads]};
}

// First row of the warp within the tile. Recomputed as well.
__device__ __forceinline__ u32 find_warp_row() {
    u32 thread = threadIdx.x;
    asm volatile("" : "+r"(thread));
    return thread / WARP * WARP_ROWS;
}

// Copies keys and values of one sequence and head to shared memory.
template <u32 D> struct KeyValueSource {
    u32 table;  // offset of the sequence's block table in `tables`
    u32 head;
    u32 last;  // position of the last token of the query tile

    // Copies key tile i / 2 into the ring buffer: its keys if i is even, its values if i is odd.
    __device__ __forceinline__ void copy(const F16Cache&, const PrefillAttentionArgs& a,
                                         uint4 (*ring)[KEYS * Layout<D>::PIECES], u32 i) const {
        constexpr u32 PIECES = Layout<D>::PIECES;
        constexpr u32 STEP = THREADS / PIECES;  // rows per copy of all threads
        constexpr u32 COPIES = KEYS > STEP ? KEYS / STEP : 1, BATCH = COPIES < 4 ? COPIES : 4;
        const u32 first = i / 2 * KEYS, row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
        if (first <= last && row < KEYS) {
            const half* cache = i % 2 == 0 ? a.keys : a.values;
            const u32* block = a.tables + table + first / BLOCK_POSITIONS;
            const u32 block_values = a.heads * BLOCK_POSITIONS * a.stride;
            const u32 at = (head * BLOCK_POSITIONS + row % BLOCK_POSITIONS) * a.stride + piece * 8;
            const half* upper = cache + u64(block[0]) * block_values + at;
            const half* lower = first + BLOCK_POSITIONS <= last
                                    ? cache + u64(block[1]) * block_values + at
                                    : upper;
            // Rows to copy, counted from `row`. The rows after them are zero-filled: their weights
            // are 0, and 0 times uninitialized memory may be NaN.
            const int valid_rows = piece * 8 < a.stride ? int(last - first) + 1 - int(row) : 0;
            uint4* to = ring[i % STAGES];
            const u32 index = Layout<D>::index(row, piece);
#pragma unroll
            for (u32 from = 0; from < COPIES; from += BATCH) {
                AsyncCopy copies[BATCH];
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) {
                    const u32 down = (from + j) * STEP;
                    const bool is_upper = (STEP < KEYS ? down : row) < BLOCK_POSITIONS;
                    const half* source = (is_upper ? upper : lower) +
                                         down % BLOCK_POSITIONS * a.stride;
                    copies[j].start(to + Layout<D>::index_below(index, down), source,
                                    int(down) < valid_rows);
                }
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) copies[j].finish();
            }
        }
        commit_copies();
    }

    __device__ __forceinline__ void copy(const Int8Cache&, const PrefillAttentionArgs& a,
                                         uint4 (*ring)[KEYS * Layout<D>::PIECES], u32 i) const {
        constexpr u32 PIECES = Layout<D>::PIECES;
        constexpr u32 STEP = THREADS / PIECES;  // rows per copy of all threads
        constexpr u32 COPIES = KEYS > STEP ? KEYS / STEP : 1, BATCH = COPIES < 4 ? COPIES : 4;
        const u32 first = i / 2 * KEYS, row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
        if (first > last || row >= KEYS) return;
        const u8* cache = reinterpret_cast<const u8*>(i % 2 == 0 ? a.keys : a.values);
        const u32* table_entry = a.tables + table + first / BLOCK_POSITIONS;
        const u32 blocks[2] = {table_entry[0],
                               first + BLOCK_POSITIONS <= last ? table_entry[1] : table_entry[0]};
        // As above. The values of the rows after them are 0.
        const int valid_rows = piece * 8 < a.stride ? int(last - first) + 1 - int(row) : 0;
        uint4* to = ring[i % STAGES];
        const u32 index = Layout<D>::index(row, piece);
#pragma unroll
        for (u32 from = 0; from < COPIES; from += BATCH) {
            DequantizingCopy copies[BATCH];
#pragma unroll
            for (u32 j = 0; j < BATCH; ++j) {
                const u32 down = (from + j) * STEP;
                const bool is_upper = (STEP < KEYS ? down : row) < BLOCK_POSITIONS;
                const u32 block = is_upper ? blocks[0] : blocks[1];
                const u32 offset = (row + down) % BLOCK_POSITIONS;
                copies[j].start(
                    to + Layout<D>::index_below(index, down),
                    cache + Int8Cache::line(block, a.heads, head, offset, a.stride) + piece * 8,
                    Int8Cache::scales(cache, block, a.heads, head, offset, a.stride),
                    int(down) < valid_rows);
            }
#pragma unroll
            for (u32 j = 0; j < BATCH; ++j) copies[j].finish();
        }
    }
};

// Queries and results of a warp: rows g and g + 8, as fragments of common/mma.cuh.
template <u32 D> struct WarpRows {
    static constexpr u32 STEPS = D / 16;
    u32 q[STEPS][4];
    float sum[D / 8][4];           // weighted values
    float row_max[2], row_sum[2];  // running maximum of the scores; sum of this lane's weights

    // Loads the queries of the tile from `row` on; rows past the tile are zero.
    __device__ __forceinline__ void load(const PrefillAttentionArgs& a, const WorkTile& work,
                                         u32 row) {
        const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4, rows = work.tile.z;
        const half* upper = a.q + (u64(work.tile.y + row + g) * a.heads + work.head) * a.stride +
                            2 * t;
        const half* lower = upper + 8 * u64(a.heads) * a.stride;
#pragma unroll
        for (u32 s = 0; s < STEPS; ++s) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const u32 d = s * 16 + i / 2 * 8;
                const bool in_range = row + g + i % 2 * 8 < rows && d < a.stride;
                q[s][i] = in_range ? *reinterpret_cast<const u32*>((i % 2 ? lower : upper) + d) : 0;
            }
        }
#pragma unroll
        for (u32 n = 0; n < D / 8; ++n) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.f;
        row_max[0] = row_max[1] = -INFINITY;
        row_sum[0] = row_sum[1] = 0.f;
    }

    // Computes the weights of the keys of one tile. `first` is the tile's first position,
    // `position` that of the warp's first row.
    __device__ __forceinline__ void score(u32 (&weights)[KEYS / 16][4], u32 tile, u32 first,
                                          u32 position, float scale_log2) {
        // The matrices of one load: keys 0-7, elements 0-7 and 8-15 of the head; keys 8-15, the
        // same.
        const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
        const u32 at = tile + Layout<D>::index(lane / 16 * 8 + lane % 8, lane / 8 % 2) * 16;
        float scores[KEYS / 8][4];
#pragma unroll
        for (u32 n = 0; n < KEYS / 8; ++n)
            scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.f;
#pragma unroll
        for (u32 s = 0; s < STEPS; ++s) {
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; n += 2) {
                if (n == 0 && s % 4 == 0) scheduling_barrier();
                u32 k[4];
                load_matrices(k, Layout<D>::address_after(at, s) + n * 8 * Layout<D>::ROW_BYTES);
                mma_f16(scores[n], q[s][0], q[s][1], q[s][2], q[s][3], k[0], k[1]);
                mma_f16(scores[n + 1], q[s][0], q[s][1], q[s][2], q[s][3], k[2], k[3]);
            }
        }
        if (first + KEYS - 1 > position) {  // causal mask: some keys are not visible to some rows
            // Index of the last key that is visible to row g, from this lane's first key.
            const int visible = int(position + g) - int(first + 2 * t);
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    if (int(n * 8 + e % 2) - int(e / 2 * 8) > visible) scores[n][e] = -INFINITY;
                }
            }
        }
        online_softmax(scores, scale_log2);
#pragma unroll
        for (u32 s = 0; s < KEYS / 16; ++s) {
#pragma unroll
            for (u32 p = 0; p < 4; ++p)
                weights[s][p] = pack(scores[2 * s + p / 2][p % 2 * 2],
                                     scores[2 * s + p / 2][p % 2 * 2 + 1]);
        }
    }

    // Online softmax: turns scores into weights relative to the running maximum, and rescales the
    // earlier sums if the maximum has changed.
    __device__ __forceinline__ void online_softmax(float (&scores)[KEYS / 8][4], float scale_log2) {
        float scaled_max[2], rescale[2];
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {
            float new_max = row_max[lower];
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n)
                new_max = fmaxf(new_max, fmaxf(scores[n][2 * lower], scores[n][2 * lower + 1]));
            new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, 1));
            new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, 2));
            rescale[lower] = exp2_fast((row_max[lower] - new_max) * scale_log2);
            row_max[lower] = new_max;
            scaled_max[lower] = new_max * scale_log2;
            float weight_sum = 0.f;
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (u32 e = 2 * lower; e < 2 * lower + 2; ++e) {
                    scores[n][e] = exp2_fast(fmaf(scores[n][e], scale_log2, -scaled_max[lower]));
                    weight_sum += scores[n][e];
                }
            }
            row_sum[lower] = fmaf(row_sum[lower], rescale[lower], weight_sum);
        }
        // Multiplying by 1 changes nothing, so a row does not depend on the other rows of the warp.
        if (__any_sync(~0u, rescale[0] != 1.f || rescale[1] != 1.f)) {
#pragma unroll
            for (u32 n = 0; n < D / 8; ++n) {
                sum[n][0] *= rescale[0], sum[n][1] *= rescale[0];
                sum[n][2] *= rescale[1], sum[n][3] *= rescale[1];
            }
        }
    }

    // sum += weights * v of one key tile
    __device__ __forceinline__ void add_values(const u32 (&weights)[KEYS / 16][4], u32 tile) {
        // The matrices of one load: keys 0-7 and 8-15, elements 0-7 of the head; the same keys,
        // elements 8-15.
        const u32 lane = threadIdx.x % WARP;
        const u32 at = tile + Layout<D>::index(lane % 16, lane / 16) * 16;
#pragma unroll
        for (u32 s = 0; s < KEYS / 16; ++s) {
#pragma unroll
            for (u32 n = 0; n < D / 8; n += 2) {
                u32 v[4];
                if (n % 4 == 0) scheduling_barrier();
                load_transposed(
                    v, Layout<D>::address_after(at, n / 2) + s * 16 * Layout<D>::ROW_BYTES);
                mma_f16(sum[n], weights[s][0], weights[s][1], weights[s][2], weights[s][3], v[0],
                        v[1]);
                mma_f16(sum[n + 1], weights[s][0], weights[s][1], weights[s][2], weights[s][3],
                        v[2], v[3]);
            }
        }
    }

    __device__ __forceinline__ void store(const PrefillAttentionArgs& a, const WorkTile& work,
                                          u32 row) {
        const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {  // four lanes hold a row
            row_sum[lower] += __shfl_xor_sync(~0u, row_sum[lower], 1);
            row_sum[lower] += __shfl_xor_sync(~0u, row_sum[lower], 2);
        }
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {
            const u32 r = row + g + 8 * lower;
            const float inverse_sum = 1.f / row_sum[lower];
            half* out = a.out + u64(work.tile.y + r) * a.out_stride;
#pragma unroll
            for (u32 n = 0; n < D / 8; ++n) {
                const u32 d = n * 8 + 2 * t, column = work.head * a.head_dim + d;
                const half2 pair = __floats2half2_rn(sum[n][2 * lower] * inverse_sum,
                                                     sum[n][2 * lower + 1] * inverse_sum);
                if (r >= work.tile.z || d >= a.head_dim) continue;
                if (a.scatter) {
                    out[a.scatter[column]] = __low2half(pair);
                    out[a.scatter[column + 1]] = __high2half(pair);
                } else {
                    *reinterpret_cast<half2*>(out + column) = pair;
                }
            }
        }
    }
};

template <u32 D, typename Cache>
__device__ __forceinline__ void attend(const PrefillAttentionArgs& a) {
    __shared__ __align__(128) uint4 ring[STAGES][KEYS * Layout<D>::PIECES];
    griddepcontrol_wait();
    // Only after the wait: the next kernel may read results of the kernel before this one ahead of
    // its own griddepcontrol.wait.
    griddepcontrol_launch_dependents();
    const WorkTile work = find_work_tile(a);
    const u32 last = work.tile.w + work.tile.z - 1;
    const u32 row = threadIdx.x / WARP * WARP_ROWS, position = work.tile.w + row;
    const KeyValueSource<D> source{work.tile.x * a.max_blocks, work.head, last};
#pragma unroll
    for (u32 i = 0; i < STAGES - 1; ++i) source.copy(Cache(), a, ring, i);

    WarpRows<D> rows;
    rows.load(a, work, row);
    const float scale_log2 = a.scale * 1.4426950408889634f;  // exp(x) = exp2(x log2 e)
    for (u32 first = 0, i = 0; first <= last; first += KEYS, i += 2) {
        u32 weights[KEYS / 16][4];
        wait_copies();
        source.copy(Cache(), a, ring, i + STAGES - 1);
        rows.score(weights, shared_address(ring[i % STAGES]), first, position, scale_log2);
        wait_copies();
        source.copy(Cache(), a, ring, i + STAGES);
        rows.add_values(weights, shared_address(ring[(i + 1) % STAGES]));
    }
    rows.store(a, find_work_tile(a), find_warp_row());
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_16(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<16, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_32(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<32, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_64(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<64, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_128(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<128, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_prefill_256(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<256, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_int8_16(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<16, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_int8_32(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<32, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_int8_64(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<64, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_int8_128(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<128, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_prefill_int8_256(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<256, Int8Cache>(a);
}
