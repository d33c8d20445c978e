// copy_runs: batched memcpy of up to four runs of words between pinned host memory and the GPU, in
// one launch.
//
//   from, to  4-byte aligned addresses that the GPU can access, host memory over the bus; the runs
//             must not overlap
//   grid (ceil(words of the longest run / 1024), runs)   block 256   shared 0 B   sm_75+
//   cost two transfers over the bus, about 2 us in all; a memcpy node of a CUDA graph takes 3 to
//   4 us per run
//   pair crates/moss-cuda/src/batched_memcpy.rs
#include "common/layouts.cuh"
#include "common/types.cuh"

// Mirrored by the structs of the same names in crates/moss-cuda/src/args.
struct CopyRun {
    const u32* from;
    u32* to;
    u64 words;
};
CHECK_LAYOUT_CopyRun;
struct CopyRunsArgs {
    CopyRun runs[4];
};
CHECK_LAYOUT_CopyRunsArgs;

constexpr u32 THREADS = 256, PER_THREAD = 4;

extern "C" __global__ void __launch_bounds__(THREADS) copy_runs(
    const __grid_constant__ CopyRunsArgs a) {
    // Without launch_dependents, the next kernel starts when this one has finished.
    griddepcontrol_wait();
    const CopyRun run = a.runs[blockIdx.y];
    const u64 first = u64(blockIdx.x) * THREADS * PER_THREAD + threadIdx.x;
    u32 words[PER_THREAD];  // all loads are in flight before the first store
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u64 at = first + i * THREADS;
        if (at < run.words)
            words[i] = __ldcv(run.from + at);  // uncached: the host may have written
    }
#pragma unroll
    for (u32 i = 0; i < PER_THREAD; ++i) {
        const u64 at = first + i * THREADS;
        if (at < run.words) run.to[at] = words[i];
    }
}
