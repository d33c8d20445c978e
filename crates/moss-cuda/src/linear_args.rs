//! Arguments of linear layers: weights, inputs and epilogues, as the decode (GEMV) and the prefill
//! (GEMM) kernels take them.

use moss_weights::{KernelError, Rule};

use crate::{
    address::{In, Out},
    args::{Epilogue, Heads, LinearArgs, Segment},
    buffer::Buffer,
    contract::{count, rule},
    launch::Call,
    operands::{LinearInput, LinearPair, NonFiniteCheck},
    qkv_rope_gelu::QkvRopeGelu,
    weights::{Format, GpuLinear},
};

pub(crate) const OP: &str = "linear";

impl GpuLinear {
    /// Returns the weight and the input of `n` tokens as a kernel takes them.
    pub(crate) fn segment<'a>(
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
        let pairs = self.format == Format::Int4
            && [self.blocks, self.group_blocks]
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
            group_blocks: count(OP, "blocks of a group", self.group_blocks)?,
            unit_blocks: if pairs { 2 } else { 1 },
        })
    }

    /// Returns the bias, or null.
    pub(crate) fn bias_address<'a>(&'a self, call: &Call<'a>) -> Result<In<f32>, KernelError> {
        call.optional_input("bias", self.bias.as_ref(), self.out_features)
    }
}

/// Returns the arguments that all epilogues share. `linear` has the outputs of the launch.
pub(crate) fn base_args<'a>(
    call: &Call<'a>,
    linear: &GpuLinear,
    n: usize,
    epilogue: Epilogue,
    check: NonFiniteCheck<'a>,
) -> Result<LinearArgs, KernelError> {
    rule(OP, "tokens", n, n >= 1, Rule::AtLeast(1))?;
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

/// A linear layer and its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) linear: &'a GpuLinear,
    pub(crate) x: LinearInput<'a>,
}

/// One launch for the layers of a pair that have the same format. The segment of the other layer is
/// [`Segment::NONE`].
pub(crate) struct PairLaunch<'a> {
    pub(crate) format: Format,
    pub(crate) args: LinearArgs,
    /// The layers that the launch computes.
    pub(crate) operands: [Option<Operand<'a>>; 2],
}

impl PairLaunch<'_> {
    /// Returns the number of outputs of each matrix that the launch computes: qkv_proj and fc_in,
    /// or the sum of out_proj and fc_out.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = usize> {
        let matrices = match self.args.epilogue {
            Epilogue::QkvRopeGelu => 2,
            Epilogue::Store | Epilogue::Residual => 1,
        };
        let computed = self.operands.iter().flatten();
        computed
            .take(matrices)
            .map(|operand| operand.linear.out_features)
    }
}

/// Returns the launches of `stream[token] += out_proj attended[token] + fc_out inner[token] +
/// fc_out's bias`: one, or two if the formats differ.
pub(crate) fn out_fc_out<'a>(
    call: &Call<'a>,
    pair: &'a LinearPair,
    x: [LinearInput<'a>; 2],
    n: usize,
    stream: &'a Buffer<f32>,
    check: NonFiniteCheck<'a>,
) -> Result<Vec<PairLaunch<'a>>, KernelError> {
    let LinearPair { first, second } = pair;
    let hidden = first.out_features;
    rule(
        OP,
        "out_features",
        second.out_features,
        second.out_features == hidden,
        Rule::Exactly(hidden),
    )?;
    let base = LinearArgs {
        out: call.output("stream length", stream, n * hidden)?,
        ..base_args(call, first, n, Epilogue::Residual, check)?
    };
    let segments = [
        first.segment(call, x[0], n)?,
        second.segment(call, x[1], n)?,
    ];
    let bias = second.bias_address(call)?;
    let [out_proj, fc_out] = operands(pair, x);
    if first.format == second.format {
        return Ok(vec![PairLaunch {
            format: first.format,
            args: LinearArgs {
                segments,
                bias,
                ..base
            },
            operands: [Some(out_proj), Some(fc_out)],
        }]);
    }
    let single = |operand: Operand<'a>, segment, bias| PairLaunch {
        format: operand.linear.format,
        args: LinearArgs {
            segments: [segment, Segment::NONE],
            bias,
            ..base
        },
        operands: [Some(operand), None],
    };
    Ok(vec![
        single(out_proj, segments[0], In::NULL),
        single(fc_out, segments[1], bias),
    ])
}

/// Returns the launches of [qkv_proj | fc_in] with the epilogue [`QkvRopeGelu`]: one, or two if the
/// formats differ.
pub(crate) fn qkv_fc_in<'a, 'b: 'a>(
    call: &Call<'a>,
    pair: &'a LinearPair,
    x: [LinearInput<'a>; 2],
    n: usize,
    to: &QkvRopeGelu<'b>,
    check: NonFiniteCheck<'a>,
) -> Result<Vec<PairLaunch<'a>>, KernelError> {
    let LinearPair { first, second } = pair;
    let first_tiles = count(OP, "tiles", first.tiles())?;
    let base = LinearArgs {
        first_tiles,
        heads: to.args(call, n, first, second)?,
        ..base_args(call, first, n, Epilogue::QkvRopeGelu, check)?
    };
    let segments = [
        first.segment(call, x[0], n)?,
        second.segment(call, x[1], n)?,
    ];
    let [qkv, fc_in] = operands(pair, x);
    if first.format == second.format {
        return Ok(vec![PairLaunch {
            format: first.format,
            args: LinearArgs { segments, ..base },
            operands: [Some(qkv), Some(fc_in)],
        }]);
    }
    let of_qkv = LinearArgs {
        segments: [segments[0], Segment::NONE],
        ..base
    };
    let of_fc_in = LinearArgs {
        segments: [Segment::NONE, segments[1]],
        tile_offset: first_tiles,
        ..base
    };
    Ok(vec![
        PairLaunch {
            format: first.format,
            args: of_qkv,
            operands: [Some(qkv), None],
        },
        PairLaunch {
            format: second.format,
            args: of_fc_in,
            operands: [None, Some(fc_in)],
        },
    ])
}

fn operands<'a>(pair: &'a LinearPair, x: [LinearInput<'a>; 2]) -> [Operand<'a>; 2] {
    [(&pair.first, x[0]), (&pair.second, x[1])].map(|(linear, x)| Operand { linear, x })
}
