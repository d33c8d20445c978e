//! Linear layers of the decode kernels, for up to [`MAX_DECODE_TOKENS`] tokens, with their epilogues
//! in the same launch.

use moss_weights::{KernelError, Rule};

use crate::{
    args::{DecodeLinearArgs, Epilogue, LinearArgs, Segment},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{MAX_DECODE_TOKENS, SLICES, TILE},
    linear_args::{self, OP, Operand, PairLaunch, base_args},
    linear_persistent,
    linear_scratch::InputOrder,
    linear_sm90,
    operands::{CompleteInput, FcOutInput, LinearInput, LinearPair, NonFiniteCheck},
    qkv_rope_gelu::QkvRopeGelu,
    weights::{Format, GpuLinear},
};

/// Threads of a block: a warp per slice of the inputs (split-K).
const THREADS: u32 = 32 * SLICES as u32;

impl Gpu {
    /// Computes `out[token] = W x[token] + bias` in f32 for up to [`MAX_DECODE_TOKENS`] tokens.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn linear_store(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        out: View<'_, f32>,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        check_tokens(n)?;
        let call = Call::new(self, OP);
        let args = LinearArgs {
            segments: [linear.segment(&call, x, n)?, Segment::NONE],
            out: call.output("output", out, n * linear.out_features)?,
            bias: linear.bias_address(&call)?,
            ..base_args(&call, linear, n, Epilogue::Store, check)?
        };
        let pass = PairLaunch {
            format: linear.format,
            args,
            operands: [Some(Operand { linear, x }), None],
        };
        self.decode_product(&call, &pass, n)
    }

    /// Computes `stream[token] += out_proj attended[token] + fc_out inner[token] + fc_out's bias`
    /// in f32: [out_proj | fc_out] with the residual sum as its epilogue.
    ///
    /// The kernel reads `inner` before `griddepcontrol.wait`; see [`CompleteInput`].
    ///
    /// # Errors
    /// As for [`Gpu::linear_store`].
    pub fn out_fc_out(
        &self,
        pair: &LinearPair,
        attended: LinearInput<'_>,
        inner: &CompleteInput<'_>,
        n: usize,
        stream: &Buffer<f32>,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        check_tokens(n)?;
        let call = Call::new(self, OP);
        for pass in linear_args::out_fc_out(&call, pair, [attended, inner.get()], n, stream, check)?
        {
            self.decode_product(&call, &pass, n)?;
        }
        Ok(())
    }

    /// Computes [qkv_proj | fc_in] with the epilogue [`QkvRopeGelu`]. Returns the input of fc_out,
    /// which this launch writes.
    ///
    /// # Errors
    /// As for [`Gpu::linear_store`].
    pub fn qkv_fc_in<'a>(
        &self,
        pair: &LinearPair,
        x: [LinearInput<'_>; 2],
        n: usize,
        to: &QkvRopeGelu<'a>,
        check: NonFiniteCheck<'_>,
    ) -> Result<FcOutInput<'a>, KernelError> {
        check_tokens(n)?;
        let call = Call::new(self, OP);
        for pass in linear_args::qkv_fc_in(&call, pair, x, n, to, check)? {
            self.decode_product(&call, &pass, n)?;
        }
        Ok(FcOutInput(to.inner))
    }

    /// Enqueues the product of `n` tokens by the kernel for the order of its inputs.
    fn decode_product<'a>(
        &self,
        call: &Call<'a>,
        pass: &PairLaunch<'a>,
        n: usize,
    ) -> Result<(), KernelError> {
        let inputs = pass.operands.iter().flatten();
        let is_decode = !inputs
            .clone()
            .any(|operand| matches!(operand.x.order, InputOrder::PromptFragments));
        rule(OP, "input order", 0, is_decode, Rule::Exactly(1))?;
        let mut scratch = inputs.map(|operand| match operand.x.order {
            InputOrder::Fragments(scratch) => Some(scratch),
            InputOrder::Columns | InputOrder::PromptFragments => None,
        });
        let first = scratch.next().flatten();
        let is_same = scratch.all(|other| other.is_some() == first.is_some());
        rule(OP, "input order", 0, is_same, Rule::Exactly(1))?;
        match first {
            Some(scratch) => {
                linear_sm90::launch(call, pass, n, self.info().multiprocessors, scratch)
            }
            None => {
                if linear_persistent::launch(call, pass, n, self.info())? {
                    return Ok(());
                }
                launch(call, pass, n)
            }
        }
    }
}

/// Checks that the decode kernels take `n` tokens.
fn check_tokens(n: usize) -> Result<(), KernelError> {
    rule(
        OP,
        "tokens",
        n,
        (1..=MAX_DECODE_TOKENS).contains(&n),
        Rule::Between(1, MAX_DECODE_TOKENS),
    )
}

/// Enqueues the product of `n` tokens.
fn launch(call: &Call<'_>, pass: &PairLaunch<'_>, n: usize) -> Result<(), KernelError> {
    let size = BlockSize::for_tokens(n);
    let tiles = pass.outputs().map(|outputs| outputs.div_ceil(TILE)).sum();
    let args = pass.args;
    let first_tiles = args.first_tiles.saturating_sub(args.tile_offset) as usize;
    let geometry = Geometry {
        grid: (
            count(OP, "tiles", size.output_blocks(first_tiles, tiles))?,
            count(OP, "tokens", n.div_ceil(size.tokens))?,
            1,
        ),
        block: THREADS,
    };
    let args = DecodeLinearArgs {
        linear: args,
        tiles: count(OP, "tiles", tiles)?,
    };
    call.launch(kernel_for(pass.format, size), geometry, &args)
}

/// The part of a product that a thread block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockSize {
    /// Most tokens.
    tokens: usize,
    /// Most tiles of outputs. Two tiles share the reads of their input, which bound the time of
    /// many tokens; with fewer tokens, more thread blocks are worth more.
    tiles: usize,
}

impl BlockSize {
    fn for_tokens(n: usize) -> Self {
        let tokens = n.next_power_of_two().clamp(8, 64);
        Self {
            tokens,
            tiles: if tokens == 64 { 2 } else { 1 },
        }
    }

    /// Returns the number of thread blocks for `tiles` tiles, of which the first `first` are of
    /// another matrix than the rest: a thread block computes tiles of one matrix.
    fn output_blocks(self, first: usize, tiles: usize) -> usize {
        let first = first.min(tiles);
        first.div_ceil(self.tiles) + (tiles - first).div_ceil(self.tiles)
    }
}

fn kernel_for(format: Format, size: BlockSize) -> Kernel<DecodeLinearArgs> {
    let [n8, n16, n32, n64] = match format {
        Format::F16 => [
            Kernel::F16_N8,
            Kernel::F16_N16,
            Kernel::F16_N32,
            Kernel::F16_N64,
        ],
        Format::Int8 => [
            Kernel::INT8_N8,
            Kernel::INT8_N16,
            Kernel::INT8_N32,
            Kernel::INT8_N64,
        ],
        Format::Int4 => [
            Kernel::INT4_N8,
            Kernel::INT4_N16,
            Kernel::INT4_N32,
            Kernel::INT4_N64,
        ],
    };
    match size.tokens {
        8 => n8,
        16 => n16,
        32 => n32,
        _ => n64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_blocks_have_tiles_of_one_matrix_and_cover_all() {
        for n in [1, 8, 9, 16, 17, 32, 33, 64, 65, 128, 256] {
            let size = BlockSize::for_tokens(n);
            assert!(size.tokens >= n.min(64));
            for (first, tiles) in [(0, 1), (0, 7), (3, 3), (3, 8), (4, 8), (9, 4)] {
                let blocks = size.output_blocks(first, tiles);
                assert!(blocks * size.tiles >= tiles);
                let (left, right) = (first.min(tiles), tiles.saturating_sub(first));
                let wasted = blocks * size.tiles - tiles;
                assert_eq!(
                    wasted,
                    left % size.tiles + right % size.tiles,
                    "{first} {tiles}"
                );
            }
        }
    }
}
