//! The division of a product among thread blocks of sm_90, its scratch memory, and the order of inputs
//! that these decode kernels read.

use moss_weights::KernelError;

use crate::{
    buffer::Buffer,
    device::Gpu,
    layout::{FEW_DECODE_TOKENS, SLICES, TILE},
};

/// Thread blocks of a cluster.
pub(crate) const CLUSTER: usize = 2;

/// The parts of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Tokens that are multiplied together.
    pub(crate) tokens: usize,
    /// Warpgroups of a thread block that multiply, 64 outputs each. Their sums of all subtrees must
    /// fit in registers.
    pub(crate) warpgroups: usize,
}

impl Size {
    const ALL: [Self; 2] = [
        Self {
            tokens: 32,
            warpgroups: 3,
        },
        Self {
            tokens: 64,
            warpgroups: 2,
        },
    ];

    pub(crate) fn for_tokens(n: usize) -> Self {
        let [few, many] = Self::ALL;
        if n <= few.tokens { few } else { many }
    }

    /// Returns the tiles of outputs of a thread block.
    pub(crate) fn tiles(self) -> usize {
        self.warpgroups * 64 / TILE
    }

    pub(crate) fn threads(self) -> u32 {
        128 * (self.warpgroups as u32 + 1)
    }

    /// Returns the blocks of outputs of clusters for matrices of these outputs.
    pub(crate) fn places(self, outputs: impl IntoIterator<Item = usize>) -> usize {
        let width = CLUSTER * self.tiles() * TILE;
        outputs.into_iter().map(|n| n.div_ceil(width)).sum()
    }

    /// Returns the tickets of `places` for `n` tokens.
    pub(crate) fn tickets(self, places: usize, n: usize) -> usize {
        places * n.div_ceil(self.tokens) * CLUSTER * self.warpgroups
    }

    /// Returns the values of the parts of `blocks` thread blocks.
    pub(crate) fn parts(self, blocks: usize) -> usize {
        blocks * self.warpgroups * SLICES * 64 * self.tokens
    }

    /// Returns the number of thread blocks: as many as run at the same time, at most one cluster
    /// for each item, and whole groups of clusters for the blocks of tokens.
    pub(crate) fn thread_blocks(self, multiprocessors: usize, places: usize, n: usize) -> usize {
        let columns = n.div_ceil(self.tokens);
        let groups = (multiprocessors / CLUSTER / columns).min(places * SLICES);
        CLUSTER * columns * groups.max(1)
    }
}

/// Scratch memory of the decode kernels of sm_90; empty on other GPUs.
#[derive(Debug)]
pub struct LinearScratch {
    /// Sums of subtrees, of blocks of outputs that several thread blocks share.
    pub(crate) parts: Buffer<f32>,
    /// Thread blocks that have stored their parts. Zero between products.
    pub(crate) tickets: Buffer<u32>,
    pub(crate) max_tokens: usize,
}

impl LinearScratch {
    /// Allocates the memory for products of up to `max_tokens` tokens and, over the matrices of a
    /// launch, `outputs` outputs.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`]; [`KernelError::FewClusters`] if the GPU runs no clusters.
    pub fn new(gpu: &Gpu, max_tokens: usize, outputs: usize) -> Result<Self, KernelError> {
        let is_used = gpu.has_wgmma() && max_tokens > FEW_DECODE_TOKENS;
        if is_used {
            // Its thread blocks do not wait for other clusters.
            gpu.check_clusters("linear_sm90", 1)?;
        }
        let sizes = Size::ALL.into_iter().filter(|_| is_used);
        let blocks = gpu.info().multiprocessors as usize;
        let parts = sizes.clone().map(|size| size.parts(blocks)).max();
        // Two matrices have at most one block of outputs more than one with all their outputs.
        let tickets = sizes.map(|size| size.tickets(size.places([outputs]) + 1, max_tokens));
        Ok(Self {
            parts: gpu.zeros(parts.unwrap_or(0))?,
            tickets: gpu.zeros(tickets.max().unwrap_or(0))?,
            max_tokens: if is_used { max_tokens } else { 0 },
        })
    }

    /// Returns the order of the inputs of `n` generated tokens for which the decode kernels are the
    /// fastest.
    pub fn order(&self, n: usize) -> InputOrder<'_> {
        if (FEW_DECODE_TOKENS + 1..=self.max_tokens).contains(&n) {
            InputOrder::Fragments(self)
        } else {
            InputOrder::Columns
        }
    }
}

/// The order of the columns of a linear layer's input.
#[derive(Debug, Clone, Copy)]
pub enum InputOrder<'a> {
    /// The columns of the layer.
    Columns,
    /// That of tensor core fragments ([`fragment_column`](crate::fragment_column)), for the decode
    /// kernels of sm_90 and their scratch memory. [`LinearScratch::order`] says when it is faster.
    Fragments(&'a LinearScratch),
    /// The same order for the matrix products of prefill
    /// ([`GpuLinear::prompt_order`](crate::GpuLinear::prompt_order)).
    PromptFragments,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::linear_scratch_bytes;

    #[test]
    fn thread_blocks_are_whole_groups_of_clusters_and_run_at_the_same_time() {
        for multiprocessors in [1, 2, 108, 114, 132, 144] {
            for n in [17, 32, 33, 64, 65, 128, 129, 256] {
                let size = Size::for_tokens(n);
                for places in [1, 2, 24, 168] {
                    let blocks = size.thread_blocks(multiprocessors, places, n);
                    let group = CLUSTER * n.div_ceil(size.tokens);
                    assert!(blocks > 0 && blocks.is_multiple_of(group));
                    assert!(blocks <= multiprocessors.max(group));
                    assert!(blocks / group <= places * SLICES);
                }
            }
        }
    }

    #[test]
    fn the_scratch_has_room_for_every_number_of_tokens() {
        for max_tokens in [17, 40, 256] {
            for n in 17..=max_tokens {
                let size = Size::for_tokens(n);
                for (first, second) in [(18_432, 24_576), (107_008, 0), (40, 200)] {
                    let reserved = Size::ALL
                        .map(|size| size.tickets(size.places([first + second]) + 1, max_tokens));
                    let used = size.tickets(size.places([first, second]), n);
                    assert!(reserved.iter().any(|tickets| *tickets >= used), "{n}");
                }
                let bytes = 4 * size.parts(144) as u64;
                assert!(bytes <= linear_scratch_bytes(max_tokens));
            }
        }
    }
}
