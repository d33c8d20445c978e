// Device-side top-k: reduces rows of logits to the candidates of sampling, exactly those of
// `CutParams::candidates` in crates/moss-sampling, so that at most 4 KB per row are copied to the
// host. Two launches with the same grid and arguments:
//   sample_score  penalty and temperature; scores as sortable keys; the largest key per run of 64
//   sample_cut    a lower bound that slightly more than top_k scores reach, these scores, and the
//                 exact top-k of them
// The launches do not depend on values that the host knows, so both can be captured in a CUDA
// graph: what changes with every token is read from memory.
//
// `__fdiv_rn` and `__fmul_rn` round as on the host, including subnormal numbers: the file must be
// compiled without -ftz and without fast math.
#include "common/layouts.cuh"
#include "common/types.cuh"

// Request of one row, 20 bytes. Mirrored by `SampleParams` in crates/moss-cuda/src/args, as are
// the structs below.
struct SampleParams {
    float repetition_penalty;  // > 0; 1 disables it
    float temperature;         // >= 0; 0 for greedy decoding: no division, top_k is 1
    u32 top_k;                 // >= 1; 0: no request, the status is WHOLE_ROW
    u32 allowed;               // ids below this are candidates; may be larger than vocab
    u32 history_len;           // ids in the row's history, at most history_stride
};
CHECK_LAYOUT_SampleParams;

// Zero before and after a launch.
struct SampleState {
    u32 found;    // scores that reached the bound
    u32 tickets;  // thread blocks that have finished
};

struct SampleCandidate {
    u32 id;
    u32 score;  // bits of the f32; in the scratch buffer `found`, the key
};

constexpr u32 MAX_KEPT = 508;  // candidates per row

// Result for the host, 4096 bytes per row. Only the first 32 + 8 * kept are defined.
struct SampleAnswer {
    u32 status;  // WHOLE_ROW or CANDIDATES
    u32 kept;    // number of candidates; 0 with WHOLE_ROW
    u32 unused[6];
    SampleCandidate candidates[MAX_KEPT];  // unordered: the host sorts them by id
};
CHECK_LAYOUT_SampleAnswer;

// WHOLE_ROW: the host must read all logits of the row, which are unchanged. The causes are: no
// request; a logit below `allowed` is NaN or +inf; the best score is not finite; or so many scores
// are equal or close to the bound that the scratch buffer or the result is too small.
constexpr u32 WHOLE_ROW = 0, CANDIDATES = 1;

// 80 bytes, passed by value.
struct SampleCutArgs {
    const float* logits;         // [rows, logits_stride]
    const SampleParams* params;  // [rows]
    const u32* history;          // [rows, history_stride] ids; any order, repetitions, any value
    u32* keys;                   // [rows, vocab] scratch
    u32* maxima;                 // [rows, MAX_RUNS] scratch
    SampleCandidate* found;      // [rows, MAX_FOUND] scratch
    SampleState* states;         // [rows]
    SampleAnswer* answers;       // [rows], in device memory or mapped host memory
    u32 logits_stride, history_stride, vocab;
};
CHECK_LAYOUT_SampleCutArgs;

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;
constexpr u32 PER_THREAD = 4, TILE = THREADS * PER_THREAD;  // scores per thread and per block
// A run: the scores of 16 neighbouring lanes.
constexpr u32 RUN_LANES = 16, RUNS = THREADS / RUN_LANES;  // lanes per run, runs per block
constexpr u32 MAX_RUNS = 2048;                             // so vocab is at most 131 072
constexpr u32 MAX_FOUND = 2048;

// Keys are unsigned integers in the order of the scores; -0 and +0 have the same key. 0 is below
// every score: the id is not a candidate.
constexpr u32 NOT_A_CANDIDATE = 0, LOWEST_FINITE = 0x00800000u, PLUS_INFINITY = 0xff800000u;
constexpr u32 INVALID = 0xffffffffu, SIGN = 0x80000000u;

__device__ __forceinline__ u32 key_of(float score) {
    const u32 bits = __float_as_uint(score);
    if (bits == SIGN) return SIGN;  // -0, as +0
    return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ __forceinline__ u32 bits_of(u32 key) { return key & SIGN ? key ^ SIGN : ~key; }

// sample_score: keys[id] = key(penalized(logits[id]) / temperature), and the largest key of every
// run of 64 scores. penalized(x) is x < 0 ? x * penalty : x / penalty for ids in the history, else
// x.
//   args SampleCutArgs; writes keys, and RUNS * gridDim.x maxima per row
//   grid (ceil(vocab / 1024), rows), at most 128 tiles   block 256   shared 128 B   sm_75+
//   cost reads and writes 4 * vocab bytes, usually in L2, and the history per block: microseconds
//   pair crates/moss-cuda/src/top_k.rs
extern "C" __global__ void __launch_bounds__(THREADS) sample_score(
    const __grid_constant__ SampleCutArgs a) {
    __shared__ u32 seen[TILE / 32];  // one bit per id of the tile
    griddepcontrol_launch_dependents();
    griddepcontrol_wait();
    const u32 row = blockIdx.y, first = blockIdx.x * TILE, lane = threadIdx.x % WARP;
    const SampleParams p = a.params[row];
    if (p.top_k == 0) return;
    const u32 limit = min(p.allowed, a.vocab);
    float x[PER_THREAD];  // in flight while the history is read
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u32 id = first + i * THREADS + threadIdx.x;
        x[i] = id < limit ? a.logits[u64(row) * a.logits_stride + id] : 0.f;
    }
    const bool has_penalty = p.repetition_penalty != 1.f;
    if (has_penalty) {  // bits, so that repeated ids in the history are penalized once
        for (u32 word = threadIdx.x; word < TILE / 32; word += THREADS) seen[word] = 0;
        __syncthreads();
        for (u32 i = threadIdx.x; i < p.history_len; i += THREADS) {
            // Wraps around to a large number for ids below the tile.
            const u32 at = a.history[u64(row) * a.history_stride + i] - first;
            if (at < TILE) atomicOr(&seen[at / 32], 1u << at % 32);
        }
        __syncthreads();
    }
    u32 best = NOT_A_CANDIDATE;
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u32 at = i * THREADS + threadIdx.x, id = first + at;
        float score = x[i];
        if (has_penalty && seen[at / 32] >> at % 32 & 1) {
            score = score < 0.f ? __fmul_rn(score, p.repetition_penalty)
                                : __fdiv_rn(score, p.repetition_penalty);
        }
        if (p.temperature != 0.f) score = __fdiv_rn(score, p.temperature);
        const bool is_invalid = isnan(x[i]) || x[i] == INFINITY;
        const u32 key = id >= limit ? NOT_A_CANDIDATE : is_invalid ? INVALID : key_of(score);
        if (id < a.vocab) a.keys[u64(row) * a.vocab + id] = key;
        best = max(best, key);
    }
#pragma unroll
    for (u32 step = RUN_LANES / 2; step > 0; step /= 2)
        best = max(best, __shfl_xor_sync(~0u, best, step));
    if (lane % RUN_LANES == 0)
        a.maxima[row * MAX_RUNS + blockIdx.x * RUNS + threadIdx.x / RUN_LANES] = best;
}

// Counts the keys that reach `bound`. All threads get the result. Calls alternate between two rows
// of `counts`, so that one barrier per call suffices.
__device__ __forceinline__ u32 count_reaching(const u32* keys, u32 n, u32 bound,
                                              u32 (*counts)[WARPS], u32& calls) {
    const u32 warp = threadIdx.x / WARP;
    u32 count = 0;
    for (u32 from = 0; from < n; from += THREADS) {
        const u32 i = from + threadIdx.x;
        count += __popc(__ballot_sync(~0u, i < n && keys[i] >= bound));
    }
    u32* own_counts = counts[calls++ % 2];
    if (threadIdx.x % WARP == 0) own_counts[warp] = count;
    __syncthreads();
    count = 0;
#pragma unroll
    for (u32 w = 0; w < WARPS; ++w) count += own_counts[w];
    return count;
}

// Writes the status of a row, by one thread.
__device__ __forceinline__ void write_status(SampleAnswer& answer, u32 kept) {
    const bool fits = kept > 0 && kept <= MAX_KEPT;
    answer.status = fits ? CANDIDATES : WHOLE_ROW;
    answer.kept = fits ? kept : 0;
}

// sample_cut: answer = {(id, score): score >= the top_k-th largest score, score finite}.
//   If the maxima of top_k runs reach a bound, so do top_k scores, and scores below it are not
//   candidates. Every block computes such a bound from all maxima, by a radix search over the upper
//   20 bits (the lower 12 would exclude hardly any score), and collects the scores of its tile that
//   reach it. The last block to finish keeps a score if fewer than top_k collected scores are
//   larger: the top-k and its ties.
//   args SampleCutArgs, after sample_score; writes found, states and answers
//   grid, block as of sample_score   shared 8.3 KB   sm_75+
//   cost a count over 16 maxima per tile for each of 22 bounds, then the square of the number of
//   collected scores, slightly more than top_k: microseconds
//   pair crates/moss-cuda/src/top_k.rs
extern "C" __global__ void __launch_bounds__(THREADS) sample_cut(
    const __grid_constant__ SampleCutArgs a) {
    // First the maxima, then the keys of the collected scores.
    __shared__ u32 pool[MAX_RUNS > MAX_FOUND ? MAX_RUNS : MAX_FOUND];
    __shared__ u32 counts[2][WARPS];
    __shared__ u32 found, kept;
    __shared__ bool is_last;
    griddepcontrol_launch_dependents();
    griddepcontrol_wait();
    const u32 row = blockIdx.y, first = blockIdx.x * TILE, runs = gridDim.x * RUNS;
    const u32 top_k = a.params[row].top_k;
    SampleState& state = a.states[row];
    SampleAnswer& answer = a.answers[row];
    // Writes the result if all blocks return early.
    const bool is_first_thread = blockIdx.x == 0 && threadIdx.x == 0;
    if (top_k == 0) {
        if (is_first_thread) write_status(answer, 0);
        return;
    }
    for (u32 i = threadIdx.x; i < runs; i += THREADS) pool[i] = a.maxima[row * MAX_RUNS + i];
    __syncthreads();

    u32 calls = 0;
    const bool overflows = count_reaching(pool, runs, PLUS_INFINITY, counts, calls) > 0;
    const bool is_empty = count_reaching(pool, runs, LOWEST_FINITE, counts, calls) == 0;
    if (overflows || is_empty) {
        if (is_first_thread) write_status(answer, 0);
        return;
    }
    u32 bound = 0;
    for (u32 bit = 31; bit >= 12; --bit) {
        const u32 higher = bound | 1u << bit;
        if (count_reaching(pool, runs, higher, counts, calls) >= top_k) bound = higher;
    }
    bound = max(bound, LOWEST_FINITE);  // if there are fewer than top_k runs; excludes -inf

    SampleCandidate* list = a.found + u64(row) * MAX_FOUND;
    if (pool[blockIdx.x * RUNS + threadIdx.x / RUN_LANES] >= bound) {
        for (u32 i = 0; i < PER_THREAD; ++i) {
            const u32 id = first + i * THREADS + threadIdx.x;
            const u32 key = id < a.vocab ? a.keys[u64(row) * a.vocab + id] : NOT_A_CANDIDATE;
            if (key < bound) continue;
            const u32 at = atomicAdd(&state.found, 1u);
            if (at < MAX_FOUND) __stcg(reinterpret_cast<uint2*>(list + at), make_uint2(id, key));
        }
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        is_last = atomicAdd(&state.tickets, 1u) == gridDim.x - 1;
        if (is_last) {
            __threadfence();
            found = __ldcg(&state.found), kept = 0;
            state.found = 0, state.tickets = 0;
        }
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    if (found > MAX_FOUND) {
        if (threadIdx.x == 0) write_status(answer, 0);
        return;
    }
    for (u32 i = threadIdx.x; i < found; i += THREADS) pool[i] = __ldcg(&list[i].score);
    __syncthreads();
    for (u32 i = threadIdx.x; i < found; i += THREADS) {
        const u32 key = pool[i];
        u32 larger = 0;
        for (u32 other = 0; other < found; ++other) larger += pool[other] > key;
        if (larger >= top_k) continue;
        const u32 at = atomicAdd(&kept, 1u);
        if (at < MAX_KEPT) answer.candidates[at] = {__ldcg(&list[i].id), bits_of(key)};
    }
    __syncthreads();
    if (threadIdx.x == 0) write_status(answer, kept);
}
