// embedding: x = table[id], the first hidden states, and reset of the non-finite report.
//
//   table  f16 [vocabulary, table_stride]
//   ids    u32 [tokens]
//   x      f32 [tokens, hidden]
//   grid one block per token   block 256   sm_75+
//   pair crates/moss-cuda/src/elementwise.rs
#include "common/types.cuh"

extern "C" __global__ void __launch_bounds__(256) embedding(const half* __restrict__ table,
                                                            u32 table_stride,
                                                            const u32* __restrict__ ids,
                                                            float* __restrict__ x, u32 hidden,
                                                            u64* non_finite) {
    griddepcontrol_launch_dependents();
    griddepcontrol_wait();
    // Null for later micro-batches of the same forward batch: they keep the report.
    if (non_finite && blockIdx.x == 0 && threadIdx.x == 0) *non_finite = ~0ull;
    const half* from = table + u64(ids[blockIdx.x]) * table_stride;
    for (u32 i = threadIdx.x; i < hidden; i += blockDim.x)
        x[u64(blockIdx.x) * hidden + i] = __half2float(from[i]);
}
