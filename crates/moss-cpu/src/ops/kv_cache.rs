//! KV cache of one layer: storage in blocks, written in place.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor};
use half::{bf16, f16, vec::HalfBitsVecExt};
use moss_weights::Extent;

use super::check::{exactly, expect_cpu, shape_error};
use crate::{KernelError, Rule};

const OP: &str = "kv_write";

/// Keys and values of one layer, `[num_blocks, num_heads, block_size, head_dim]` each: the positions
/// of a block and head are contiguous.
#[derive(Debug)]
pub struct KvLayer {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

impl KvLayer {
    /// Reserves storage, which uses memory when it is first written.
    ///
    /// # Errors
    /// [`KernelError::Dtype`] for a type other than f32, f16 and bf16; [`KernelError::Argument`]
    /// for an extent of zero, or more bytes than can be allocated.
    pub fn zeros(
        num_blocks: usize,
        num_heads: usize,
        block_size: usize,
        head_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, KernelError> {
        let op = "kv cache";
        expect_cpu(op, device)?;
        let extents = [
            ("num_blocks", num_blocks),
            ("num_heads", num_heads),
            ("block_size", block_size),
            ("head_dim", head_dim),
        ];
        if let Some((arg, found)) = extents.into_iter().find(|(_, extent)| *extent == 0) {
            return Err(KernelError::Argument {
                op,
                arg,
                found,
                rule: Rule::AtLeast(1),
            });
        }
        let len = extents
            .into_iter()
            .try_fold(1usize, |len, (_, extent)| len.checked_mul(extent));
        let len = len
            .filter(|len| *len <= isize::MAX as usize / size_of::<f32>())
            .ok_or_else(|| {
                let rule = Rule::Addressable;
                KernelError::Argument {
                    op,
                    arg: "num_blocks",
                    found: num_blocks,
                    rule,
                }
            })?;
        let wide = if dtype == DType::F32 {
            size_of::<f32>()
        } else {
            size_of::<f16>()
        };
        if !can_allocate(2 * len * wide) {
            let rule = Rule::Memory {
                needed: (2 * len * wide) as u64,
            };
            return Err(KernelError::Argument {
                op,
                arg: "num_blocks",
                found: num_blocks,
                rule,
            });
        }
        let shape = (num_blocks, num_heads, block_size, head_dim);
        // `vec![0; n]` of a primitive type allocates zero pages without writing them. Of a half type
        // it would write them all.
        let storage = || match dtype {
            DType::F32 => Ok(Tensor::from_vec(vec![0f32; len], shape, device)?),
            DType::F16 => Ok(Tensor::from_vec(
                vec![0u16; len].reinterpret_into::<f16>(),
                shape,
                device,
            )?),
            DType::BF16 => Ok(Tensor::from_vec(
                vec![0u16; len].reinterpret_into::<bf16>(),
                shape,
                device,
            )?),
            found => Err(KernelError::Dtype {
                op,
                arg: "dtype",
                found: found.as_str(),
            }),
        };
        Ok(Self {
            keys: storage()?,
            values: storage()?,
        })
    }

    /// Returns a cache with these contents, `[num_blocks, num_heads, block_size, head_dim]` each.
    ///
    /// # Errors
    /// [`KernelError::Shape`] for other shapes; [`KernelError::Dtype`] for a type other than f32,
    /// f16 and bf16, or if the types of keys and values differ.
    pub fn from_tensors(keys: Tensor, values: Tensor) -> Result<Self, KernelError> {
        let op = "kv cache";
        if keys.rank() != 4 {
            let expected = ["num_blocks", "num_heads", "block_size", "head_dim"].map(Extent::Any);
            return Err(shape_error(op, "keys", &keys, expected));
        }
        if values.dims() != keys.dims() {
            return Err(shape_error(op, "values", &values, exactly(&keys)));
        }
        let is_float = matches!(keys.dtype(), DType::F32 | DType::F16 | DType::BF16);
        for (arg, found, ok) in [
            ("keys", keys.dtype(), is_float),
            ("values", values.dtype(), values.dtype() == keys.dtype()),
        ] {
            if !ok {
                let found = found.as_str();
                return Err(KernelError::Dtype { op, arg, found });
            }
        }
        Ok(Self { keys, values })
    }

    /// Returns `(num_blocks, num_heads, block_size, head_dim)`.
    pub(crate) fn extents(&self) -> Result<(usize, usize, usize, usize), KernelError> {
        Ok(self.keys.dims4()?)
    }
}

/// Tests an allocation of so many bytes, because a failed allocation aborts the program.
fn can_allocate(bytes: usize) -> bool {
    let mut memory = Vec::<u8>::new();
    let is_reserved = memory.try_reserve_exact(bytes).is_ok();
    std::hint::black_box(memory); // or the compiler would remove the allocation
    is_reserved
}

/// Writes the keys and values of each row into the slot of its position.
///
/// # Shapes
/// - `keys`, `values`: `[rows, num_heads, head_dim]` in the cache's type; `slots`: `[rows]`, `block
///   * block_size + offset`
///
/// # Errors
/// [`KernelError::Shape`] and [`KernelError::Dtype`] if keys or values do not match the cache;
/// [`KernelError::Argument`] for a slot past the cache.
pub fn kv_write(
    cache: &KvLayer,
    keys: &Tensor,
    values: &Tensor,
    slots: &[u32],
) -> Result<(), KernelError> {
    let (num_blocks, num_heads, block_size, head_dim) = cache.extents()?;
    for (arg, rows) in [("keys", keys), ("values", values)] {
        if rows.dims() != [slots.len(), num_heads, head_dim] {
            return Err(shape_error(
                OP,
                arg,
                rows,
                [slots.len().into(), num_heads.into(), head_dim.into()],
            ));
        }
        if rows.dtype() != cache.keys.dtype() {
            return Err(KernelError::Dtype {
                op: OP,
                arg,
                found: rows.dtype().as_str(),
            });
        }
    }
    if let Some(&slot) = slots
        .iter()
        .find(|slot| **slot as usize >= num_blocks * block_size)
    {
        let rule = Rule::Below(num_blocks * block_size);
        return Err(KernelError::Argument {
            op: OP,
            arg: "slot",
            found: slot as usize,
            rule,
        });
    }
    let write = Write {
        slots,
        num_heads,
        block_size,
        head_dim,
    };
    cache.keys.inplace_op2(&keys.contiguous()?, &write)?;
    cache.values.inplace_op2(&values.contiguous()?, &write)?;
    Ok(())
}

struct Write<'a> {
    slots: &'a [u32],
    num_heads: usize,
    block_size: usize,
    head_dim: usize,
}

impl Write<'_> {
    fn scatter<T: Copy>(&self, cache: &mut [T], rows: &[T]) {
        let row_len = self.num_heads * self.head_dim;
        for (row, slot) in rows.chunks_exact(row_len).zip(self.slots) {
            let (block, offset) = (
                *slot as usize / self.block_size,
                *slot as usize % self.block_size,
            );
            for (head, values) in row.chunks_exact(self.head_dim).enumerate() {
                let at =
                    ((block * self.num_heads + head) * self.block_size + offset) * self.head_dim;
                cache[at..][..self.head_dim].copy_from_slice(values);
            }
        }
    }
}

impl InplaceOp2 for Write<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        _: &Layout,
        rows: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        let start = layout.start_offset();
        match (cache, rows) {
            (CpuStorage::F32(cache), CpuStorage::F32(rows)) => self.scatter(cache, &rows[start..]),
            (CpuStorage::F16(cache), CpuStorage::F16(rows)) => self.scatter(cache, &rows[start..]),
            (CpuStorage::BF16(cache), CpuStorage::BF16(rows)) => {
                self.scatter(cache, &rows[start..])
            }
            _ => candle_core::bail!("cache and rows are of different types"),
        }
        Ok(())
    }
}
