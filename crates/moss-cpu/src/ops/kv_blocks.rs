//! Copies of whole blocks of the KV cache to and from bytes.

use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, Tensor};

use super::KvLayer;
use crate::{KernelError, Rule};

const OP: &str = "kv block";

/// Evaluates an expression with the values of a storage of a cache's type, or the last block.
macro_rules! with_block_type {
    ($storage:expr, $values:ident => $run:expr, $otherwise:block) => {
        match $storage {
            CpuStorage::F32($values) => $run,
            CpuStorage::F16($values) => $run,
            CpuStorage::BF16($values) => $run,
            CpuStorage::U8($values) => $run,
            _ => $otherwise,
        }
    };
}

impl KvLayer {
    /// Returns the bytes of a block: its keys, then its values.
    pub fn block_bytes(&self) -> usize {
        2 * self.block_len() * self.keys.dtype().size_in_bytes()
    }

    /// Appends the keys and then the values of a block to `out`, `[num_heads, block_size, head_dim]`
    /// each, in little-endian order.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block past the cache.
    pub fn read_block(&self, block: usize, out: &mut Vec<u8>) -> Result<(), KernelError> {
        let start = self.block_start(block)?;
        for tensor in [&self.keys, &self.values] {
            let (storage, layout) = tensor.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else {
                return Err(KernelError::Dtype {
                    op: OP,
                    arg: "device",
                    found: "GPU",
                });
            };
            let range = layout.start_offset() + start..;
            let len = self.block_len();
            with_block_type!(storage, values => append(&values[range][..len], out), {
                return Err(wrong_type(tensor));
            });
        }
        Ok(())
    }

    /// Replaces a block by the bytes that [`KvLayer::read_block`] appended.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block past the cache or another number of bytes.
    pub fn write_block(&self, block: usize, bytes: &[u8]) -> Result<(), KernelError> {
        let start = self.block_start(block)?;
        let (found, expected) = (bytes.len(), self.block_bytes());
        if found != expected {
            let rule = Rule::Exactly(expected);
            return Err(KernelError::Argument {
                op: OP,
                arg: "bytes",
                found,
                rule,
            });
        }
        let (keys, values) = bytes.split_at(expected / 2);
        self.keys.inplace_op1(&Overwrite { start, bytes: keys })?;
        let bytes = values;
        Ok(self.values.inplace_op1(&Overwrite { start, bytes })?)
    }

    /// Returns the values of a block's keys.
    fn block_len(&self) -> usize {
        self.keys.dims().iter().skip(1).product()
    }

    /// Returns the index of the first value of a block.
    fn block_start(&self, block: usize) -> Result<usize, KernelError> {
        let num_blocks = self.extents.num_blocks;
        if block >= num_blocks {
            let rule = Rule::Below(num_blocks);
            return Err(KernelError::Argument {
                op: OP,
                arg: "block",
                found: block,
                rule,
            });
        }
        Ok(block * self.block_len())
    }
}

/// Replaces the values from `start` on.
struct Overwrite<'a> {
    start: usize,
    bytes: &'a [u8],
}

impl InplaceOp1 for Overwrite<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = layout.start_offset() + self.start..;
        with_block_type!(storage, values => overwrite(&mut values[range], self.bytes), {
            candle_core::bail!("an unknown type of cache")
        });
        Ok(())
    }
}

/// A type of the cache.
trait CacheValue: Copy {
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
    fn to_bytes(self) -> Self::Bytes;
    fn from_bytes(bytes: Self::Bytes) -> Self;
}

macro_rules! cache_value {
    ($($kind:ty),+) => {$(
        impl CacheValue for $kind {
            type Bytes = [u8; size_of::<$kind>()];

            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    )+};
}

cache_value!(f32, half::f16, half::bf16, u8);

fn append<T: CacheValue>(values: &[T], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + size_of_val(values), 0);
    for (value, bytes) in values
        .iter()
        .zip(out[at..].chunks_exact_mut(size_of::<T>()))
    {
        bytes.copy_from_slice(value.to_bytes().as_ref());
    }
}

/// `bytes` are at most as many as those of `values`.
fn overwrite<T: CacheValue>(values: &mut [T], bytes: &[u8]) {
    for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
        if let Ok(bytes) = bytes.try_into() {
            *value = T::from_bytes(bytes);
        }
    }
}

fn wrong_type(tensor: &Tensor) -> KernelError {
    KernelError::Dtype {
        op: OP,
        arg: "cache",
        found: tensor.dtype().as_str(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::ops::kv_write;

    const BLOCK: usize = 4;

    fn cache(dtype: DType) -> KvLayer {
        KvLayer::zeros(3, 2, BLOCK, 8, dtype, &Device::Cpu).unwrap()
    }

    /// Fills the slots of a block with values that differ.
    fn fill(cache: &KvLayer, block: u32) {
        let shape = (BLOCK, 2, 8);
        let rows = Tensor::arange(0f32, 64.0, &Device::Cpu).unwrap();
        let rows = rows.reshape(shape).unwrap();
        let rows = rows.to_dtype(cache.keys.dtype()).unwrap();
        let slots: Vec<u32> = (0..4).map(|offset| block * 4 + offset).collect();
        kv_write(cache, &rows, &(&rows * 2.0).unwrap(), &slots).unwrap();
    }

    #[test]
    fn a_block_moves_to_another_cache_with_equal_bits_and_touches_no_other() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let (from, to) = (cache(dtype), cache(dtype));
            fill(&from, 1);
            let mut bytes = Vec::new();
            from.read_block(1, &mut bytes).unwrap();
            assert_eq!(bytes.len(), from.block_bytes());
            to.write_block(2, &bytes).unwrap();
            let (mut found, mut others) = (Vec::new(), Vec::new());
            to.read_block(2, &mut found).unwrap();
            assert_eq!(found, bytes);
            to.read_block(0, &mut others).unwrap();
            to.read_block(1, &mut others).unwrap();
            assert!(others.iter().all(|byte| *byte == 0));
            // Keys first: the second half has twice the values.
            let last = to
                .values
                .flatten_all()
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            assert_eq!(last.to_vec1::<f32>().unwrap().last(), Some(&126.0));
        }
    }

    #[test]
    fn blocks_past_the_cache_and_other_lengths_are_rejected() {
        let cache = cache(DType::F32);
        assert!(cache.read_block(3, &mut Vec::new()).is_err());
        let bytes = vec![0; cache.block_bytes()];
        assert!(cache.write_block(3, &bytes).is_err());
        assert!(cache.write_block(0, &bytes[1..]).is_err());
        assert!(cache.write_block(0, &[]).is_err());
    }
}
