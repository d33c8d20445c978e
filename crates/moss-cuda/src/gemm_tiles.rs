//! The division of the matrix products of prefill on sm_90 into tiles, and their scratch memory.

use moss_weights::KernelError;

use crate::{
    args::{Epilogue, TensorMap},
    buffer::{Buffer, View},
    device::Gpu,
    launch::Call,
    layout::{BLOCK, TILE},
    linear_args::Operand,
    tensor_map::Boxes,
};

/// Outputs of the tile that a thread block computes.
pub(crate) const TILE_OUTPUTS: usize = 192;

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
            semaphores(output_tiles(outputs), tokens)
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

/// Warpgroups that multiply 64 outputs of a tile each, and add them on their own.
const WARPGROUPS: usize = 3;

/// The tokens of a tile.
const TILE_TOKENS: [usize; 4] = [16, 32, 64, 128];

/// Returns the tokens of the tiles of `n` tokens. A larger tile reads weights less often, a smaller
/// one multiplies fewer tokens that do not exist.
pub(crate) fn tile_tokens(n: usize) -> usize {
    let [.., most] = TILE_TOKENS;
    TILE_TOKENS
        .into_iter()
        .find(|tokens| n <= *tokens)
        .unwrap_or(most)
}

/// Returns the semaphores of this number of tiles of outputs and up to `tokens` tokens.
pub(crate) fn semaphores(output_tiles: usize, tokens: usize) -> usize {
    output_tiles * WARPGROUPS * tokens.div_ceil(tile_tokens(tokens))
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

    #[test]
    fn a_tile_has_the_tokens_of_a_small_batch() {
        for (n, tokens) in [
            (1, 16),
            (16, 16),
            (17, 32),
            (33, 64),
            (64, 64),
            (65, 128),
            (2048, 128),
        ] {
            assert_eq!(tile_tokens(n), tokens);
        }
    }

    #[test]
    fn the_semaphores_suffice_for_fewer_tokens() {
        for most in [1, 16, 40, 65, 129, 512, 2048] {
            for n in 1..=most {
                assert!(semaphores(32, n) <= semaphores(32, most), "{n} of {most}");
            }
        }
    }
}
