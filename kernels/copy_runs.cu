// copy_runs: batched memcpy of up to four runs of words between pinned host memory and the GPU, in
// one launch.
//
//   from, to  4-byte aligned addresses that the GPU can access, host memory over the bus; the runs
//             must not overlap
//   grid (ceil(words of the longest run / 1024) or its rows, runs), at most 256 in x   block 256
//   shared 4 B   sm_75+
//   cost two transfers over the bus, about 2 us in all, and one more with counted rows; a memcpy node
//   of a CUDA graph takes 3 to 4 us per run
//   pair crates/moss-cuda/src/batched_memcpy.rs
#include "common/layouts.cuh"
#include "common/types.cuh"

// Mirrored by the structs of the same names in crates/moss-cuda/src/args.
struct CopyRun {
    const u32* from;
    u32* to;
    u64 words;
    // Not 0: the words are rows of this length, of which only as many words are copied as the first
    // word of a row says, itself included. A counter for all rows would be slow: reads of the same
    // word by several blocks take 1 us one after the other (measured on an H200).
    u64 row_words;
};
CHECK_LAYOUT_CopyRun;
struct CopyRunsArgs {
    CopyRun runs[4];
};
CHECK_LAYOUT_CopyRunsArgs;

constexpr u32 THREADS = 256, PER_THREAD = 4, TILE = THREADS * PER_THREAD;

extern "C" __global__ void __launch_bounds__(THREADS) copy_runs(
    const __grid_constant__ CopyRunsArgs a) {
    __shared__ u32 counter;
    // Without launch_dependents, the next kernel starts when this one has finished.
    griddepcontrol_wait();
    const CopyRun run = a.runs[blockIdx.y];
    const u64 part = run.row_words ? run.row_words : TILE;
    for (u64 start = blockIdx.x * part; start < run.words; start += gridDim.x * part) {
        u64 end = min(start + part, run.words);
        if (run.row_words) {
            __syncthreads();  // the counter of the last row has been read
            if (threadIdx.x == 0) counter = __ldcv(run.from + start);
            __syncthreads();
            end = min(end, start + counter);
        }
        for (u64 first = start + threadIdx.x; first < end; first += TILE) {
            u32 words[PER_THREAD];  // all loads are in flight before the first store
#pragma unroll
            for (u32 i = 0; i < PER_THREAD; ++i) {
                const u64 at = first + i * THREADS;
                if (at < end)
                    words[i] = __ldcv(run.from + at);  // uncached: the host may have written
            }
#pragma unroll
            for (u32 i = 0; i < PER_THREAD; ++i) {
                const u64 at = first + i * THREADS;
                if (at < end) run.to[at] = words[i];
            }
        }
    }
}
