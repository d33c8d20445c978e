//! Rounding of keys and values to 8 bits.

use moss_weights::{KernelError, Rule};

use crate::{
    args::KvQuantizeArgs,
    buffer::View,
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    kv_blocks::KvBlocks,
    launch::{Call, Geometry},
    layout::{BLOCK_POSITIONS, KvFormat},
};

const OP: &str = "kv quantize";

/// Threads of a block, and the heads that it rounds.
const THREADS: u32 = 128;
const HEADS: u32 = THREADS / 32;

impl Gpu {
    /// Rounds the keys and values of `n` tokens, which `from` has at slots 0, 1, 2, …, to 8 bits and
    /// writes them to `slots` of `cache`. A slot may be [`NO_SLOT`](crate::NO_SLOT). The caller
    /// guarantees that the others are in the cache.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short or has another format;
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn kv_quantize(
        &self,
        from: &KvBlocks,
        cache: &KvBlocks,
        slots: View<'_, u32>,
        n: usize,
    ) -> Result<(), KernelError> {
        let call = Call::new(self, OP);
        from.expect_format(OP, KvFormat::F16)?;
        cache.expect_format(OP, KvFormat::Int8)?;
        let same = (from.heads, from.stride) == (cache.heads, cache.stride);
        let expected = Rule::HeadsOfStride {
            heads: cache.heads,
            stride: cache.stride,
        };
        rule(OP, "heads", from.heads, same, expected)?;
        let blocks = n.div_ceil(BLOCK_POSITIONS);
        let rows = blocks * BLOCK_POSITIONS * from.heads * from.stride;
        let args = KvQuantizeArgs {
            keys: call.input("keys", from.keys(), rows)?,
            values: call.input("values", from.values(), rows)?,
            slots: call.input("slots", slots, n)?,
            key_cache: call.output("key cache", cache.keys(), cache.keys().len())?,
            value_cache: call.output("value cache", cache.values(), cache.values().len())?,
            heads: count(OP, "heads", cache.heads)?,
            stride: count(OP, "stride", cache.stride)?,
        };
        let geometry = Geometry {
            grid: (args.heads.div_ceil(HEADS), count(OP, "tokens", n)?, 2),
            block: THREADS,
        };
        call.launch(Kernel::<KvQuantizeArgs>::KV_QUANTIZE, geometry, &args)
    }
}
