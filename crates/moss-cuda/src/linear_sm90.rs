//! The decode kernels of sm_90 for more than 16 tokens: persistent thread blocks that copy weights
//! and inputs with bulk tensor copies and multiply them with `wgmma`.

use moss_weights::{KernelError, Rule};

use crate::{
    args::{LinearSm90Args, TensorMap},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{BLOCK, FEW_DECODE_TOKENS, TILE},
    linear_args::{OP, Operand, PairLaunch},
    operands::InputOrder,
    tensor_map::Boxes,
    weights::Format,
};

/// Thread blocks of a cluster.
const CLUSTER: usize = 2;

/// Slices of the inputs, and parts that a warpgroup may store.
const SLICES: usize = 8;

/// The parts of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    /// Tokens that are multiplied together.
    tokens: usize,
    /// Warpgroups of a thread block that multiply, 64 outputs each. Their sums of all subtrees must
    /// fit in registers.
    warpgroups: usize,
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

    fn for_tokens(n: usize) -> Self {
        let [few, many] = Self::ALL;
        if n <= few.tokens { few } else { many }
    }

    /// Returns the tiles of outputs of a thread block.
    fn tiles(self) -> usize {
        self.warpgroups * 64 / TILE
    }

    fn threads(self) -> u32 {
        128 * (self.warpgroups as u32 + 1)
    }

    /// Returns the blocks of outputs of clusters for matrices of these outputs.
    fn places(self, outputs: impl IntoIterator<Item = usize>) -> usize {
        let width = CLUSTER * self.tiles() * TILE;
        outputs.into_iter().map(|n| n.div_ceil(width)).sum()
    }

    /// Returns the tickets of `places` for `n` tokens.
    fn tickets(self, places: usize, n: usize) -> usize {
        places * n.div_ceil(self.tokens) * CLUSTER * self.warpgroups
    }

    /// Returns the values of the parts of `blocks` thread blocks.
    fn parts(self, blocks: usize) -> usize {
        blocks * self.warpgroups * SLICES * 64 * self.tokens
    }

    /// Returns the number of thread blocks: as many as run at the same time, at most one cluster
    /// for each item, and whole groups of clusters for the blocks of tokens.
    fn thread_blocks(self, multiprocessors: usize, places: usize, n: usize) -> usize {
        let columns = n.div_ceil(self.tokens);
        let groups = (multiprocessors / CLUSTER / columns).min(places * SLICES);
        CLUSTER * columns * groups.max(1)
    }
}

/// Scratch memory of the decode kernels of sm_90; empty on other GPUs.
#[derive(Debug)]
pub struct LinearScratch {
    /// Sums of subtrees, of blocks of outputs that several thread blocks share.
    parts: Buffer<f32>,
    /// Thread blocks that have stored their parts. Zero between products.
    tickets: Buffer<u32>,
    max_tokens: usize,
}

impl LinearScratch {
    /// Allocates the memory for products of up to `max_tokens` tokens and, over the matrices of a
    /// launch, `outputs` outputs.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(gpu: &Gpu, max_tokens: usize, outputs: usize) -> Result<Self, KernelError> {
        let is_used = gpu.has_wgmma() && max_tokens > FEW_DECODE_TOKENS;
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

/// Launches the product of `n` tokens, whose inputs are in the order of fragments.
pub(crate) fn launch<'a>(
    call: &Call<'a>,
    pass: &PairLaunch<'a>,
    n: usize,
    multiprocessors: u32,
    scratch: &'a LinearScratch,
) -> Result<(), KernelError> {
    let most = scratch.max_tokens;
    rule(OP, "tokens", n, (1..=most).contains(&n), Rule::AtMost(most))?;
    let size = Size::for_tokens(n);
    let places = size.places(pass.outputs());
    let blocks = size.thread_blocks(multiprocessors as usize, places, n);
    let tiles: usize = pass.outputs().map(|outputs| outputs.div_ceil(TILE)).sum();
    let mut args = LinearSm90Args {
        x: [TensorMap::NONE; 2],
        weight: [TensorMap::NONE; 2],
        table: [TensorMap::NONE; 2],
        linear: pass.args,
        parts: call.output("parts", &scratch.parts, size.parts(blocks))?,
        tickets: call.output("tickets", &scratch.tickets, size.tickets(places, n))?,
        tiles: count(OP, "tiles", tiles)?,
    };
    for (i, operand) in pass.operands.into_iter().enumerate() {
        let Some(operand) = operand else { continue };
        args.x[i] = input_map(call, operand, n, size)?;
        if pass.format == Format::F16 {
            args.weight[i] = dense_map(call, operand, size)?;
        } else {
            [args.weight[i], args.table[i]] = packed_maps(call, operand, size)?;
        }
    }
    let geometry = Geometry {
        grid: (count(OP, "thread blocks", blocks)?, 1, 1),
        block: size.threads(),
    };
    call.launch(kernel_for(pass.format, size), geometry, &args)
}

/// Returns the map of the input: boxes of half of the tokens and one block of inputs.
fn input_map<'a>(
    call: &Call<'a>,
    Operand { linear, x }: Operand<'a>,
    n: usize,
    size: Size,
) -> Result<TensorMap, KernelError> {
    let boxes = Boxes {
        values: x.values.all(),
        extents: [linear.input_stride(), n],
        strides: [x.stride],
        boxed: [BLOCK as u32, (size.tokens / CLUSTER) as u32],
    };
    call.tensor_map("input", boxes)
}

/// Returns the map of a dense weight: boxes of the outputs of a thread block and one block of
/// inputs.
fn dense_map<'a>(
    call: &Call<'a>,
    Operand { linear, .. }: Operand<'a>,
    size: Size,
) -> Result<TensorMap, KernelError> {
    let boxes = Boxes {
        values: View::<half::f16>::of_bytes(&linear.weight),
        extents: [linear.input_stride(), linear.tiles() * TILE],
        strides: [linear.input_stride()],
        boxed: [BLOCK as u32, (size.tiles() * TILE) as u32],
    };
    call.tensor_map("weight", boxes)
}

/// Returns the maps of a packed weight and its table: boxes of the tiles of a thread block, and of
/// 256 words (a block of 64 inputs in int8, two in int4) or one group.
fn packed_maps<'a>(
    call: &Call<'a>,
    Operand { linear, .. }: Operand<'a>,
    size: Size,
) -> Result<[TensorMap; 2], KernelError> {
    let words = |buffer: &'a Buffer<u8>, words, boxed| Boxes {
        values: View::<u32>::of_bytes(buffer),
        extents: [words, linear.tiles()],
        strides: [words],
        boxed: [boxed, size.tiles() as u32],
    };
    let tile_words = linear.weight.len() / 4 / linear.tiles();
    let table = linear.table.as_ref().ok_or(KernelError::Argument {
        op: OP,
        arg: "table",
        found: 0,
        rule: Rule::AtLeast(1),
    })?;
    Ok([
        call.tensor_map("weight", words(&linear.weight, tile_words, 256))?,
        call.tensor_map("table", words(table, linear.groups * 16, 16))?,
    ])
}

fn kernel_for(format: Format, size: Size) -> Kernel<LinearSm90Args> {
    let [n32, n64] = match format {
        Format::F16 => [Kernel::SM90_F16_N32, Kernel::SM90_F16_N64],
        Format::Int8 => [Kernel::SM90_INT8_N32, Kernel::SM90_INT8_N64],
        Format::Int4 => [Kernel::SM90_INT4_N32, Kernel::SM90_INT4_N64],
    };
    if size.tokens == 32 { n32 } else { n64 }
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
