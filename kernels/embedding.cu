// embedding: the residual stream's first value, x = table[id], and a clean slate for the non-finite
// report.
//   table f16 [vocabulary, table_stride]   ids u32 [rows]   x f32 [rows, hidden]
//   grid one block a row   block 256   sm_75+
//   pair crates/moss-kernels/src/cuda/embedding.rs
#include "common/types.cuh"

extern "C" __global__ void __launch_bounds__(256) embedding(const half* __restrict__ table,
                                                            u32 table_stride,
                                                            const u32* __restrict__ ids,
                                                            float* __restrict__ x, u32 hidden,
                                                            u64* non_finite) {
    let_next_start();
    wait_for_previous();
    if (non_finite && blockIdx.x == 0 && threadIdx.x == 0)
        *non_finite = ~0ull;  // nullptr: a later pass of the same prompt
    const half* from = table + u64(ids[blockIdx.x]) * table_stride;
    for (u32 i = threadIdx.x; i < hidden; i += blockDim.x)
        x[u64(blockIdx.x) * hidden + i] = __half2float(from[i]);
}
