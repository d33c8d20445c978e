//! Operations between the matrix products: token embedding and LayerNorm.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    address::Out,
    args::{EmbeddingArgs, LayerNormArgs, NormTarget},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    operands::LinearInput,
    weights::GpuLinear,
};

/// LayerNorm weights, `[hidden]` each.
#[derive(Debug)]
pub struct NormWeights {
    /// Factors.
    pub weight: Buffer<f32>,
    /// Summands.
    pub bias: Buffer<f32>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl Gpu {
    /// Computes `stream[token] = table[ids[token]]` in f32, and resets `flag`, if given, to "no
    /// report". The caller guarantees that ids are below the rows of the table.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn embedding(
        &self,
        (table, table_stride): (View<'_, f16>, usize),
        ids: View<'_, u32>,
        hidden: usize,
        n: usize,
        stream: &Buffer<f32>,
        flag: Option<&Buffer<u64>>,
    ) -> Result<(), KernelError> {
        const OP: &str = "embedding";
        let call = Call::new(self, OP);
        rule(
            OP,
            "table stride",
            table_stride,
            table_stride >= hidden,
            Rule::AtLeast(hidden),
        )?;
        let args = EmbeddingArgs {
            table: call.input("table", table, table_stride)?,
            table_stride: count(OP, "table stride", table_stride)?,
            ids: call.input("ids", ids, n)?,
            x: call.output("stream", stream, n * hidden)?,
            hidden: count(OP, "hidden", hidden)?,
            non_finite: flag.map_or(Ok(Out::NULL), |flag| call.output("flag", flag, 1))?,
        };
        let geometry = Geometry {
            grid: (count(OP, "tokens", n)?, 1, 1),
            block: 256,
        };
        call.launch(Kernel::EMBEDDING, geometry, &args)
    }

    /// Normalizes `n` tokens of `stream` into the inputs of one or two linear layers: those in
    /// `source_rows`, or the first. The caller guarantees that `source_rows` are tokens of
    /// `stream`.
    ///
    /// # Errors
    /// As for [`Gpu::embedding`].
    pub fn layer_norm(
        &self,
        stream: &Buffer<f32>,
        source_rows: Option<View<'_, u32>>,
        n: usize,
        norm: &NormWeights,
        to: &[(LinearInput<'_>, &GpuLinear)],
    ) -> Result<(), KernelError> {
        const OP: &str = "layer_norm";
        let call = Call::new(self, OP);
        let hidden = norm.weight.len();
        rule(
            OP,
            "bias",
            norm.bias.len(),
            norm.bias.len() == hidden,
            Rule::Exactly(hidden),
        )?;
        rule(
            OP,
            "targets",
            to.len(),
            (1..=2).contains(&to.len()),
            Rule::OneOf(1, 2),
        )?;
        let mut targets = [NormTarget::NONE; 2];
        for (target, (out, linear)) in targets.iter_mut().zip(to) {
            rule(
                OP,
                "hidden",
                hidden,
                hidden == linear.in_features,
                Rule::Exactly(linear.in_features),
            )?;
            rule(
                OP,
                "output stride",
                out.stride,
                out.stride >= linear.input_stride(),
                Rule::AtLeast(linear.input_stride()),
            )?;
            *target = NormTarget {
                out: call.output("output", out.values, n * out.stride)?,
                scatter: linear.scatter_address(&call, out.order)?,
                stride: count(OP, "output stride", out.stride)?,
            };
        }
        let [first, second] = targets;
        let needed = if source_rows.is_some() { 0 } else { n * hidden };
        let args = LayerNormArgs {
            x: call.input("stream", stream, needed)?,
            source_rows: call.optional_input("rows", source_rows, n)?,
            weight: call.input("weight", &norm.weight, hidden)?,
            bias: call.input("bias", &norm.bias, hidden)?,
            hidden: count(OP, "hidden", hidden)?,
            epsilon: norm.epsilon as f32,
            first,
            second,
        };
        let geometry = Geometry {
            grid: (count(OP, "tokens", n)?, 1, 1),
            block: 1024,
        };
        call.launch(Kernel::<LayerNormArgs>::LAYER_NORM, geometry, &args)
    }
}
