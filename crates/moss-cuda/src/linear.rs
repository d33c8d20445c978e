//! Linear layers for up to 64 tokens (decode, GEMV), with their epilogues in the same launch.

use moss_weights::{KernelError, Rule};

use crate::{
    address::{In, Out},
    args::{Epilogue, Heads, LinearArgs, Segment},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::MAX_GEMV_TOKENS,
    operands::{CompleteInput, FcOutInput, LinearInput, LinearPair, NonFiniteCheck},
    qkv_rope_gelu::QkvRopeGelu,
    weights::{Format, GpuLinear},
};

const OP: &str = "linear";

/// Warps of a thread block, among which the inputs are divided (split-K).
const MAX_WARPS: usize = 8;

impl GpuLinear {
    /// Returns the blocks of inputs that share a scale.
    fn group_blocks(&self) -> usize {
        match self.group_magic {
            _ if self.groups <= 1 => self.blocks,
            0 => 1,
            // the magic is rounded up
            magic => (((1u64 << 32) + u64::from(magic) / 2) / u64::from(magic)) as usize,
        }
    }

    /// Returns the weight and the input of `n` tokens as a kernel takes them.
    fn segment<'a>(
        &'a self,
        call: &Call<'a>,
        x: LinearInput<'a>,
        n: usize,
    ) -> Result<Segment, KernelError> {
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride >= self.input_stride() && x.stride.is_multiple_of(8),
            Rule::AlignedAtLeast {
                multiple: 8,
                least: self.input_stride(),
            },
        )?;
        let group_blocks = self.group_blocks();
        let pairs = self.format == Format::Int4
            && [self.blocks, group_blocks]
                .iter()
                .all(|n| n.is_multiple_of(2));
        let [weight, table] = self.addresses(call)?;
        Ok(Segment {
            weight,
            table,
            x: call.input("input", x.values, n * x.stride)?,
            x_stride: count(OP, "input stride", x.stride)?,
            blocks: count(OP, "blocks", self.blocks)?,
            groups: count(OP, "groups", self.groups)?,
            group_blocks: count(OP, "blocks of a group", group_blocks)?,
            unit_blocks: if pairs { 2 } else { 1 },
        })
    }

    /// Returns the bias, or null.
    pub(crate) fn bias_address<'a>(&'a self, call: &Call<'a>) -> Result<In<f32>, KernelError> {
        call.optional_input("bias", self.bias.as_ref(), self.out_features)
    }
}

impl Gpu {
    /// Computes `out[token] = W x[token] + bias` in f32 for up to [`MAX_GEMV_TOKENS`] tokens.
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
        let call = Call::new(self, OP);
        let args = LinearArgs {
            segments: [linear.segment(&call, x, n)?, Segment::NONE],
            out: call.output("output", out, n * linear.out_features)?,
            bias: linear.bias_address(&call)?,
            ..base_args(&call, linear, n, Epilogue::Store, check)?
        };
        launch(&call, linear.format, n, linear.tiles(), linear.blocks, args)
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
        let call = Call::new(self, OP);
        let LinearPair { first, second } = pair;
        let hidden = first.out_features;
        rule(
            OP,
            "out_features",
            second.out_features,
            second.out_features == hidden,
            Rule::Exactly(hidden),
        )?;
        let segments = [
            first.segment(&call, attended, n)?,
            second.segment(&call, inner.get(), n)?,
        ];
        let base = LinearArgs {
            out: call.output("stream length", stream, n * hidden)?,
            ..base_args(&call, first, n, Epilogue::Residual, check)?
        };
        let bias = second.bias_address(&call)?;
        let (tiles, blocks) = (first.tiles(), first.blocks + second.blocks);
        if first.format == second.format {
            let args = LinearArgs {
                segments,
                bias,
                ..base
            };
            return launch(&call, first.format, n, tiles, blocks, args);
        }
        let single = |segment, bias| LinearArgs {
            segments: [segment, Segment::NONE],
            bias,
            ..base
        };
        let [out_proj, fc_out] = [single(segments[0], In::NULL), single(segments[1], bias)];
        launch(&call, first.format, n, tiles, blocks, out_proj)?;
        launch(&call, second.format, n, tiles, blocks, fc_out)
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
        let call = Call::new(self, OP);
        let LinearPair { first, second } = pair;
        let heads = to.args(&call, n, first, second)?;
        let segments = [
            first.segment(&call, x[0], n)?,
            second.segment(&call, x[1], n)?,
        ];
        let first_tiles = count(OP, "tiles", first.tiles())?;
        let base = LinearArgs {
            segments,
            first_tiles,
            heads,
            ..base_args(&call, first, n, Epilogue::QkvRopeGelu, check)?
        };
        let (tiles, blocks) = (first.tiles() + second.tiles(), first.blocks);
        if first.format == second.format {
            launch(&call, first.format, n, tiles, blocks, base)?;
        } else {
            let fc_in = LinearArgs {
                tile_offset: first_tiles,
                ..base
            };
            launch(&call, first.format, n, first.tiles(), blocks, base)?;
            launch(&call, second.format, n, second.tiles(), blocks, fc_in)?;
        }
        Ok(FcOutInput(to.inner))
    }
}

/// Returns the arguments that all epilogues share.
fn base_args<'a>(
    call: &Call<'a>,
    linear: &GpuLinear,
    n: usize,
    epilogue: Epilogue,
    check: NonFiniteCheck<'a>,
) -> Result<LinearArgs, KernelError> {
    rule(
        OP,
        "tokens",
        n,
        (1..=MAX_GEMV_TOKENS).contains(&n),
        Rule::Between(1, MAX_GEMV_TOKENS),
    )?;
    Ok(LinearArgs {
        segments: [Segment::NONE; 2],
        first_tiles: 0,
        tile_offset: 0,
        rows: count(OP, "outputs", linear.out_features)?,
        n: count(OP, "tokens", n)?,
        epilogue,
        layer: count(OP, "layer", check.layer)?,
        out_stride: linear.out_features as u64,
        out: Out::NULL,
        bias: In::NULL,
        non_finite: call.output("flag", check.flag, 1)?,
        heads: Heads::NONE,
    })
}

fn launch(
    call: &Call<'_>,
    format: Format,
    n: usize,
    tiles: usize,
    blocks: usize,
    args: LinearArgs,
) -> Result<(), KernelError> {
    let geometry = Geometry {
        grid: (count(OP, "tiles", tiles)?, 1, 1),
        block: 32 * warps(format, blocks),
    };
    call.launch(kernel_for(format, n), geometry, &args)
}

/// Returns the warps of a thread block. They depend on the weight only, because they determine the
/// order of sums. A warp gets twice the blocks of a packed weight, whose loads take less time.
fn warps(format: Format, blocks: usize) -> u32 {
    let blocks_per_warp = if format == Format::F16 { 8 } else { 16 };
    let wanted = (blocks / blocks_per_warp).clamp(1, MAX_WARPS);
    1 << wanted.ilog2()
}

/// Returns the kernel for `n` tokens.
fn kernel_for(format: Format, n: usize) -> Kernel<LinearArgs> {
    match (format, n) {
        (Format::F16, ..=8) => Kernel::F16_N8,
        (Format::F16, ..=16) => Kernel::F16_N16,
        (Format::F16, ..=32) => Kernel::F16_N32,
        (Format::F16, _) => Kernel::F16_N64,
        (Format::Int8, ..=8) => Kernel::INT8_N8,
        (Format::Int8, ..=16) => Kernel::INT8_N16,
        (Format::Int8, ..=32) => Kernel::INT8_N32,
        (Format::Int8, _) => Kernel::INT8_N64,
        (Format::Int4, ..=8) => Kernel::INT4_N8,
        (Format::Int4, ..=16) => Kernel::INT4_N16,
        (Format::Int4, ..=32) => Kernel::INT4_N32,
        (Format::Int4, _) => Kernel::INT4_N64,
    }
}
