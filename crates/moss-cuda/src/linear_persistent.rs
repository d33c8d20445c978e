//! The decode kernels of packed weights for few tokens whose thread blocks compute one tile of
//! outputs after another: [qkv_proj | fc_in], and single matrices.

use moss_weights::KernelError;

use crate::{
    args::{DecodeLinearArgs, Epilogue, LinearArgs},
    contract::count,
    gpu_info::GpuInfo,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{SLICES, TILE},
    linear_args::{OP, PairLaunch},
    weights::Format,
};

/// Threads of a block: a warp per slice of the inputs, and one that stores.
const THREADS: u32 = 32 * (SLICES as u32 + 1);

/// A kernel and what it requires.
struct Variant {
    kernel: Kernel<DecodeLinearArgs>,
    /// Thread blocks per multiprocessor, as in the launch bounds of the kernel.
    blocks: u32,
    /// Blocks of inputs that are added before scaling, `Segment::unit_blocks`.
    unit_blocks: u32,
    /// Units that a slice has a multiple of.
    ring: u32,
    /// Tiles of outputs computed at a time.
    tiles: usize,
}

impl Variant {
    /// Returns the kernel for `n` tokens, if there is one that is faster than those of `linear.rs`.
    fn for_tokens(format: Format, n: usize, capability: u32) -> Option<Self> {
        match (format, n) {
            (Format::Int8, 1..=8) => Some(Self {
                kernel: Kernel::PERSISTENT_INT8_N8,
                blocks: 3,
                unit_blocks: 1,
                ring: 2,
                tiles: 1,
            }),
            (Format::Int4, 1..=8) => Some(Self {
                kernel: Kernel::PERSISTENT_INT4_N8,
                blocks: 3,
                unit_blocks: 2,
                ring: 2,
                tiles: 1,
            }),
            // Two thread blocks need 72 KB of shared memory; a multiprocessor of sm_75 has 64.
            (Format::Int4, 9..=16) if capability >= 80 => Some(Self {
                kernel: Kernel::PERSISTENT_INT4_N16,
                blocks: 2,
                unit_blocks: 2,
                ring: 1,
                tiles: 2,
            }),
            _ => None,
        }
    }

    /// Returns `true` if the kernel can compute this launch with `outputs` of each matrix: no sum of
    /// two matrices, equal and whole slices, and whole groups of tiles.
    fn fits(&self, args: &LinearArgs, outputs: &[usize]) -> bool {
        let mut segments = args.segments.iter().filter(|segment| segment.blocks > 0);
        let slices = self.unit_blocks * self.ring * SLICES as u32;
        let inputs = segments.clone().map(|segment| segment.blocks).min();
        args.epilogue != Epilogue::Residual
            && segments.all(|segment| {
                segment.unit_blocks == self.unit_blocks
                    && segment.blocks.is_multiple_of(slices)
                    && Some(segment.blocks) == inputs
            })
            && outputs
                .iter()
                .all(|outputs| outputs.div_ceil(TILE).is_multiple_of(self.tiles))
            && args.tile_offset.is_multiple_of(self.tiles as u32)
    }
}

/// Enqueues the product of `n` tokens if one of these kernels is made for it. Returns `false`
/// otherwise.
pub(crate) fn launch(
    call: &Call<'_>,
    pass: &PairLaunch<'_>,
    n: usize,
    gpu: &GpuInfo,
) -> Result<bool, KernelError> {
    let outputs: Vec<usize> = pass.outputs().collect();
    let variant = Variant::for_tokens(pass.format, n, gpu.capability);
    let Some(variant) = variant.filter(|variant| variant.fits(&pass.args, &outputs)) else {
        return Ok(false);
    };
    let tiles: usize = outputs.iter().map(|outputs| outputs.div_ceil(TILE)).sum();
    let groups = count(OP, "tiles", tiles / variant.tiles)?;
    let geometry = Geometry {
        grid: (groups.min(gpu.multiprocessors * variant.blocks), 1, 1),
        block: THREADS,
    };
    let args = DecodeLinearArgs {
        linear: pass.args,
        tiles: count(OP, "tiles", tiles)?,
    };
    call.launch(variant.kernel, geometry, &args)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::{In, Out},
        args::{Heads, Segment},
    };

    fn args(blocks: [u32; 2], unit_blocks: u32, epilogue: Epilogue) -> LinearArgs {
        let segment = |blocks| Segment {
            blocks,
            unit_blocks,
            ..Segment::NONE
        };
        LinearArgs {
            segments: blocks.map(segment),
            first_tiles: 0,
            tile_offset: 0,
            rows: 0,
            n: 1,
            epilogue,
            layer: 0,
            out_stride: 0,
            out: Out::NULL,
            bias: In::NULL,
            non_finite: Out::NULL,
            heads: Heads::NONE,
        }
    }

    fn fits(format: Format, n: usize, args: &LinearArgs, outputs: &[usize]) -> bool {
        Variant::for_tokens(format, n, 90).is_some_and(|variant| variant.fits(args, outputs))
    }

    #[test]
    fn products_of_moss_fit_up_to_eight_tokens_and_sixteen_in_int4() {
        let int4 = args([96, 96], 2, Epilogue::QkvRopeGelu);
        let int8 = args([96, 96], 1, Epilogue::QkvRopeGelu);
        let outputs = [3 * 6144, 24576];
        for n in [1, 8, 9, 16, 17] {
            assert_eq!(fits(Format::Int4, n, &int4, &outputs), n <= 16, "{n}");
            assert_eq!(fits(Format::Int8, n, &int8, &outputs), n <= 8, "{n}");
            assert!(!fits(Format::F16, n, &int8, &outputs));
        }
    }

    #[test]
    fn sixteen_tokens_need_more_shared_memory_than_sm_75_has() {
        let has_kernel = |n, capability| Variant::for_tokens(Format::Int4, n, capability).is_some();
        assert!(has_kernel(8, 75) && !has_kernel(9, 75) && has_kernel(9, 80));
    }

    #[test]
    fn slices_of_unequal_size_and_sums_of_two_matrices_do_not_fit() {
        let outputs = [3 * 6144, 24576];
        for (blocks, unit_blocks) in [([95, 95], 1), ([88, 88], 2), ([96, 384], 2), ([96, 96], 1)] {
            let args = args(blocks, unit_blocks, Epilogue::QkvRopeGelu);
            assert!(!fits(Format::Int4, 1, &args, &outputs), "{blocks:?}");
        }
        let sum = args([96, 384], 2, Epilogue::Residual);
        assert!(!fits(Format::Int4, 1, &sum, &[6144]));
    }

    #[test]
    fn an_odd_number_of_tiles_fits_only_kernels_that_compute_one_at_a_time() {
        let args = args([96, 0], 2, Epilogue::Store);
        assert!(fits(Format::Int4, 8, &args, &[48]));
        assert!(!fits(Format::Int4, 9, &args, &[48]));
        assert!(fits(Format::Int4, 9, &args, &[64]));
    }
}
