// attention_prefill_{16,32,64,128,256}: softmax(q k^T scale) v, causal, of many rows a sequence
// over its cached positions (FlashAttention-2, arXiv 2307.08691): sums and softmax in f32, weights
// rounded to f16.
//   q f16 [rows, heads, stride]   keys, values f16 [blocks, heads, 16, stride]   tables u32 [sequences, max_blocks]
//   tiles (sequence, first row in q, rows 1..64, position of the first row) [num_tiles]: rows at positions that follow each other
//   out f16 [rows, out_stride], column head * head_dim + d, or `scatter` of it
//   stride is a multiple of 8, at most the kernel's number; lanes of q past head_dim are zero; head_dim and out_stride are even
//   the row at position p sees 0..=p, whose keys and values are written; of what lies past its tile's last row nothing is read,
//   and its bits are the same in any tile, but a value that is not finite reaches the earlier rows of its tile too
//   grid (num_tiles, heads)   block 128, a warp 16 rows   shared sm_80+ 192 B, sm_75 128 B a lane of a head (48, 32 KB)   sm_75+
//   cost 4 * head_dim operations a row, head and visible position: judge it in TFLOP/s
//   pair crates/moss-kernels/src/cuda/attention.rs
#include "common/mma.cuh"

// Mirrored by `PrefillAttentionArgs` in crates/moss-kernels/src/cuda/args.rs.
struct PrefillAttentionArgs {
    const half* q;
    const half* keys;
    const half* values;
    const u32* tables;
    const uint4* tiles;
    half* out;
    const u32* scatter;
    u32 max_blocks, heads, head_dim, stride, out_stride;
    float scale;
};

constexpr u32 THREADS = 128, WARP_ROWS = 16;

constexpr u32 KEYS = 2 * BLOCK_POSITIONS;  // positions of a key tile; every row takes them in the
                                           // same tiles, from position 0

// Key and value tiles take turns in a ring. Copies that run behind the arithmetic want the third
// place; where there are none (sm_75), two blocks of threads on a multiprocessor fill each other's
// waits, and two places let both fit.
#if __CUDA_ARCH__ >= 800
constexpr u32 STAGES = 3;
#else
constexpr u32 STAGES = 2;
#endif

__device__ __forceinline__ u32 shared_address(const void* p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

// 16 bytes on their way to shared memory. Where registers carry them (sm_75), several are read
// before the first is written.
struct Copy {
    uint4* to;
    uint4 carried;

    // Zeros unless `there`: nothing is read at `from` then.
    __device__ __forceinline__ void start(uint4* place, const half* from, bool there) {
        to = place;
#if __CUDA_ARCH__ >= 800
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                     "l"(from), "r"(there ? 16 : 0)
                     : "memory");
#else
        carried = there ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
    }
    __device__ __forceinline__ void finish() {
#if __CUDA_ARCH__ < 800
        *to = carried;
#endif
    }
};

// Ends a group of copies, perhaps an empty one: groups are counted.
__device__ __forceinline__ void end_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for the oldest tile on its way, and for the warps that still read the tile before it.
__device__ __forceinline__ void await_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
#endif
    __syncthreads();
}

// Four 8x8 matrices, whose rows the lanes 0-7, 8-15, 16-23 and 24-31 point to: lane 4 g + t gets
// values 2t, 2t+1 of row g.
__device__ __forceinline__ void load_matrices(u32 (&m)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at)
                 : "memory");
}

// The same, transposed: rows 2t, 2t+1 of column g.
__device__ __forceinline__ void load_transposed(u32 (&m)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at)
                 : "memory");
}

// At head_dim 256 queries and sums take 192 of 255 registers. For sm_75 the compiler reads matrices
// so far ahead that the rest does not last; it moves nothing across this.
__device__ __forceinline__ void read_no_further() {
#if __CUDA_ARCH__ < 800
    __syncwarp();
#endif
}

// exp2f without its care for results below 2^-126: exp2(0) is 1 and exp2(-inf) is 0, exactly.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ u32 pack(float low, float high) {
    const half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const u32*>(&pair);
}

// A tile in shared memory: KEYS positions of D values, in pieces of 8 (16 bytes). A piece's place
// is xored with its row, as far as rows share banks, so that the 8 rows of a matrix lie in 8
// different groups of banks.
template <u32 D> struct Layout {
    static constexpr u32 PIECES = D / 8, ROW_BYTES = 2 * D,
                         SHARING = PIECES < 8 ? 8 / PIECES
                                              : 1;  // SHARING rows fill a line of banks
    static __device__ __forceinline__ u32 place(u32 row, u32 piece) {
        return row * PIECES + (piece ^ row % 8 / SHARING);
    }
    // The place of the same piece `down` rows on: a multiple of 8, or of 4 from a row below 4.
    static __device__ __forceinline__ u32 below(u32 place, u32 down) {
        return (place ^ down % 8 / SHARING) + down * PIECES;
    }
    // Bytes from the place of piece 0 or 1 of a row to that of a piece 2 i further, given the bytes
    // `at` of the former.
    static __device__ __forceinline__ u32 forward(u32 at, u32 i) {
        return (at ^ i % 4 * 32) + i / 4 * 128;
    }
};

// What a block of threads does: the last tiles of a sequence see most, so they start first, in all
// heads.
struct Work {
    u32 head;
    uint4 tile;  // sequence, first row, rows, position
};

__device__ __forceinline__ Work find_work(const PrefillAttentionArgs& a) {
    u32 number = blockIdx.y * gridDim.x + blockIdx.x;
    asm volatile(
        ""
        : "+r"(number));  // found anew each time: no register is free to keep it through the loop
    return Work{number % a.heads, a.tiles[gridDim.x - 1 - number / a.heads]};
}

// The first of a warp's rows within the tile. Found anew each time, too.
__device__ __forceinline__ u32 find_row() {
    u32 thread = threadIdx.x;
    asm volatile("" : "+r"(thread));
    return thread / WARP * WARP_ROWS;
}

// Where the keys and values lie that a block of threads reads.
template <u32 D> struct Source {
    u32 table;  // the sequence's, in `tables`
    u32 head;
    u32 last;  // position of the tile's last row

    // Key tile i / 2, its keys where i is even, its values where it is odd, into the ring.
    __device__ __forceinline__ void copy(const PrefillAttentionArgs& a,
                                         uint4 (*ring)[KEYS * Layout<D>::PIECES], u32 i) const {
        constexpr u32 PIECES = Layout<D>::PIECES,
                      STEP = THREADS / PIECES;  // rows that the threads copy at a time
        constexpr u32 TIMES = KEYS > STEP ? KEYS / STEP : 1, BATCH = TIMES < 4 ? TIMES : 4;
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
            // rows to copy, from `row`: zeros after them, for weights are 0 there, and 0 times what
            // was never written may be NaN
            const int there = piece * 8 < a.stride ? int(last - first) + 1 - int(row) : 0;
            uint4* to = ring[i % STAGES];
            const u32 place = Layout<D>::place(row, piece);
#pragma unroll
            for (u32 from = 0; from < TIMES; from += BATCH) {
                Copy copies[BATCH];
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) {
                    const u32 down = (from + j) * STEP;
                    const half* source = ((STEP < KEYS ? down : row) < BLOCK_POSITIONS ? upper
                                                                                       : lower) +
                                         down % BLOCK_POSITIONS * a.stride;
                    copies[j].start(to + Layout<D>::below(place, down), source, int(down) < there);
                }
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) copies[j].finish();
            }
        }
        end_copies();
    }
};

// Rows g and g + 8 of a warp, as the fragments of common/mma.cuh hold them.
template <u32 D> struct Rows {
    static constexpr u32 STEPS = D / 16;
    u32 q[STEPS][4];
    float sum[D / 8][4];     // weighted values
    float top[2], total[2];  // greatest score; sum of this lane's weights

    // The tile's rows from `row` on, zeros past them.
    __device__ __forceinline__ void load(const PrefillAttentionArgs& a, const Work& work, u32 row) {
        const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4, rows = work.tile.z;
        const half* upper = a.q + (u64(work.tile.y + row + g) * a.heads + work.head) * a.stride +
                            2 * t;
        const half* lower = upper + 8 * u64(a.heads) * a.stride;
#pragma unroll
        for (u32 s = 0; s < STEPS; ++s) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const u32 d = s * 16 + i / 2 * 8;
                const bool there = row + g + i % 2 * 8 < rows && d < a.stride;
                q[s][i] = there ? *reinterpret_cast<const u32*>((i % 2 ? lower : upper) + d) : 0;
            }
        }
#pragma unroll
        for (u32 n = 0; n < D / 8; ++n) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0.f;
        top[0] = top[1] = -INFINITY;
        total[0] = total[1] = 0.f;
    }

    // Weights of the keys of one tile, whose first position is `first`; `position` is that of the
    // warp's first row.
    __device__ __forceinline__ void score(u32 (&weights)[KEYS / 16][4], u32 tile, u32 first,
                                          u32 position, float scale_log2) {
        const u32 lane = threadIdx.x % WARP, g = lane / 4,
                  t = lane %
                      4;  // matrices: keys 0-7, lanes 0-7 and 8-15 of the head; keys 8-15, the same
        const u32 at = tile + Layout<D>::place(lane / 16 * 8 + lane % 8, lane / 8 % 2) * 16;
        float scores[KEYS / 8][4];
#pragma unroll
        for (u32 n = 0; n < KEYS / 8; ++n)
            scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.f;
#pragma unroll
        for (u32 s = 0; s < STEPS; ++s) {
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; n += 2) {
                if (n == 0 && s % 4 == 0) read_no_further();
                u32 k[4];
                load_matrices(k, Layout<D>::forward(at, s) + n * 8 * Layout<D>::ROW_BYTES);
                mma_f16(scores[n], q[s][0], q[s][1], q[s][2], q[s][3], k[0], k[1]);
                mma_f16(scores[n + 1], q[s][0], q[s][1], q[s][2], q[s][3], k[2], k[3]);
            }
        }
        if (first + KEYS - 1 > position) {  // not all of it to all rows
            const int visible = int(position + g) -
                                int(first + 2 * t);  // to row g, from this lane's first key
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    if (int(n * 8 + e % 2) - int(e / 2 * 8) > visible) scores[n][e] = -INFINITY;
                }
            }
        }
        weigh(scores, scale_log2);
#pragma unroll
        for (u32 s = 0; s < KEYS / 16; ++s) {
#pragma unroll
            for (u32 p = 0; p < 4; ++p)
                weights[s][p] = pack(scores[2 * s + p / 2][p % 2 * 2],
                                     scores[2 * s + p / 2][p % 2 * 2 + 1]);
        }
    }

    // Turns scores into weights against the greatest score so far, and what was summed before to
    // the same measure.
    __device__ __forceinline__ void weigh(float (&scores)[KEYS / 8][4], float scale_log2) {
        float scaled[2], before[2];
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {
            float best = top[lower];
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n)
                best = fmaxf(best, fmaxf(scores[n][2 * lower], scores[n][2 * lower + 1]));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 1));
            best = fmaxf(best, __shfl_xor_sync(~0u, best, 2));
            before[lower] = exp2_fast((top[lower] - best) * scale_log2);
            top[lower] = best;
            scaled[lower] = best * scale_log2;
            float weights = 0.f;
#pragma unroll
            for (u32 n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (u32 e = 2 * lower; e < 2 * lower + 2; ++e) {
                    scores[n][e] = exp2_fast(fmaf(scores[n][e], scale_log2, -scaled[lower]));
                    weights += scores[n][e];
                }
            }
            total[lower] = fmaf(total[lower], before[lower], weights);
        }
        if (__any_sync(
                ~0u,
                before[0] != 1.f ||
                    before[1] !=
                        1.f)) {  // times 1 would change nothing: no row depends on its neighbours
#pragma unroll
            for (u32 n = 0; n < D / 8; ++n) {
                sum[n][0] *= before[0], sum[n][1] *= before[0];
                sum[n][2] *= before[1], sum[n][3] *= before[1];
            }
        }
    }

    // sum += weights v of one key tile
    __device__ __forceinline__ void add(const u32 (&weights)[KEYS / 16][4], u32 tile) {
        const u32 lane =
            threadIdx.x %
            WARP;  // matrices: keys 0-7 and 8-15 of lanes 0-7 of the head; the same of lanes 8-15
        const u32 at = tile + Layout<D>::place(lane % 16, lane / 16) * 16;
#pragma unroll
        for (u32 s = 0; s < KEYS / 16; ++s) {
#pragma unroll
            for (u32 n = 0; n < D / 8; n += 2) {
                u32 v[4];
                if (n % 4 == 0) read_no_further();
                load_transposed(v, Layout<D>::forward(at, n / 2) + s * 16 * Layout<D>::ROW_BYTES);
                mma_f16(sum[n], weights[s][0], weights[s][1], weights[s][2], weights[s][3], v[0],
                        v[1]);
                mma_f16(sum[n + 1], weights[s][0], weights[s][1], weights[s][2], weights[s][3],
                        v[2], v[3]);
            }
        }
    }

    __device__ __forceinline__ void store(const PrefillAttentionArgs& a, const Work& work,
                                          u32 row) {
        const u32 g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {  // four lanes hold a row
            total[lower] += __shfl_xor_sync(~0u, total[lower], 1);
            total[lower] += __shfl_xor_sync(~0u, total[lower], 2);
        }
#pragma unroll
        for (u32 lower = 0; lower < 2; ++lower) {
            const u32 r = row + g + 8 * lower;
            const float share = 1.f / total[lower];
            half* out = a.out + u64(work.tile.y + r) * a.out_stride;
#pragma unroll
            for (u32 n = 0; n < D / 8; ++n) {
                const u32 d = n * 8 + 2 * t, column = work.head * a.head_dim + d;
                const half2 pair = __floats2half2_rn(sum[n][2 * lower] * share,
                                                     sum[n][2 * lower + 1] * share);
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

template <u32 D> __device__ __forceinline__ void attend(const PrefillAttentionArgs& a) {
    __shared__ __align__(128) uint4 ring[STAGES][KEYS * Layout<D>::PIECES];
    wait_for_previous();
    let_next_start();  // not earlier: the next kernel may begin with what the one before this one
                       // left
    const Work work = find_work(a);
    const u32 last = work.tile.w + work.tile.z - 1, row = threadIdx.x / WARP * WARP_ROWS,
              position = work.tile.w + row;  // of the warp's first row
    const Source<D> source{work.tile.x * a.max_blocks, work.head, last};
#pragma unroll
    for (u32 i = 0; i < STAGES - 1; ++i) source.copy(a, ring, i);

    Rows<D> mine;
    mine.load(a, work, row);
    const float scale_log2 = a.scale * 1.4426950408889634f;  // exp(x) = exp2(x log2 e)
    for (u32 first = 0, i = 0; first <= last; first += KEYS, i += 2) {
        u32 weights[KEYS / 16][4];
        await_copies();
        source.copy(a, ring, i + STAGES - 1);
        mine.score(weights, shared_address(ring[i % STAGES]), first, position, scale_log2);
        await_copies();
        source.copy(a, ring, i + STAGES);
        mine.add(weights, shared_address(ring[(i + 1) % STAGES]));
    }
    mine.store(a, find_work(a), find_row());
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_16(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<16>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_32(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<32>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_64(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<64>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS) attention_prefill_128(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<128>(a);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_prefill_256(
    const __grid_constant__ PrefillAttentionArgs a) {
    attend<256>(a);
}
