//! Packed weights from the published layout into the kernels', on the card.

use super::{
    BLOCK, Buffer, Gpu, TILE, Uploader,
    args::DequantizeArgs,
    count,
    launch::{Geometry, Kernel, params},
    rule,
    weights::{Format, GpuLinear},
};
use crate::{GptqBits, GptqWeight, KernelError, permutation::Places};

const OP: &str = "repack";
const THREADS: u32 = 256;

fn grid(threads: usize) -> Result<(u32, u32, u32), KernelError> {
    Ok((
        count(OP, "threads", threads.div_ceil(THREADS as usize))?,
        1,
        1,
    ))
}

impl Gpu {
    /// Copies `weight` through `scratch` and lays it out in `out`; returns its table of scales and
    /// zero points.
    pub(super) fn repack(
        &self,
        weight: &GptqWeight,
        places: &Places,
        out: &Buffer<u8>,
        uploader: &mut Uploader<'_>,
        scratch: &mut Option<Buffer<u8>>,
    ) -> Result<Buffer<u8>, KernelError> {
        let (packed, zeros, scales) = (
            weight.qweight.len(),
            weight.qzeros.len(),
            weight.scales.len(),
        );
        // Every part is a whole number of words.
        let zeros_at = packed.next_multiple_of(4);
        let scales_at = zeros_at + zeros.next_multiple_of(4);
        let needed = scales_at + scales;
        let scratch = match scratch.take().filter(|buffer| buffer.len() >= needed) {
            Some(buffer) => scratch.insert(buffer),
            None => scratch.insert(self.zeros(needed)?),
        };
        uploader.copy(&weight.qweight, scratch, 0)?;
        uploader.copy(&weight.qzeros, scratch, zeros_at)?;
        uploader.copy(&weight.scales, scratch, scales_at)?;
        let list = |values: &Option<Vec<u32>>| {
            values
                .as_ref()
                .map(|values| self.upload(values))
                .transpose()
        };
        let (order, group_of) = (list(&places.order)?, list(&places.group_of)?);
        let address =
            |list: &Option<Buffer<u32>>| list.as_ref().map_or(std::ptr::null(), Buffer::ptr);

        let words = out.len() as u64 / 4;
        let (inputs, outputs) = (
            count(OP, "in_features", weight.in_features)?,
            count(OP, "out_features", weight.out_features)?,
        );
        let blocks = count(OP, "blocks", places.blocks)?;
        let (order_at, group_at, to) = (address(&order), address(&group_of), out.ptr_mut());
        let from = scratch.ptr();
        let (kernel, table_kernel) = match weight.bits {
            GptqBits::Four => (Kernel::RepackInt4, Kernel::RepackTableInt4),
            GptqBits::Eight => (Kernel::RepackInt8, Kernel::RepackTableInt8),
        };
        let geometry = Geometry {
            grid: grid(words as usize)?,
            block: THREADS,
        };
        // SAFETY: arguments as in kernels/repack.cu; `GptqWeight::check` proved the published
        // extents, which `scratch` holds; `order` has 64 entries a block; `out` was allocated for
        // `words` words.
        unsafe {
            self.launch(
                kernel,
                geometry,
                params![from, order_at, to, inputs, outputs, blocks, words],
            )?
        };

        let entries = weight.out_features.div_ceil(TILE) * places.groups * 8;
        let table: Buffer<u8> = self.zeros(entries * 8)?;
        let (zeros_from, scales_from) = (
            scratch.view(zeros_at, zeros)?.ptr(),
            scratch.view(scales_at, scales)?.ptr(),
        );
        let (to, groups, entries_u32) = (
            table.ptr_mut(),
            count(OP, "groups", places.groups)?,
            count(OP, "entries", entries)?,
        );
        let geometry = Geometry {
            grid: grid(entries)?,
            block: THREADS,
        };
        // SAFETY: as above; `group_of` has an entry a group, each below the published number of
        // groups.
        unsafe {
            self.launch(
                table_kernel,
                geometry,
                params![
                    zeros_from,
                    scales_from,
                    group_at,
                    to,
                    outputs,
                    groups,
                    entries_u32
                ],
            )?;
        }
        if order.is_some() || group_of.is_some() {
            self.synchronize()?; // the lists go at the end of this function
        }
        Ok(table)
    }

    /// Random words, `word & keep | set[i % 2]`.
    pub(super) fn fill_random(
        &self,
        out: &Buffer<u8>,
        seed: u32,
        keep: u32,
        set: [u32; 2],
    ) -> Result<(), KernelError> {
        let (to, words, [even, odd]) = (out.ptr_mut(), out.len() as u64 / 4, set);
        let geometry = Geometry {
            grid: (self.info().multiprocessors * 8, 1, 1),
            block: THREADS,
        };
        // SAFETY: arguments as in kernels/repack.cu; `out` holds `words` words.
        unsafe {
            self.launch(
                Kernel::FillRandom,
                geometry,
                params![to, words, seed, keep, even, odd],
            )
        }
    }

    /// Dequantizes tiles `first_tile..+tiles`, blocks `first_block..+panel_blocks` of a packed
    /// weight to f16 `[16 tiles, 64 panel_blocks]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit, or for a weight that is not packed.
    pub fn dequantize(
        &self,
        linear: &GpuLinear,
        (first_tile, tiles): (usize, usize),
        (first_block, panel_blocks): (usize, usize),
        out: &Buffer<half::f16>,
    ) -> Result<(), KernelError> {
        const OP: &str = "dequantize";
        rule(
            OP,
            "tiles",
            first_tile + tiles,
            first_tile + tiles <= linear.tiles(),
            format!("at most {}", linear.tiles()),
        )?;
        rule(
            OP,
            "blocks",
            first_block + panel_blocks,
            first_block + panel_blocks <= linear.blocks,
            format!("at most {}", linear.blocks),
        )?;
        let needed = tiles * TILE * panel_blocks * BLOCK;
        rule(
            OP,
            "panel",
            out.len(),
            out.len() >= needed,
            format!("at least {needed}"),
        )?;
        let kernel = match linear.format {
            Format::Int4 => Kernel::DequantizeInt4,
            Format::Int8 => Kernel::DequantizeInt8,
            Format::F16 => {
                return Err(KernelError::Argument {
                    op: OP,
                    arg: "bits",
                    found: 16,
                    rule: "4 or 8".into(),
                });
            }
        };
        let args = DequantizeArgs {
            weight: linear.weight.ptr(),
            table: linear.table.as_ref().map_or(std::ptr::null(), Buffer::ptr),
            out: out.ptr_mut(),
            blocks: count(OP, "blocks", linear.blocks)?,
            groups: count(OP, "groups", linear.groups)?,
            group_magic: linear.group_magic,
            first_tile: count(OP, "first tile", first_tile)?,
            tiles: count(OP, "tiles", tiles)?,
            first_block: count(OP, "first block", first_block)?,
            panel_blocks: count(OP, "blocks", panel_blocks)?,
        };
        let geometry = Geometry {
            grid: grid(tiles * panel_blocks * 32)?,
            block: THREADS,
        };
        // SAFETY: the only argument is `DequantizeArgs`, field for field as in
        // kernels/dequantize.cu; its extents were checked above.
        unsafe { self.launch(kernel, geometry, params![args]) }
    }
}
