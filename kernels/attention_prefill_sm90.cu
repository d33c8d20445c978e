// attention_prefill_sm90_{,int8_}{64,128,256}: softmax(q k^T * scale) v, causal, for the queries of
// prompts over the paged KV cache, on tensor cores by wgmma (FlashAttention-3, arXiv 2407.08608).
// Softmax and sums are computed in f32; the weights are rounded to f16.
//
//   q, keys, values, tables, tiles, out, scatter  as in attention_prefill.cu, which runs on other
//   GPUs; a tile has up to 128 tokens
//   maps  tensor maps: q f16 [tokens, heads, stride], boxes of 64 tokens of a head and 64 values;
//         keys and values f16 [blocks * heads * 16, stride], boxes of 16 x 64; unused for an
//         8-bit cache
//   stride  a multiple of 8, at most the number in the kernel's name
//   The token at position p attends to positions 0..=p, which must be in the cache. A result has the
//   same bits in any tile, but a non-finite value also affects the earlier tokens of its tile.
//   grid (num_tiles, heads)   block 384   shared 50, 98 and 194 KB   sm_90a
//   One warp copies queries, keys and values; two consumer warpgroups compute 64 queries each. The
//   product of the next keys and that of these values run during the softmax. Of an 8-bit cache, a
//   warpgroup dequantizes keys and values to f16 in shared memory.
//   cost 4 * head_dim operations per token, head and visible position: measure it in TFLOP/s
//   pair crates/moss-cuda/src/attention_prefill.rs
#include "common/gemm_epilogue.cuh"
#include "common/kv_cache.cuh"
#include "common/prefill_attention_args.cuh"
#include "common/tensor_map.cuh"
#include "common/tma.cuh"
#include "common/wgmma.cuh"

// Mirrored by `PrefillAttentionSm90Args` in crates/moss-cuda/src/args.
struct PrefillAttentionSm90Args {
    TensorMap q, keys, values;
    PrefillAttentionArgs base;
};
CHECK_LAYOUT_PrefillAttentionSm90Args;

constexpr u32 WARPGROUP = 128, CONSUMERS = 2, THREADS = (1 + CONSUMERS) * WARPGROUP;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr u32 ROWS = 64;  // queries per warpgroup
// Positions of a key tile. Key tiles are aligned to position 0, so that the order of sums does not
// depend on the query tile.
constexpr u32 KEYS = 64, TILE_BLOCKS = KEYS / BLOCK_POSITIONS;
constexpr u32 STAGES = 4;  // a ring of alternating key and value tiles
// A tile in shared memory is a sequence of columns of 64 values, with 128 bytes per row.
constexpr u32 COLUMN_BYTES = KEYS * SWIZZLED_ROW, BOX_BYTES = BLOCK_POSITIONS * SWIZZLED_ROW;

template <u32 D> struct Memory {
    static constexpr u32 COLUMNS = D / 64, Q_BYTES = CONSUMERS * COLUMNS * ROWS * SWIZZLED_ROW,
                         STAGE_BYTES = COLUMNS * COLUMN_BYTES;
    u32 q, stages, q_full, full, empty;
    __device__ __forceinline__ Memory(u32 base) {
        q = base, stages = q + Q_BYTES, q_full = stages + STAGES * STAGE_BYTES;
        full = q_full + 8, empty = full + 8 * STAGES;
    }
};

// The query tile of a thread block. The last tiles of a sequence have the most keys, so they start
// first, in all heads.
struct WorkTile {
    u32 head;
    uint4 tile;  // sequence, first token, number of tokens, position
    __device__ __forceinline__ u32 last() const { return tile.w + tile.z - 1; }
};

__device__ __forceinline__ WorkTile find_work_tile(const PrefillAttentionArgs& a) {
    const u32 number = blockIdx.y * gridDim.x + blockIdx.x;
    return WorkTile{number % a.heads, a.tiles[gridDim.x - 1 - number / a.heads]};
}

template <u32 D> __device__ __forceinline__ void copy_queries(const PrefillAttentionSm90Args& a,
                                                              const WorkTile& work,
                                                              const Memory<D>& to) {
    constexpr u32 COLUMNS = Memory<D>::COLUMNS;
    mbarrier_arrive_expect(to.q_full, Memory<D>::Q_BYTES);
    for (u32 i = 0; i < CONSUMERS * COLUMNS; ++i)
        copy_box(to.q + i * ROWS * SWIZZLED_ROW, a.q, i % COLUMNS * 64, work.head,
                 work.tile.y + i / COLUMNS * ROWS, to.q_full);
}

// Copies all tiles: lane i copies column i % COLUMNS of block i / COLUMNS of each.
template <u32 D>
__device__ __forceinline__ void copy_tiles(const F16Cache&, const PrefillAttentionSm90Args& a,
                                           const WorkTile& work, const Memory<D>& to) {
    constexpr u32 COLUMNS = Memory<D>::COLUMNS;
    const u32 lane = threadIdx.x, column = lane % COLUMNS, block = lane / COLUMNS;
    if (lane >= WARP) return;
    if (lane == 0) copy_queries<D>(a, work, to);
    const u32 blocks = work.last() / BLOCK_POSITIONS + 1;
    const u32* const table = a.base.tables + work.tile.x * a.base.max_blocks;
    u32 stage = 0, phase = 0;
    for (u32 first = 0; first < blocks; first += TILE_BLOCKS) {
        const bool copies = block < TILE_BLOCKS && first + block < blocks;
        const u32 row = copies ? (table[first + block] * a.base.heads + work.head) * BLOCK_POSITIONS
                               : 0;
        const u32 bytes = min(blocks - first, TILE_BLOCKS) * COLUMNS * BOX_BYTES;
#pragma unroll
        for (u32 is_value = 0; is_value < 2; ++is_value) {
            const u32 full = to.full + 8 * stage;
            mbarrier_wait(to.empty + 8 * stage, phase ^ 1);
            if (lane == 0) mbarrier_arrive_expect(full, bytes);
            __syncwarp();
            if (copies)
                copy_box(to.stages + stage * Memory<D>::STAGE_BYTES + column * COLUMN_BYTES +
                             block * BOX_BYTES,
                         is_value ? a.values : a.keys, column * 64, row, full);
            if (++stage == STAGES) stage = 0, phase ^= 1;
        }
    }
}

// Dequantizes all tiles, with all threads of the warpgroup. Rows after the last position are zeros.
template <u32 D>
__device__ __forceinline__ void copy_tiles(const Int8Cache&, const PrefillAttentionSm90Args& a,
                                           const WorkTile& work, const Memory<D>& to) {
    constexpr u32 PIECES = D / 8, STEP = WARPGROUP / PIECES;  // rows per copy of all threads
    constexpr u32 COPIES = KEYS / STEP, BATCH = D == 256 ? 8 : 4;
    static_assert(STEP <= BLOCK_POSITIONS, "the rows of a copy are of one block");
    const u32 piece = threadIdx.x % PIECES, row = threadIdx.x / PIECES;
    const u32 stride = a.base.stride, heads = a.base.heads, last = work.last();
    if (threadIdx.x == 0) copy_queries<D>(a, work, to);
    const u32* const table = a.base.tables + work.tile.x * a.base.max_blocks;
    const u32 column = to.stages + piece / 8 * COLUMN_BYTES;
    u32 stage = 0, phase = 0;
    for (u32 first = 0; first <= last; first += KEYS) {
#pragma unroll 1
        for (u32 is_value = 0; is_value < 2; ++is_value) {
            const u8* const cache = reinterpret_cast<const u8*>(is_value ? a.base.values
                                                                         : a.base.keys);
            mbarrier_wait(to.empty + 8 * stage, phase ^ 1);
#pragma unroll 1
            for (u32 from = 0; from < COPIES; from += BATCH) {
                uint2 integers[BATCH];
                u16 scales[BATCH];
#pragma unroll
                for (u32 i = 0; i < BATCH; ++i) {
                    const u32 position = first + row + (from + i) * STEP;
                    integers[i] = make_uint2(0, 0), scales[i] = 0;
                    if (position > last || piece * 8 >= stride) continue;
                    const u32 block = table[position / BLOCK_POSITIONS];
                    const u32 offset = position % BLOCK_POSITIONS;
                    integers[i] = *reinterpret_cast<const uint2*>(
                        cache + Int8Cache::line(block, heads, work.head, offset, stride) +
                        piece * 8);
                    scales[i] = *reinterpret_cast<const u16*>(
                        Int8Cache::scales(cache, block, heads, work.head, offset, stride));
                }
#pragma unroll
                for (u32 i = 0; i < BATCH; ++i) {
                    const half2 scale = __half2half2(__ushort_as_half(scales[i]));
                    const uint2 low = dequantize_int8(integers[i].x, scale);
                    const uint2 high = dequantize_int8(integers[i].y, scale);
                    const u32 to_row = row + (from + i) * STEP;
                    const u32 at = column + stage * Memory<D>::STAGE_BYTES + to_row * SWIZZLED_ROW +
                                   (piece % 8 ^ to_row % 8) * 16;
                    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(low.x),
                                 "r"(low.y), "r"(high.x), "r"(high.y)
                                 : "memory");
                }
            }
            fence_proxy_async();
            __syncwarp();
            if (threadIdx.x % WARP == 0) mbarrier_arrive(to.full + 8 * stage);
            if (++stage == STAGES) stage = 0, phase ^= 1;
        }
    }
}

// exp2f that flushes subnormal results to zero: exp2(0) is exactly 1, exp2(-inf) exactly 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// One wgmma per 16 keys: sum += weights * values.
template <u32 D> __device__ __forceinline__ void add_values(float (&sum)[D / 2],
                                                            const u32 (&weights)[KEYS / 16][4],
                                                            u32 values) {
#pragma unroll
    for (u32 s = 0; s < KEYS / 16; ++s) {
        const u64 v = transposed_descriptor(values + s * 16 * SWIZZLED_ROW, COLUMN_BYTES);
        if constexpr (D == 64) wgmma_add_64x64(sum, weights[s], v);
        if constexpr (D == 128) wgmma_add_64x128(sum, weights[s], v);
        if constexpr (D == 256) wgmma_add_64x256(sum, weights[s], v);
    }
}

// Scores of 64 queries and the keys of a tile.
template <u32 D> __device__ __forceinline__ void multiply_keys(float (&scores)[KEYS / 2], u32 q,
                                                               u32 keys) {
#pragma unroll
    for (u32 column = 0; column < D / 64; ++column) {
        const u64 x = matrix_descriptor(q + column * ROWS * SWIZZLED_ROW);
        const u64 k = matrix_descriptor(keys + column * COLUMN_BYTES);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) wgmma_64x64(scores, x + 2 * i, k + 2 * i, column + i > 0);
    }
}

// Online softmax of the rows g and g + 8 of a warp's 16 queries.
struct Softmax {
    float row_max[2] = {-INFINITY, -INFINITY}, row_sum[2] = {0.f, 0.f};
    float rescale[2];

    // Turns the scores of the keys from `first` on into weights relative to the new maximum.
    // `position` is that of the warp's first query.
    __device__ __forceinline__ void update(float (&scores)[KEYS / 2], u32 first, u32 position,
                                           float scale_log2) {
        const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
        if (first + KEYS - 1 > position) {  // causal mask
            const int visible = int(position + g) - int(first + 2 * t);
#pragma unroll
            for (u32 i = 0; i < KEYS / 2; ++i) {
                if (int(i / 4 * 8 + i % 2) - int(i / 2 % 2 * 8) > visible) scores[i] = -INFINITY;
            }
        }
#pragma unroll
        for (u32 row = 0; row < 2; ++row) {
            float new_max = row_max[row];
#pragma unroll
            for (u32 j = 0; j < KEYS / 8; ++j)
                new_max = fmaxf(new_max,
                                fmaxf(scores[4 * j + 2 * row], scores[4 * j + 2 * row + 1]));
            new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, 1));
            new_max = fmaxf(new_max, __shfl_xor_sync(~0u, new_max, 2));
            rescale[row] = exp2_fast((row_max[row] - new_max) * scale_log2);
            row_max[row] = new_max;
            const float scaled_max = new_max * scale_log2;
            float sum = 0.f;
#pragma unroll
            for (u32 j = 0; j < KEYS / 8; ++j) {
#pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    float& score = scores[4 * j + 2 * row + e];
                    score = exp2_fast(fmaf(score, scale_log2, -scaled_max));
                    sum += score;
                }
            }
            row_sum[row] = fmaf(row_sum[row], rescale[row], sum);
        }
    }
};

__device__ __forceinline__ void pack_weights(u32 (&weights)[KEYS / 16][4],
                                             const float (&scores)[KEYS / 2]) {
#pragma unroll
    for (u32 i = 0; i < KEYS / 4; ++i)
        weights[i / 4][i % 4] = pack_pair(scores[2 * i], scores[2 * i + 1]);
}

// Clears the rows of a value tile from `rows` on: their weights are 0, and 0 times uninitialized
// memory may be NaN. Called by all threads of a warpgroup.
template <u32 D> __device__ __forceinline__ void clear_rows(u32 values, u32 rows, u32 group) {
    for (u32 i = threadIdx.x % WARPGROUP; i < (KEYS - rows) * (D / 8); i += WARPGROUP) {
        const u32 row = rows + i / (D / 8), piece = i % (D / 8);
        const u32 at = values + piece / 8 * COLUMN_BYTES + row * SWIZZLED_ROW + piece % 8 * 16;
        asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(at), "r"(0) : "memory");
    }
    fence_proxy_async();
    if (group == 0) {
        asm volatile("bar.sync 1, %0;" ::"n"(WARPGROUP) : "memory");
    } else {
        asm volatile("bar.sync 2, %0;" ::"n"(WARPGROUP) : "memory");
    }
}

// Stores pairs of values of a head, at d, d + 8, d + 16, d + 24. In the order of the fragments
// (common/dequantize.cuh) they are neighbours.
__device__ __forceinline__ void store_scattered(half* out, const u32* scatter, u32 head_dim, u32 d,
                                                const u32 (&words)[4]) {
    uint2 columns[4];
    bool is_run = d + 24 < head_dim;  // an even number
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        if (d + 8 * i >= head_dim) break;
        columns[i] = __ldg(reinterpret_cast<const uint2*>(scatter + d + 8 * i));
        is_run &= columns[i].x == columns[0].x + 2 * i && columns[i].y == columns[i].x + 1;
    }
    if (is_run && columns[0].x % 8 == 0) {
        *reinterpret_cast<uint4*>(out + columns[0].x) = make_uint4(words[0], words[1], words[2],
                                                                   words[3]);
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        if (d + 8 * i >= head_dim) break;
        out[columns[i].x] = __ushort_as_half(u16(words[i]));
        out[columns[i].y] = __ushort_as_half(u16(words[i] >> 16));
    }
}

// Stores the results of 16 queries.
template <u32 D> __device__ __forceinline__ void store_rows(const PrefillAttentionArgs& a,
                                                            const WorkTile& work, u32 row,
                                                            const float (&sum)[D / 2],
                                                            const Softmax& softmax) {
    const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (u32 lower = 0; lower < 2; ++lower) {
        float total = softmax.row_sum[lower];
        total += __shfl_xor_sync(~0u, total, 1);
        total += __shfl_xor_sync(~0u, total, 2);
        const float inverse = 1.f / total;
        const u32 of_tile = row + g + 8 * lower, first = work.head * a.head_dim;
        half* const out = a.out + u64(work.tile.y + of_tile) * a.out_stride;
#pragma unroll
        for (u32 from = 0; from < D / 8; from += 4) {
            u32 words[4];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const float* const pair = sum + 4 * (from + i) + 2 * lower;
                words[i] = pack_pair(pair[0] * inverse, pair[1] * inverse);
            }
            if (a.scatter) {
                if (of_tile < work.tile.z)
                    store_scattered(out, a.scatter + first, a.head_dim, 8 * from + 2 * t, words);
                continue;
            }
            transpose_words(words);
            const u32 d = 8 * (from + t);
            if (of_tile >= work.tile.z || d >= a.head_dim) continue;
            if (d + 8 <= a.head_dim && (first + d) % 8 == 0) {
                *reinterpret_cast<uint4*>(out + first + d) = make_uint4(words[0], words[1],
                                                                        words[2], words[3]);
                continue;
            }
            for (u32 i = 0; i < 8 && d + i < a.head_dim; ++i) {
                const u32 word = i < 4   ? (i < 2 ? words[0] : words[1])
                                 : i < 6 ? words[2]
                                         : words[3];
                out[first + d + i] = __ushort_as_half(u16(word >> i % 2 * 16));
            }
        }
    }
}

// Consumer: 64 queries of the tile.
template <u32 D> __device__ __forceinline__ void attend(const PrefillAttentionSm90Args& a,
                                                        const WorkTile& work,
                                                        const Memory<D>& memory) {
    const u32 group = threadIdx.x / WARPGROUP - 1;
    const u32 row = group * ROWS + threadIdx.x / WARP % 4 * 16, position = work.tile.w + row;
    const u32 tiles = work.last() / KEYS + 1;
    // Tiles after the last visible position of the warpgroup are skipped.
    const u32 rows = work.tile.z > group * ROWS ? min(work.tile.z - group * ROWS, ROWS) : 0;
    const u32 own_tiles = rows == 0 ? 0 : (work.tile.w + group * ROWS + rows - 1) / KEYS + 1;
    const float scale_log2 = a.base.scale * 1.4426950408889634f;
    const u32 q = memory.q + group * Memory<D>::COLUMNS * ROWS * SWIZZLED_ROW;
    const auto stage_of = [](u32 tile, u32 is_value) { return (2 * tile + is_value) % STAGES; };
    const auto phase_of = [](u32 tile, u32 is_value) { return (2 * tile + is_value) / STAGES % 2; };
    const auto address = [&](u32 stage) { return memory.stages + stage * Memory<D>::STAGE_BYTES; };
    const auto release = [&](u32 stage) {
        if (threadIdx.x % WARP == 0) mbarrier_arrive(memory.empty + 8 * stage);
    };
    const auto wait = [&](u32 tile, u32 is_value) {
        mbarrier_wait(memory.full + 8 * stage_of(tile, is_value), phase_of(tile, is_value));
    };
    if (own_tiles > 0) {
        float sum[D / 2], scores[KEYS / 2];
        u32 weights[KEYS / 16][4];
        Softmax softmax;
#pragma unroll
        for (u32 i = 0; i < D / 2; ++i) sum[i] = 0.f;
        mbarrier_wait(memory.q_full, 0);
        wait(0, 0);
        wgmma_fence();
        multiply_keys<D>(scores, q, address(stage_of(0, 0)));
        wgmma_commit();
        wgmma_wait<0>();
        release(stage_of(0, 0));
        softmax.update(scores, 0, position, scale_log2);
        pack_weights(weights, scores);
        u32 tile = 0;
        for (; tile + 1 < own_tiles; ++tile) {
            wait(tile + 1, 0);
            wgmma_fence();
            multiply_keys<D>(scores, q, address(stage_of(tile + 1, 0)));
            wgmma_commit();
            wait(tile, 1);
            wgmma_fence();
            add_values<D>(sum, weights, address(stage_of(tile, 1)));
            wgmma_commit();
            wgmma_wait<1>();
            release(stage_of(tile + 1, 0));
            softmax.update(scores, (tile + 1) * KEYS, position, scale_log2);
            wgmma_wait<0>();
            release(stage_of(tile, 1));
            pack_weights(weights, scores);
#pragma unroll
            for (u32 i = 0; i < D / 2; ++i) sum[i] *= softmax.rescale[i / 2 % 2];
        }
        wait(tile, 1);
        if ((tile + 1) * KEYS > work.last() + 1)
            clear_rows<D>(address(stage_of(tile, 1)), work.last() + 1 - tile * KEYS, group);
        wgmma_fence();
        add_values<D>(sum, weights, address(stage_of(tile, 1)));
        wgmma_commit();
        wgmma_wait<0>();
        release(stage_of(tile, 1));
        store_rows<D>(a.base, work, row, sum, softmax);
    }
    // The other warpgroup's tiles.
    for (u32 i = 2 * own_tiles; i < 2 * tiles; ++i) wait(i / 2, i % 2), release(i % STAGES);
}

template <u32 D, typename Cache>
__device__ __forceinline__ void attention(const PrefillAttentionSm90Args& a) {
    extern __shared__ char shared[];
    const Memory<D> memory((shared_address(shared) + 1023) & ~1023u);  // for the swizzle
    if (threadIdx.x == 0) {
        mbarrier_init(memory.q_full, 1);
        for (u32 i = 0; i < STAGES; ++i) {
            mbarrier_init(memory.full + 8 * i, Cache::HAS_SCALES ? WARPGROUP / WARP : 1);
            mbarrier_init(memory.empty + 8 * i, CONSUMERS * WARPGROUP / WARP);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    griddepcontrol_wait();
    griddepcontrol_launch_dependents();
    const WorkTile work = find_work_tile(a.base);
    if (threadIdx.x < WARPGROUP) {
        decrease_registers<Cache::HAS_SCALES ? 56 : 24>();
        copy_tiles<D>(Cache(), a, work, memory);
    } else {
        increase_registers<Cache::HAS_SCALES ? 224 : 240>();
        attend<D>(a, work, memory);
    }
}

#else

template <u32 D, typename Cache>
__device__ __forceinline__ void attention(const PrefillAttentionSm90Args&) {}

#endif

extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_64(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<64, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_128(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<128, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_256(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<256, F16Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_int8_64(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<64, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_int8_128(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<128, Int8Cache>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_prefill_sm90_int8_256(
    const __grid_constant__ PrefillAttentionSm90Args a) {
    attention<256, Int8Cache>(a);
}
