//! Bytes of dynamic shared memory of a thread block, as the kernels of sm_90 divide it.

/// `gemm_sm90`.
pub(crate) const GEMM: u32 = 227 * 1024;

/// `attention_prefill_sm90`: the queries, and the pipeline stages of keys and values.
pub(crate) const ATTENTION_64: u32 = (16 + 4 * 16) * 1024;
pub(crate) const ATTENTION_128: u32 = (32 + 4 * 32) * 1024;
pub(crate) const ATTENTION_256: u32 = 227 * 1024;
