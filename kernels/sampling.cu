// Sampling: draws one token per row of logits, bit-identical to `SampleRequest::draw` in
// crates/moss-sampling, so that 8 bytes per row are copied to the host. Two launches:
//   sample_score  penalty and temperature; the largest score per run of 64 or 128
//   sample_draw   a lower bound that slightly more than top_k scores reach, these scores, the exact
//                 top-k of them, their weights, top-p, min-p, and the draw
// The launches do not depend on values that the host knows, so both can be captured in a CUDA
// graph: what changes with every token is read from memory.
//
// Intrinsics such as `__fdiv_rn` round as on the host, including subnormal numbers, and are not
// contracted to fused operations: the file must be compiled without -ftz and without fast math.
#include "common/layouts.cuh"
#include "common/types.cuh"

constexpr u32 MAX_STOP_IDS = 5;

// Request of one row, 64 bytes. Mirrored by `SampleParams` in crates/moss-cuda/src/args, as are
// the structs below.
struct SampleParams {
    float repetition_penalty;    // > 0; 1 disables it
    float temperature;           // >= 0; 0 for greedy decoding: no division, top_k is 1
    u32 top_k;                   // 1 to MAX_CANDIDATES; 0: no request, the status is WHOLE_ROW
    u32 allowed;                 // ids below this may be sampled; may be larger than vocab
    u32 history_len;             // ids in the row's history
    float top_p, min_p;          // 0 to 1
    u32 stop_ids[MAX_STOP_IDS];  // weights that are multiplied by stop_factor; ~0 for none
    double stop_factor;          // >= 0
    double uniform;              // random number in [0, 1)
};
CHECK_LAYOUT_SampleParams;

// WHOLE_ROW: the host must sample from all logits of the row. The causes are: no request; a logit
// below `allowed` is NaN or +inf; the best score is not finite; or so many scores are equal or
// close to the bound that there is no room for them.
constexpr u32 WHOLE_ROW = 0, SAMPLED = 1;

struct SampleResult {
    u32 status;  // WHOLE_ROW or SAMPLED
    u32 token;   // 0 with WHOLE_ROW
};
CHECK_LAYOUT_SampleResult;

// 56 bytes, passed by value.
struct SampleArgs {
    const float* logits;         // [rows, logits_stride]
    const SampleParams* params;  // [rows], written by copy_runs: read before griddepcontrol_wait
    const u32* history;          // as params; [rows, history_stride]: a word that is not used here,
                                 // then ids in any order, with repetitions, of any value
    u32* maxima;                 // [rows, MAX_RUNS] scratch
    SampleResult* results;       // [rows]
    u32 logits_stride, history_stride, vocab;
};
CHECK_LAYOUT_SampleArgs;

constexpr u32 THREADS = 256;                                // of sample_score
constexpr u32 PER_THREAD = 8, TILE = THREADS * PER_THREAD;  // scores per thread and per block
constexpr u32 DRAW_THREADS = 1024;                          // of sample_draw
constexpr u32 MAX_RUNS = DRAW_THREADS, MAX_VOCAB = 131072;
constexpr u32 MAX_FOUND = 2048, MAX_CANDIDATES = 256;

// Returns the lanes of sample_score whose scores form a run: a run has 64 or 128 scores, so that a
// row has at most MAX_RUNS runs.
__device__ __forceinline__ u32 lanes_per_run(u32 vocab) { return vocab <= MAX_VOCAB / 2 ? 8 : 16; }

// Keys are unsigned integers in the order of the scores; -0 and +0 have the same key. 0 is below
// every score: the id may not be sampled.
constexpr u32 NOT_ALLOWED = 0, LOWEST_FINITE = 0x00800000u, PLUS_INFINITY = 0xff800000u;
constexpr u32 INVALID = 0xffffffffu, SIGN = 0x80000000u;

__device__ __forceinline__ u32 key_of(float score) {
    const u32 bits = __float_as_uint(score);
    if (bits == SIGN) return SIGN;  // -0, as +0
    return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ __forceinline__ float score_of(u32 key) {
    return __uint_as_float(key & SIGN ? key ^ SIGN : ~key);
}

// Sets the bits of the ids `first..first + 32 * WORDS` that are in the history, so that repeated
// ids are penalized once. For all threads of the block; ends with a barrier.
template <u32 BLOCK, u32 WORDS>
__device__ __forceinline__ void mark_history(u32* seen, const SampleArgs& a, const SampleParams& p,
                                             u32 row, u32 first) {
    const u32* history = a.history + u64(row) * a.history_stride + 1;
    for (u32 word = threadIdx.x; word < WORDS; word += BLOCK) seen[word] = 0;
    __syncthreads();
    for (u32 i = threadIdx.x; i < p.history_len; i += BLOCK) {
        const u32 at = history[i] - first;  // large for ids below `first`
        if (at < 32 * WORDS) atomicOr(&seen[at / 32], 1u << at % 32);
    }
    __syncthreads();
}

// Returns the key of a logit after the repetition penalty.
__device__ __forceinline__ u32 penalized_key(float x, bool is_seen, float penalty) {
    if (isnan(x) || x == INFINITY) return INVALID;
    if (is_seen) x = x < 0.f ? __fmul_rn(x, penalty) : __fdiv_rn(x, penalty);
    return key_of(x);
}

// Divides the score of a key by the temperature. The result does not decrease where the key
// increases, so a maximum can be divided instead of all scores.
__device__ __forceinline__ u32 divided_key(u32 key, float temperature) {
    if (key == NOT_ALLOWED || key >= PLUS_INFINITY || temperature == 0.f) return key;
    return key_of(__fdiv_rn(score_of(key), temperature));
}

// sample_score: maxima[run] = the largest key of scores penalized(logits[id]) / temperature in a
// run. penalized(x) is x < 0 ? x * penalty : x / penalty for ids in the history, else x.
//   args SampleArgs; writes 256 / lanes_per_run * gridDim.x maxima per row
//   grid (ceil(vocab / 2048), rows), at most 64 tiles   block 256   shared 256 B   sm_75+
//   cost reads 4 * vocab bytes per row, often in L2, and the history once per block
//   pair crates/moss-cuda/src/sampling.rs
extern "C" __global__ void __launch_bounds__(THREADS) sample_score(
    const __grid_constant__ SampleArgs a) {
    __shared__ u32 seen[TILE / 32];  // one bit per id of the tile
    griddepcontrol_launch_dependents();
    const u32 row = blockIdx.y, first = blockIdx.x * TILE;
    const SampleParams& p = a.params[row];
    const bool has_request = p.top_k != 0;
    const float penalty = p.repetition_penalty, temperature = p.temperature;
    const bool has_penalty = has_request && penalty != 1.f;
    const u32 limit = min(p.allowed, a.vocab);
    if (has_penalty) mark_history<THREADS, TILE / 32>(seen, a, p, row, first);
    griddepcontrol_wait();
    if (!has_request) return;
    const float* logits = a.logits + u64(row) * a.logits_stride;
    float x[PER_THREAD];  // all loads are in flight before the first use
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u32 id = first + i * THREADS + threadIdx.x;
        x[i] = id < limit ? logits[id] : 0.f;
    }
    u32 best = NOT_ALLOWED;
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u32 at = i * THREADS + threadIdx.x;
        const bool is_seen = has_penalty && seen[at / 32] >> at % 32 & 1;
        if (first + at < limit) best = max(best, penalized_key(x[i], is_seen, penalty));
    }
    const u32 lanes = lanes_per_run(a.vocab);
    for (u32 step = lanes / 2; step > 0; step /= 2)
        best = max(best, __shfl_xor_sync(~0u, best, step));
    if (threadIdx.x % lanes == 0) {
        const u32 run = blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes;
        a.maxima[row * MAX_RUNS + run] = divided_key(best, temperature);
    }
}

// Returns the largest number without the lowest 12 bits that at least `k` values of the block's
// threads reach; 0 if there is none. The lower bits would exclude hardly any score.
__device__ __forceinline__ u32 bound_of(u32 value, u32 k) {
    u32 bound = 0;
    for (u32 bit = 31; bit >= 12; --bit) {
        const u32 higher = bound | 1u << bit;
        if (__syncthreads_count(value >= higher) >= k) bound = higher;
    }
    return bound;
}

// Adding it rounds to an integer, which is in the lowest bits of the sum.
constexpr double ROUND = 6755399441055744.0;  // 1.5 * 2^52

__device__ __forceinline__ double rounded(double x) {
    return __dsub_rn(__dadd_rn(x, ROUND), ROUND);
}

__device__ __forceinline__ double power_of_two(double exponent) {
    const u64 bits = __double_as_longlong(__dadd_rn(exponent, ROUND));
    return __longlong_as_double((bits + 1023) << 52);
}

// exp(x) for x <= 0, operation by operation as in crates/moss-sampling/src/exp.rs.
__device__ double exp_portable(double x) {
    const double LOG2_E = 1.44269504088896340736;
    const double LN_2_UPPER = __longlong_as_double(0x3fe62e42fee00000);
    const double LN_2_LOWER = __longlong_as_double(0x3dea39ef35793c76);
    constexpr double COTH[7] = {1.0 / 6.0,          -1.0 / 360.0,     1.0 / 15120.0,
                                -1.0 / 604800.0,    1.0 / 23950080.0, -691.0 / 653837184000.0,
                                1.0 / 37362124800.0};
    x = fmax(x, -746.0);
    const double exponent = rounded(__dmul_rn(x, LOG2_E));
    const double high = __dsub_rn(x, __dmul_rn(exponent, LN_2_UPPER));
    const double low = __dmul_rn(exponent, LN_2_LOWER);
    const double r = __dsub_rn(high, low), square = __dmul_rn(r, r);
    double series = 0.0;
#pragma unroll
    for (int i = 6; i >= 0; --i) series = __dadd_rn(COTH[i], __dmul_rn(square, series));
    const double rest = __dsub_rn(r, __dmul_rn(square, series));
    const double quotient = __ddiv_rn(__dmul_rn(r, rest), __dsub_rn(2.0, rest));
    const double mantissa = __dadd_rn(1.0, __dadd_rn(__dsub_rn(quotient, low), high));
    const double half = rounded(__dmul_rn(exponent, 0.5));
    return __dmul_rn(__dmul_rn(mantissa, power_of_two(half)),
                     power_of_two(__dsub_rn(exponent, half)));
}

// Candidates of a row. The order of the draw is the best first, and equal ones by descending id,
// with top_p below 1, and otherwise by ascending id.
struct Candidates {
    double by_id[MAX_CANDIDATES];     // weights by ascending id
    double ordered[MAX_CANDIDATES];   // weights in the order of the draw
    double adjusted[MAX_CANDIDATES];  // after min_p, 0 if removed, and with stop_factor
    u32 ids[MAX_CANDIDATES];          // in the order of the draw
};

// Returns the weight after min_p and the factor of stop tokens.
__device__ double adjusted_weight(double weight, u32 id, const SampleParams& p) {
    if (weight < p.min_p) return 0.0;  // changes neither a sum nor the draw
    bool is_stop = false;
#pragma unroll
    for (u32 stop = 0; stop < MAX_STOP_IDS; ++stop) is_stop |= id == p.stop_ids[stop];
    if (!is_stop) return weight;
    weight = __dmul_rn(weight, p.stop_factor);  // neither 0 nor infinite
    if (weight < 2.2250738585072014e-308) return 2.2250738585072014e-308;
    return weight > 1e300 ? 1e300 : weight;
}

// Loads of a batch are in flight before the first sum.
constexpr u32 BATCH = 8;

__device__ __forceinline__ void load_batch(double (&batch)[BATCH], const double* values, u32 first,
                                           u32 n) {
#pragma unroll
    for (u32 j = 0; j < BATCH; ++j) batch[j] = first + j < n ? values[first + j] : 0.0;
}

__device__ double sum(const double* values, u32 n) {
    double total = 0.0, batch[BATCH];
    for (u32 i = 0; i < n; i += BATCH) {
        load_batch(batch, values, i, n);
#pragma unroll
        for (u32 j = 0; j < BATCH; ++j) total = __dadd_rn(total, batch[j]);
    }
    return total;
}

// Returns the number of candidates whose weights reach `wanted`, and the sum of their adjusted
// weights.
__device__ u32 count_top_p(const Candidates& c, u32 n, double wanted, double& total) {
    double mass = 0.0, weights[BATCH], adjusted[BATCH];
    total = 0.0;
    for (u32 i = 0; i < n; i += BATCH) {
        load_batch(weights, c.ordered, i, n);
        load_batch(adjusted, c.adjusted, i, n);
#pragma unroll
        for (u32 j = 0; j < BATCH; ++j) {
            mass = __dadd_rn(mass, weights[j]);
            total = __dadd_rn(total, adjusted[j]);
            if (mass >= wanted) return i + j + 1;
        }
    }
    return n;
}

// Draws a token, by one thread, because sums are in the order of the host.
__device__ u32 draw(const Candidates& c, u32 count, const SampleParams& p) {
    double total;
    u32 kept = count;
    if (p.top_p < 1.f)
        kept = count_top_p(c, count, __dmul_rn(p.top_p, sum(c.by_id, count)), total);
    else
        total = sum(c.adjusted, count);
    double left = __dmul_rn(p.uniform, total), batch[BATCH];
    u32 drawn = 0;
    for (u32 i = 0; i < kept; i += BATCH) {
        load_batch(batch, c.adjusted, i, kept);
#pragma unroll
        for (u32 j = 0; j < BATCH; ++j) {
            left = __dsub_rn(left, batch[j]);
            // Because of rounding, the weights may sum up to less than the total.
            if (batch[j] > 0.0) drawn = i + j;
            if (left < 0.0) return c.ids[i + j];
        }
    }
    return c.ids[drawn];
}

// sample_draw: results = the tokens, or WHOLE_ROW.
//   If the maxima of top_k runs reach a bound, so do top_k scores, and scores below it are not
//   candidates. The bound is found by a radix search. A score that reaches it is a candidate if
//   fewer than top_k of them are larger: the top-k and its ties.
//   args SampleArgs, after sample_score; writes results
//   grid (rows)   block 1024   shared 43 KB   sm_75+
//   cost 20 barriers, the number of scores that reach the bound, slightly more than top_k, then
//   three sequential sums over the candidates: microseconds
//   pair crates/moss-cuda/src/sampling.rs
extern "C" __global__ void __launch_bounds__(DRAW_THREADS) sample_draw(
    const __grid_constant__ SampleArgs a) {
    __shared__ u32 seen[MAX_VOCAB / 32];
    __shared__ u32 ids[MAX_FOUND], keys[MAX_FOUND];  // scores that reach the bound
    __shared__ u32 lists[MAX_RUNS];  // runs that reach the bound, then ids and keys of candidates
    __shared__ Candidates candidates;
    __shared__ u32 run_count, found, count, best, lowest_id;
    griddepcontrol_launch_dependents();
    const u32 row = blockIdx.x, tid = threadIdx.x;
    const SampleParams p = a.params[row];
    const u32 limit = min(p.allowed, a.vocab);
    const bool has_penalty = p.top_k != 0 && p.repetition_penalty != 1.f;
    if (has_penalty) mark_history<DRAW_THREADS, MAX_VOCAB / 32>(seen, a, p, row, 0);
    if (tid == 0) run_count = 0, found = 0, count = 0, best = 0, lowest_id = ~0u;
    griddepcontrol_wait();
    SampleResult& result = a.results[row];

    const u32 lanes = lanes_per_run(a.vocab), runs_per_tile = THREADS / lanes;
    const u32 runs = (a.vocab + TILE - 1) / TILE * runs_per_tile;
    const bool has_run = p.top_k != 0 && tid < runs;
    const u32 maximum = has_run ? a.maxima[row * MAX_RUNS + tid] : NOT_ALLOWED;
    const bool overflows = __syncthreads_or(maximum >= PLUS_INFINITY);
    if (overflows || !__syncthreads_or(maximum >= LOWEST_FINITE)) {
        if (tid == 0) result = {WHOLE_ROW, 0};
        return;
    }
    // With fewer than top_k runs, the bound excludes -inf only.
    const u32 bound = max(bound_of(maximum, p.top_k), LOWEST_FINITE);
    if (maximum >= bound) lists[atomicAdd(&run_count, 1u)] = tid;
    __syncthreads();

    const float* logits = a.logits + u64(row) * a.logits_stride;
    for (u32 i = tid / lanes; i < run_count; i += DRAW_THREADS / lanes) {
        const u32 run = lists[i];
        const u32 first = run / runs_per_tile * TILE + run % runs_per_tile * lanes + tid % lanes;
        float x[PER_THREAD];
#pragma unroll
        for (u32 j = 0; j < PER_THREAD; ++j) {
            const u32 id = first + j * THREADS;
            x[j] = id < limit ? logits[id] : -INFINITY;
        }
#pragma unroll
        for (u32 j = 0; j < PER_THREAD; ++j) {
            const u32 id = first + j * THREADS;
            const bool is_seen = has_penalty && seen[id / 32] >> id % 32 & 1;
            const u32 key = divided_key(penalized_key(x[j], is_seen, p.repetition_penalty),
                                        p.temperature);
            if (key < bound) continue;
            const u32 at = atomicAdd(&found, 1u);
            if (at < MAX_FOUND) ids[at] = id, keys[at] = key;
        }
    }
    __syncthreads();

    const u32 n = found;
    if (n > MAX_FOUND) {
        if (tid == 0) result = {WHOLE_ROW, 0};
        return;
    }
    u32* candidate_ids = lists;
    u32* candidate_keys = lists + MAX_CANDIDATES;
    for (u32 i = tid; i < n; i += DRAW_THREADS) {
        const u32 key = keys[i], id = ids[i];
        u32 larger = 0;
#pragma unroll 8
        for (u32 other = 0; other < n; ++other) larger += keys[other] > key;
        if (larger >= p.top_k) continue;
        const u32 at = atomicAdd(&count, 1u);
        if (at < MAX_CANDIDATES) candidate_ids[at] = id, candidate_keys[at] = key;
        atomicMax(&best, key);
        atomicMin(&lowest_id, id);
    }
    __syncthreads();
    if (count > MAX_CANDIDATES || p.temperature == 0.f) {
        const bool fits = count <= MAX_CANDIDATES;
        if (tid == 0) result = fits ? SampleResult{SAMPLED, lowest_id} : SampleResult{WHOLE_ROW, 0};
        return;
    }
    if (tid < count) {
        const u32 id = candidate_ids[tid], key = candidate_keys[tid];
        u32 smaller_ids = 0, better = 0;
#pragma unroll 8
        for (u32 i = 0; i < count; ++i) {
            const u32 other_id = candidate_ids[i], other_key = candidate_keys[i];
            smaller_ids += other_id < id;
            better += other_key > key || (other_key == key && other_id > id);
        }
        const double weight = exp_portable(__fsub_rn(score_of(key), score_of(best)));
        const u32 at = p.top_p < 1.f ? better : smaller_ids;
        candidates.by_id[smaller_ids] = weight;
        candidates.ordered[at] = weight;
        candidates.adjusted[at] = adjusted_weight(weight, id, p);
        candidates.ids[at] = id;
    }
    __syncthreads();
    if (tid == 0) result = {SAMPLED, draw(candidates, count, p)};
}
