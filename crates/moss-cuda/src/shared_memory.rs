//! Bytes of dynamic shared memory of a thread block, as the kernels of sm_90 divide it.

/// `gemm_sm90`.
pub(crate) const GEMM: u32 = 227 * 1024;

/// `gemm_transposed_sm90`.
pub(crate) const GEMM_TRANSPOSED: u32 = 227 * 1024;

/// `linear_sm90`.
pub(crate) const LINEAR_SM90: u32 = 227 * 1024;

/// `attention_prefill_sm90`.
pub(crate) const ATTENTION_64: u32 = attention(64);
pub(crate) const ATTENTION_128: u32 = attention(128);
pub(crate) const ATTENTION_256: u32 = attention(256);

/// 128 queries and four stages of 64 positions, aligned to 1024 bytes, and the barriers.
const fn attention(head: u32) -> u32 {
    (128 + 4 * 64) * head * 2 + 2048
}
