//! The matrix products of prefill (GEMM) on sm_90: persistent thread blocks that copy their inputs
//! with bulk tensor copies and multiply them with `wgmma`. Here those of dense weights and more than
//! [`FEW_TOKENS`] tokens; `gemm_transposed.rs` has the others.

use moss_weights::KernelError;

use crate::{
    address::Out,
    args::{Epilogue, GemmArgs, TensorMap},
    buffer::{Buffer, View},
    contract::count,
    device::Gpu,
    gemm_transposed,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{BLOCK, TILE},
    linear_args::{OP, Operand, PairLaunch},
    tensor_map::Boxes,
    weights::Format,
};

/// Tokens and outputs of the tile that a thread block computes.
const TILE_TOKENS: usize = 128;
pub(crate) const TILE_OUTPUTS: usize = 192;

/// The most tokens of a dense weight for which `gemm_transposed.rs` is faster. The bits of the
/// results are the same.
const FEW_TOKENS: usize = 64;

/// Thread blocks of a cluster, which share the copies of their input.
pub(crate) const CLUSTER: usize = 2;

/// Parts of the inputs of a residual sum, which are added in order (split-K). The number does not
/// depend on the tokens, so that the order of sums does not.
const RESIDUAL_SLICES: usize = 4;

/// Scratch memory of the matrix products of prefill.
#[derive(Debug)]
pub struct GemmScratch {
    /// Of each tile of the output, or each warpgroup of a tile, the slice that is added next. Zero
    /// between products.
    pub(crate) semaphores: Buffer<u32>,
}

impl GemmScratch {
    /// Allocates the memory for products of up to `outputs` outputs and `tokens` tokens.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`]; [`KernelError::FewClusters`] if the kernels of sm_90 would wait
    /// for each other forever.
    pub fn new(gpu: &Gpu, outputs: usize, tokens: usize) -> Result<Self, KernelError> {
        let clusters = gpu.info().multiprocessors as usize / CLUSTER;
        for stem in ["gemm_sm90", "gemm_transposed_sm90"] {
            gpu.check_clusters(stem, clusters)?;
        }
        let tiles = if gpu.has_wgmma() {
            gemm_transposed::semaphores(output_tiles(outputs), tokens)
        } else {
            0
        };
        Ok(Self {
            semaphores: gpu.zeros(tiles)?,
        })
    }
}

/// Returns the tiles of `outputs`. The blocks of a cluster compute neighbouring tiles.
pub(crate) fn output_tiles(outputs: usize) -> usize {
    outputs.div_ceil(TILE_OUTPUTS).next_multiple_of(CLUSTER)
}

/// Returns the number of thread blocks, which share `items`: as many as run at the same time.
pub(crate) fn thread_blocks(multiprocessors: u32, items: usize) -> usize {
    let resident = multiprocessors as usize / CLUSTER * CLUSTER;
    resident.min(items.next_multiple_of(CLUSTER))
}

/// Returns the number of slices of the inputs.
pub(crate) fn slices(epilogue: Epilogue) -> usize {
    match epilogue {
        Epilogue::Residual => RESIDUAL_SLICES,
        Epilogue::Store | Epilogue::QkvRopeGelu => 1,
    }
}

/// Launches the product. `scratch` is for a residual sum.
pub(crate) fn launch<'a>(
    gpu: &Gpu,
    call: &Call<'a>,
    pass: &PairLaunch<'a>,
    n: usize,
    scratch: Option<&'a GemmScratch>,
) -> Result<(), KernelError> {
    if pass.format != Format::F16 || n <= FEW_TOKENS {
        return gemm_transposed::launch(gpu, call, pass, n, scratch);
    }
    let output_tiles: usize = pass.outputs().map(output_tiles).sum();
    let tiles = output_tiles * n.div_ceil(TILE_TOKENS);
    let slices = slices(pass.args.epilogue);
    let semaphores = match scratch {
        Some(scratch) => call.output("semaphores", &scratch.semaphores, tiles)?,
        None => Out::NULL,
    };
    let mut args = GemmArgs {
        x: [TensorMap::NONE; 2],
        weight: [TensorMap::NONE; 2],
        linear: pass.args,
        semaphores,
        slices: count(OP, "slices", slices)?,
    };
    let maps = args.x.iter_mut().zip(&mut args.weight);
    for ((x, weight), operand) in maps.zip(pass.operands) {
        let Some(operand) = operand else { continue };
        *x = input_map(call, operand, n)?;
        *weight = weight_map(call, operand)?;
    }
    let blocks = thread_blocks(gpu.info().multiprocessors, tiles * slices);
    let geometry = Geometry {
        grid: (count(OP, "thread blocks", blocks)?, 1, 1),
        block: 384,
    };
    let kernel = match pass.args.epilogue {
        Epilogue::QkvRopeGelu => Kernel::F16_ROPE_GELU,
        Epilogue::Store | Epilogue::Residual => Kernel::F16_RESIDUAL,
    };
    call.launch(kernel, geometry, &args)
}

/// Returns the map of the input: boxes of 64 tokens and one block of inputs.
fn input_map<'a>(
    call: &Call<'a>,
    operand: Operand<'a>,
    n: usize,
) -> Result<TensorMap, KernelError> {
    let Operand { linear, x } = operand;
    let boxes = Boxes {
        values: x.values.all(),
        extents: [linear.input_stride(), n],
        strides: [x.stride],
        boxed: [BLOCK as u32, 64],
    };
    call.tensor_map("input", boxes)
}

/// Returns the map of a dense weight: boxes of the outputs of a tile and one block of inputs.
pub(crate) fn weight_map<'a>(
    call: &Call<'a>,
    operand: Operand<'a>,
) -> Result<TensorMap, KernelError> {
    let linear = operand.linear;
    let boxes = Boxes {
        values: View::<half::f16>::of_bytes(&linear.weight),
        extents: [linear.input_stride(), linear.tiles() * TILE],
        strides: [linear.input_stride()],
        boxed: [BLOCK as u32, TILE_OUTPUTS as u32],
    };
    call.tensor_map("weight", boxes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_whole_pairs_of_tiles() {
        for (outputs, tiles) in [(1, 2), (192, 2), (193, 2), (385, 4), (6144, 32)] {
            assert_eq!(output_tiles(outputs), tiles);
        }
    }

    #[test]
    fn the_grid_fills_the_gpu_with_whole_clusters_or_has_a_block_for_each_item() {
        assert_eq!(thread_blocks(133, 1000), 132);
        assert_eq!(thread_blocks(132, 8), 8);
        assert_eq!(thread_blocks(132, 7), 8);
    }
}
