// copy_runs: up to four runs of words between page-locked memory of the host and the card, in one
// launch.
//   from, to  4-byte aligned addresses that the card reaches, host memory over the bus; runs do not overlap
//   grid (ceil(words of the longest run / 1024), runs)   block 256   shared 0 B   sm_75+
//   cost two ways over the bus, about 2 us in all; a graph's own copy nodes take 3 to 4 us for each run
//   pair crates/moss-kernels/src/cuda/copy_runs.rs
#include "common/types.cuh"

// Mirrored by the structs of the same names in crates/moss-kernels/src/cuda/args.rs.
struct CopyRun {
    const u32* from;
    u32* to;
    u64 words;
};
struct CopyRunsArgs {
    CopyRun runs[4];
};

constexpr u32 THREADS = 256, EACH = 4;

extern "C" __global__ void __launch_bounds__(THREADS) copy_runs(
    const __grid_constant__ CopyRunsArgs a) {
    wait_for_previous();  // the next one waits for this whole grid
    const CopyRun run = a.runs[blockIdx.y];
    const u64 first = u64(blockIdx.x) * THREADS * EACH + threadIdx.x;
    u32 words[EACH];  // all under way before the first is stored
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) {
        const u64 at = first + i * THREADS;
        if (at < run.words)
            words[i] = __ldcv(run.from + at);  // the host has written since: nothing a cache holds
    }
#pragma unroll
    for (u32 i = 0; i < EACH; ++i) {
        const u64 at = first + i * THREADS;
        if (at < run.words) run.to[at] = words[i];
    }
}
