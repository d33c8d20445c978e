//! KV cache of one layer: storage in blocks, written in place.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor};
use half::{bf16, f16, vec::HalfBitsVecExt};
use moss_weights::Extent;
use rayon::prelude::*;

use super::{
    check::{exactly, expect_cpu, shape_error},
    floats::with_floats,
};
use crate::{
    KernelError, Rule,
    kernels::{cpu_features, quantize_head},
};

const OP: &str = "kv_write";
const CACHE: &str = "kv cache";

/// Keys and values of one layer, `[num_blocks, num_heads, block_size, head_dim]` each: the positions
/// of a block and head are contiguous.
///
/// An 8-bit cache is `[num_blocks, num_heads * block_size * (head_dim + 2)]` bytes: a block is
/// `[num_heads, block_size, head_dim]` integers with 128 added, then `[num_heads, block_size]` scales
/// in f16. The layout on a GPU is the same, with heads padded to a multiple of 8.
#[derive(Debug)]
pub struct KvLayer {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
    pub(crate) extents: Extents,
}

/// Extents of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extents {
    pub(crate) num_blocks: usize,
    pub(crate) num_heads: usize,
    pub(crate) block_size: usize,
    pub(crate) head_dim: usize,
}

impl Extents {
    /// Returns the bytes of a block of an 8-bit cache.
    fn int8_block(&self) -> usize {
        self.num_heads * self.block_size * (self.head_dim + size_of::<f16>())
    }
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
        let extents = Extents {
            num_blocks,
            num_heads,
            block_size,
            head_dim,
        };
        let wide = if dtype == DType::F32 {
            size_of::<f32>()
        } else {
            size_of::<f16>()
        };
        let len = check_extents(extents, wide, device)?;
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
                op: CACHE,
                arg: "dtype",
                found: found.as_str(),
            }),
        };
        Ok(Self {
            keys: storage()?,
            values: storage()?,
            extents,
        })
    }

    /// Reserves storage for 8-bit integers, as [`KvLayer::zeros`] does.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for an extent of zero, or more bytes than can be allocated.
    pub fn int8(
        num_blocks: usize,
        num_heads: usize,
        block_size: usize,
        head_dim: usize,
        device: &Device,
    ) -> Result<Self, KernelError> {
        let extents = Extents {
            num_blocks,
            num_heads,
            block_size,
            head_dim,
        };
        // Two bytes per value, one more than it takes: the scales are not counted separately.
        check_extents(extents, 2, device)?;
        let shape = (num_blocks, extents.int8_block());
        let storage = || Tensor::from_vec(vec![0u8; shape.0 * shape.1], shape, device);
        Ok(Self {
            keys: storage()?,
            values: storage()?,
            extents,
        })
    }

    /// Returns a cache with these contents, `[num_blocks, num_heads, block_size, head_dim]` each.
    ///
    /// # Errors
    /// [`KernelError::Shape`] for other shapes; [`KernelError::Dtype`] for a type other than f32,
    /// f16 and bf16, or if the types of keys and values differ.
    pub fn from_tensors(keys: Tensor, values: Tensor) -> Result<Self, KernelError> {
        let &[num_blocks, num_heads, block_size, head_dim] = keys.dims() else {
            let expected = ["num_blocks", "num_heads", "block_size", "head_dim"].map(Extent::Any);
            return Err(shape_error(CACHE, "keys", &keys, expected));
        };
        if values.dims() != keys.dims() {
            return Err(shape_error(CACHE, "values", &values, exactly(&keys)));
        }
        let is_float = matches!(keys.dtype(), DType::F32 | DType::F16 | DType::BF16);
        for (arg, found, ok) in [
            ("keys", keys.dtype(), is_float),
            ("values", values.dtype(), values.dtype() == keys.dtype()),
        ] {
            if !ok {
                let found = found.as_str();
                return Err(KernelError::Dtype {
                    op: CACHE,
                    arg,
                    found,
                });
            }
        }
        Ok(Self {
            keys,
            values,
            extents: Extents {
                num_blocks,
                num_heads,
                block_size,
                head_dim,
            },
        })
    }

    /// Returns the stored keys and values. The first dimension of both is the block.
    pub fn contents(&self) -> [&Tensor; 2] {
        [&self.keys, &self.values]
    }

    /// Returns whether the cache stores 8-bit integers.
    fn is_int8(&self) -> bool {
        self.keys.dtype() == DType::U8
    }
}

/// Checks that keys and values of `wide` bytes each can be allocated, and returns their number.
fn check_extents(extents: Extents, wide: usize, device: &Device) -> Result<usize, KernelError> {
    expect_cpu(CACHE, device)?;
    let extents = [
        ("num_blocks", extents.num_blocks),
        ("num_heads", extents.num_heads),
        ("block_size", extents.block_size),
        ("head_dim", extents.head_dim),
    ];
    let argument = |arg, found, rule| KernelError::Argument {
        op: CACHE,
        arg,
        found,
        rule,
    };
    if let Some((arg, found)) = extents.into_iter().find(|(_, extent)| *extent == 0) {
        return Err(argument(arg, found, Rule::AtLeast(1)));
    }
    let [(arg, num_blocks), ..] = extents;
    let len = extents
        .into_iter()
        .try_fold(1usize, |len, (_, extent)| len.checked_mul(extent));
    let len = len
        .filter(|len| *len <= isize::MAX as usize / size_of::<f32>())
        .ok_or_else(|| argument(arg, num_blocks, Rule::Addressable))?;
    if !can_allocate(2 * len * wide) {
        let rule = Rule::Memory {
            needed: (2 * len * wide) as u64,
        };
        return Err(argument(arg, num_blocks, rule));
    }
    Ok(len)
}

/// Tests an allocation of so many bytes, because a failed allocation aborts the program.
fn can_allocate(bytes: usize) -> bool {
    let mut memory = Vec::<u8>::new();
    let is_reserved = memory.try_reserve_exact(bytes).is_ok();
    std::hint::black_box(memory); // or the compiler would remove the allocation
    is_reserved
}

/// Writes the keys and values of each row into the slot of its position. An 8-bit cache stores the
/// nearest integers, with a scale for the key and one for the value of each head; what a position
/// stores depends on its own key and value only.
///
/// # Shapes
/// - `keys`, `values`: `[rows, num_heads, head_dim]` in the cache's type, or any float type for an
///   8-bit cache; `slots`: `[rows]`, `block * block_size + offset`
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
    let Extents {
        num_blocks,
        num_heads,
        block_size,
        head_dim,
    } = cache.extents;
    for (arg, rows) in [("keys", keys), ("values", values)] {
        if rows.dims() != [slots.len(), num_heads, head_dim] {
            return Err(shape_error(
                OP,
                arg,
                rows,
                [slots.len().into(), num_heads.into(), head_dim.into()],
            ));
        }
        if rows.dtype() != cache.keys.dtype() && !cache.is_int8() {
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
    if slots.is_empty() {
        return Ok(());
    }
    let write = Write {
        slots,
        extents: cache.extents,
    };
    for (arg, cache_part, rows) in [
        ("keys", &cache.keys, keys),
        ("values", &cache.values, values),
    ] {
        let rows = if cache.is_int8() {
            quantized(arg, rows, cache.extents)?
        } else {
            rows.contiguous()?
        };
        cache_part.inplace_op2(&rows, &write)?;
    }
    Ok(())
}

/// Returns the rows of an 8-bit cache, `[rows, num_heads * (head_dim + 2)]`: of each head, its
/// integers and its scale.
fn quantized(arg: &'static str, rows: &Tensor, extents: Extents) -> Result<Tensor, KernelError> {
    let Extents {
        num_heads,
        head_dim,
        ..
    } = extents;
    let (isa, width) = (cpu_features(), head_dim + size_of::<f16>());
    let mut bytes = vec![0u8; rows.elem_count() / head_dim * width];
    with_floats(OP, arg, rows, |floats| {
        let rows = bytes.par_chunks_mut(num_heads * width).enumerate();
        rows.for_each_init(
            || vec![0.0f32; head_dim],
            |values, (row, bytes)| {
                for (head, bytes) in bytes.chunks_exact_mut(width).enumerate() {
                    let (integers, scale) = bytes.split_at_mut(head_dim);
                    floats.widen((row * num_heads + head) * head_dim, values);
                    scale.copy_from_slice(&quantize_head(isa, values, integers).to_le_bytes());
                }
            },
        );
    })?;
    let shape = (rows.dim(0)?, num_heads * width);
    Ok(Tensor::from_vec(bytes, shape, rows.device())?)
}

struct Write<'a> {
    slots: &'a [u32],
    extents: Extents,
}

impl Write<'_> {
    fn scatter<T: Copy>(&self, cache: &mut [T], rows: &[T]) {
        let Extents {
            num_heads,
            block_size,
            head_dim,
            ..
        } = self.extents;
        for (row, slot) in rows.chunks_exact(num_heads * head_dim).zip(self.slots) {
            let (block, offset) = (*slot as usize / block_size, *slot as usize % block_size);
            for (head, values) in row.chunks_exact(head_dim).enumerate() {
                let at = ((block * num_heads + head) * block_size + offset) * head_dim;
                cache[at..][..head_dim].copy_from_slice(values);
            }
        }
    }

    /// The same for the rows of [`quantized`].
    fn scatter_int8(&self, cache: &mut [u8], rows: &[u8]) {
        let Extents {
            num_heads,
            block_size,
            head_dim,
            ..
        } = self.extents;
        let scale_len = size_of::<f16>();
        let width = head_dim + scale_len;
        for (row, slot) in rows.chunks_exact(num_heads * width).zip(self.slots) {
            let (block, offset) = (*slot as usize / block_size, *slot as usize % block_size);
            let block = &mut cache[block * self.extents.int8_block()..];
            let (integers, scales) = block.split_at_mut(num_heads * block_size * head_dim);
            for (head, stored) in row.chunks_exact(width).enumerate() {
                let (values, scale) = stored.split_at(head_dim);
                let at = head * block_size + offset;
                integers[at * head_dim..][..head_dim].copy_from_slice(values);
                scales[at * scale_len..][..scale_len].copy_from_slice(scale);
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
            (CpuStorage::U8(cache), CpuStorage::U8(rows)) => {
                self.scatter_int8(cache, &rows[start..])
            }
            _ => candle_core::bail!("cache and rows are of different types"),
        }
        Ok(())
    }
}
