// Cuts rows of logits to the candidates that sampling needs, exactly those of
// `CutParams::candidates` in crates/moss-sampling, so that at most 4 KB of a row leave the device.
// Two launches, of one geometry, with one set of arguments:
//   sample_score   scores, as keys that order like them, and the largest key of every run of 64
//   sample_cut     a bound that a few more than top_k scores reach, the scores that do, the exact cut among those
// Nothing depends on a value that the host knows: both can stand in a graph, and what changes with
// every token is read from memory.
// `__fdiv_rn` and `__fmul_rn` are the host's division and product to the last bit, small numbers
// included: no -ftz, no fast math.
#include "common/types.cuh"

// One row's wishes. Mirrored by `SampleParams` in crates/moss-kernels/src/cuda/args.rs, as are the
// structs below; 20 bytes.
struct SampleParams {
    float repetition_penalty;  // above 0; 1 for none
    float temperature;  // 0 or above; at 0, for the best token, nothing is divided and top_k is 1
    u32 top_k;          // at least 1; 0: this row is left alone, its answer says WHOLE_ROW
    u32 allowed;        // ids below this are candidates; may be more than vocab
    u32 history_len;    // ids in the row's history, at most history_stride
};

// Zero before and after.
struct SampleState {
    u32 found;    // scores that reached the bound
    u32 tickets;  // blocks that are done
};

struct SampleCandidate {
    u32 id;
    u32 score;  // f32 bits; in the scratch `found`, the key
};

constexpr u32 MAX_KEPT = 508;  // candidates of an answer

// What goes back to the host: 4096 bytes a row, of which the first 32 + 8 * kept mean something.
struct SampleAnswer {
    u32 status;  // one of the two below
    u32 kept;    // candidates; 0 with WHOLE_ROW
    u32 unused[6];
    SampleCandidate candidates[MAX_KEPT];  // in no particular order: the host sorts by id
};

// The host needs the row itself, which is as it was: the row is not to be cut; a logit below
// `allowed` is NaN or +inf; the best score is not finite; or so many scores tie, or the best ones
// stand so close together, that the scratch or the answer is too small.
constexpr u32 WHOLE_ROW = 0, CANDIDATES = 1;

// By value, 80 bytes.
struct SampleCutArgs {
    const float* logits;         // [rows, logits_stride]
    const SampleParams* params;  // [rows]
    const u32* history;  // [rows, history_stride] ids, in any order, repeated or without a logit as
                         // they may be
    u32* keys;           // [rows, vocab] scratch
    u32* maxima;         // [rows, MAX_RUNS] scratch
    SampleCandidate* found;  // [rows, MAX_FOUND] scratch
    SampleState* states;     // [rows]
    SampleAnswer* answers;   // [rows], on the device or in mapped memory of the host
    u32 logits_stride, history_stride, vocab;
};

constexpr u32 THREADS = 256, WARPS = THREADS / WARP;
constexpr u32 EACH = 4, TILE = THREADS * EACH;  // scores of a thread, of a block
constexpr u32 RUN_LANES = 16,
              RUNS = THREADS /
                     RUN_LANES;  // a run: what 16 neighbouring lanes hold; runs of a block
constexpr u32 MAX_RUNS = 2048;   // so vocab is at most 131 072
constexpr u32 MAX_FOUND = 2048;

// Keys are unsigned and order like the scores, the two zeros being one. 0 lies below every score:
// an id that is no candidate.
constexpr u32 NOTHING = 0, LOWEST_FINITE = 0x00800000u, PLUS_INFINITY = 0xff800000u,
              DAMAGED = 0xffffffffu, SIGN = 0x80000000u;

__device__ __forceinline__ u32 key_of(float score) {
    const u32 bits = __float_as_uint(score);
    if (bits == SIGN) return SIGN;  // -0, as +0
    return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ __forceinline__ u32 bits_of(u32 key) { return key & SIGN ? key ^ SIGN : ~key; }

// sample_score: keys[id] = key((seen(id) ? (x < 0 ? x * penalty : x / penalty) : x) / temperature),
// x = logits[id]; and for every run of 64 scores the largest key.
//   args SampleCutArgs; writes keys and maxima, [RUNS * gridDim.x] of each row
//   grid (ceil(vocab / 1024), rows), 128 tiles at most   block 256   shared 128 B   sm_75+
//   cost reads and writes 4 * vocab bytes, in the L2 cache as a rule, and the history once a block: microseconds
//   pair crates/moss-kernels/src/cuda/sample_cut.rs
extern "C" __global__ void __launch_bounds__(THREADS) sample_score(
    const __grid_constant__ SampleCutArgs a) {
    __shared__ u32 seen[TILE / 32];  // a bit an id of the tile
    let_next_start();
    wait_for_previous();
    const u32 row = blockIdx.y, first = blockIdx.x * TILE, lane = threadIdx.x % WARP;
    const SampleParams p = a.params[row];
    if (p.top_k == 0) return;
    const u32 limit = min(p.allowed, a.vocab);
    float x[EACH];  // under way while the history is read
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) {
        const u32 id = first + i * THREADS + threadIdx.x;
        x[i] = id < limit ? a.logits[u64(row) * a.logits_stride + id] : 0.f;
    }
    const bool penalised = p.repetition_penalty != 1.f;
    if (penalised) {  // a bit is set once however often an id was said, so nobody has to make ids
                      // unique
        for (u32 word = threadIdx.x; word < TILE / 32; word += THREADS) seen[word] = 0;
        __syncthreads();
        for (u32 i = threadIdx.x; i < p.history_len; i += THREADS) {
            const u32 at = a.history[u64(row) * a.history_stride + i] -
                           first;  // huge below the tile
            if (at < TILE) atomicOr(&seen[at / 32], 1u << at % 32);
        }
        __syncthreads();
    }
    u32 best = NOTHING;
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) {
        const u32 at = i * THREADS + threadIdx.x, id = first + at;
        float score = x[i];
        if (penalised && seen[at / 32] >> at % 32 & 1) {
            score = score < 0.f ? __fmul_rn(score, p.repetition_penalty)
                                : __fdiv_rn(score, p.repetition_penalty);
        }
        if (p.temperature != 0.f) score = __fdiv_rn(score, p.temperature);
        const bool damaged = isnan(x[i]) || x[i] == INFINITY;
        const u32 key = id >= limit ? NOTHING : damaged ? DAMAGED : key_of(score);
        if (id < a.vocab) a.keys[u64(row) * a.vocab + id] = key;
        best = max(best, key);
    }
#pragma unroll
    for (u32 step = RUN_LANES / 2; step > 0; step /= 2)
        best = max(best, __shfl_xor_sync(~0u, best, step));
    if (lane % RUN_LANES == 0)
        a.maxima[row * MAX_RUNS + blockIdx.x * RUNS + threadIdx.x / RUN_LANES] = best;
}

// How many of `keys` reach `bound`, in every thread. Calls alternate between two rows of `counts`,
// so that one barrier a call is enough.
__device__ __forceinline__ u32 count_reaching(const u32* keys, u32 n, u32 bound,
                                              u32 (*counts)[WARPS], u32& calls) {
    const u32 warp = threadIdx.x / WARP;
    u32 count = 0;
    for (u32 from = 0; from < n; from += THREADS) {
        const u32 i = from + threadIdx.x;
        count += __popc(__ballot_sync(~0u, i < n && keys[i] >= bound));
    }
    u32* mine = counts[calls++ % 2];
    if (threadIdx.x % WARP == 0) mine[warp] = count;
    __syncthreads();
    count = 0;
#pragma unroll
    for (u32 w = 0; w < WARPS; ++w) count += mine[w];
    return count;
}

// One thread's last word on a row.
__device__ __forceinline__ void conclude(SampleAnswer& answer, u32 kept) {
    const bool fits = kept > 0 && kept <= MAX_KEPT;
    answer.status = fits ? CANDIDATES : WHOLE_ROW;
    answer.kept = fits ? kept : 0;
}

// sample_cut: answer = {(id, score): score >= the top_k-th largest score, score finite}.
//   If top_k maxima of runs reach a bound, so do top_k scores, and what does not reach it is no candidate. Every block finds such a
//   bound from all maxima, bit by bit, to 20 bits (the other 12 would spare it hardly a score), and collects those of its tile that
//   reach it. The last block to finish keeps a score if fewer than top_k of those collected are larger: top-k and its ties.
//   args SampleCutArgs, after sample_score; writes found, states and answers
//   grid, block as sample_score's   shared 8.3 KB   sm_75+
//   cost a count over 16 maxima a tile for each of 22 bounds, then the square of what was found, few more than top_k: microseconds
//   pair crates/moss-kernels/src/cuda/sample_cut.rs
extern "C" __global__ void __launch_bounds__(THREADS) sample_cut(
    const __grid_constant__ SampleCutArgs a) {
    __shared__ u32
        pool[MAX_RUNS > MAX_FOUND ? MAX_RUNS : MAX_FOUND];  // maxima, then what was found
    __shared__ u32 counts[2][WARPS];
    __shared__ u32 found, kept;
    __shared__ bool is_last;
    let_next_start();
    wait_for_previous();
    const u32 row = blockIdx.y, first = blockIdx.x * TILE, runs = gridDim.x * RUNS;
    const u32 top_k = a.params[row].top_k;
    SampleState& state = a.states[row];
    SampleAnswer& answer = a.answers[row];
    const bool speaks = blockIdx.x == 0 &&
                        threadIdx.x == 0;  // where all blocks come to the same end
    if (top_k == 0) {
        if (speaks) conclude(answer, 0);
        return;
    }
    for (u32 i = threadIdx.x; i < runs; i += THREADS) pool[i] = a.maxima[row * MAX_RUNS + i];
    __syncthreads();

    u32 calls = 0;
    const bool overflows = count_reaching(pool, runs, PLUS_INFINITY, counts, calls) > 0;
    const bool is_empty = count_reaching(pool, runs, LOWEST_FINITE, counts, calls) == 0;
    if (overflows || is_empty) {
        if (speaks) conclude(answer, 0);
        return;
    }
    u32 bound = 0;
    for (u32 bit = 31; bit >= 12; --bit) {
        const u32 higher = bound | 1u << bit;
        if (count_reaching(pool, runs, higher, counts, calls) >= top_k) bound = higher;
    }
    bound = max(bound, LOWEST_FINITE);  // fewer than top_k runs; and -inf is never a candidate

    SampleCandidate* list = a.found + u64(row) * MAX_FOUND;
    if (pool[blockIdx.x * RUNS + threadIdx.x / RUN_LANES] >= bound) {
        for (u32 i = 0; i < EACH; ++i) {
            const u32 id = first + i * THREADS + threadIdx.x;
            const u32 key = id < a.vocab ? a.keys[u64(row) * a.vocab + id] : NOTHING;
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
        if (threadIdx.x == 0) conclude(answer, 0);
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
    if (threadIdx.x == 0) conclude(answer, kept);
}
