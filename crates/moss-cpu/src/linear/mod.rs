//! Linear layers: checks of the weight and the inputs, and the choice of the kernel.

mod inputs;
mod layout;

use candle_core::{Device, Tensor};

use self::layout::Layout;
use crate::{
    DenseWeight, GptqWeight, Isa, KernelError, LinearWeight, Rule,
    kernels::{
        cpu_features, dense,
        gptq::{self, Packed, int8},
    },
    ops::{expect_cpu, shape_error, with_f32, with_floats},
};

const OP: &str = "linear";

/// A linear layer, `y = x W^T + bias`, with a dense or GPTQ-packed weight that is used in place.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Vec<f32>>,
    activations: Activations,
}

#[derive(Debug)]
enum Weight {
    Dense(DenseWeight),
    Packed(GptqWeight, Layout),
}

/// The type of the inputs that a packed weight is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// Unchanged inputs: results are those of the dequantized weight.
    #[default]
    Exact,
    /// Inputs rounded to 8 bits: each group of a row, of at most 512 inputs, has a step of 1/127 of
    /// its largest magnitude. Sums within a group are exact.
    Int8,
}

impl Linear {
    /// Checks all lengths. A weight with permuted groups (act-order) is repacked, sorted by group;
    /// others are not copied.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that do not match; [`KernelError::NotCompiled`] for
    /// another device than the CPU.
    pub fn new(
        weight: LinearWeight,
        bias: Option<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, KernelError> {
        expect_cpu(OP, device)?;
        let (inputs, outputs) = weight.extents();
        let at_least_one = Rule::AtLeast(1);
        let bias_len = bias.as_ref().map_or(outputs, Vec::len);
        let error = |arg, found, rule| KernelError::Argument {
            op: OP,
            arg,
            found,
            rule,
        };
        if inputs == 0 {
            return Err(error("in_features", inputs, at_least_one));
        }
        if outputs == 0 {
            return Err(error("out_features", outputs, at_least_one));
        }
        let weight = match weight {
            LinearWeight::Dense(weight) => {
                weight.check(OP)?;
                Weight::Dense(weight)
            }
            LinearWeight::Gptq(mut weight) => {
                weight.check(OP)?;
                let layout = Layout::new(&mut weight);
                Weight::Packed(weight, layout)
            }
        };
        if bias_len != outputs {
            return Err(error("bias length", bias_len, Rule::Exactly(outputs)));
        }
        Ok(Self {
            weight,
            bias,
            activations: Activations::Exact,
        })
    }

    /// Sets the type of the inputs.
    ///
    /// # Errors
    /// [`KernelError::NotPacked`] for [`Activations::Int8`] with a dense weight.
    pub fn with_activations(mut self, activations: Activations) -> Result<Self, KernelError> {
        if let (Weight::Dense(weight), Activations::Int8) = (&self.weight, activations) {
            return Err(KernelError::NotPacked {
                op: OP,
                found: weight.dtype,
            });
        }
        self.activations = activations;
        Ok(self)
    }

    /// Returns the number of inputs.
    pub fn in_features(&self) -> usize {
        match &self.weight {
            Weight::Dense(weight) => weight.in_features,
            Weight::Packed(weight, _) => weight.in_features,
        }
    }

    /// Returns the number of outputs.
    pub fn out_features(&self) -> usize {
        match &self.weight {
            Weight::Dense(weight) => weight.out_features,
            Weight::Packed(weight, _) => weight.out_features,
        }
    }

    /// Returns the bytes that one row reads: weights, scales and zero points.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = match &self.weight {
            Weight::Dense(weight) => weight.data.len(),
            Weight::Packed(weight, _) => {
                weight.qweight.len() + weight.qzeros.len() + weight.scales.len()
            }
        };
        bytes as u64
    }

    /// Returns whether the weight was repacked. The published bytes are then not read again.
    pub fn owns_weights(&self) -> bool {
        matches!(&self.weight, Weight::Packed(_, layout) if layout.order.is_some())
    }

    /// Computes `x W^T + bias` with f32 sums.
    ///
    /// # Shapes
    /// - `x`: `[rows, in_features]`, f32, f16 or bf16; the result is `[rows, out_features]` f32
    ///
    /// # Errors
    /// [`KernelError::Shape`] or [`KernelError::Dtype`] for an `x` of another shape or type.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, KernelError> {
        self.forward_on(x, cpu_features())
    }

    /// As [`Self::forward`], with a given instruction set: for tests and measurements.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn forward_on(&self, x: &Tensor, isa: Isa) -> Result<Tensor, KernelError> {
        let &[rows, inputs] = x.dims() else {
            return Err(self.input_error(x));
        };
        if inputs != self.in_features() {
            return Err(self.input_error(x));
        }
        let mut y = vec![0.0f32; rows * self.out_features()];
        if y.is_empty() {
            // The kernels need at least one row.
            return Ok(Tensor::from_vec(
                y,
                (rows, self.out_features()),
                x.device(),
            )?);
        }
        match (&self.weight, self.activations) {
            (Weight::Dense(weight), _) => with_f32(OP, "x", x, |x| {
                let x = inputs::for_dense(x, rows, inputs);
                dense::matmul(isa, &x, rows, weight, self.bias.as_deref(), &mut y);
            })?,
            (Weight::Packed(weight, layout), Activations::Exact) => with_f32(OP, "x", x, |x| {
                let x = inputs::for_packed(x, rows, inputs, layout.order.as_deref());
                gptq::matmul(isa, &x, rows, &self.packed(weight, layout), &mut y);
            })?,
            (Weight::Packed(weight, layout), Activations::Int8) => with_floats(OP, "x", x, |x| {
                let order = layout.order.as_deref();
                let x = int8::Inputs { x, rows, order };
                int8::matmul(isa, x, &self.packed(weight, layout), &mut y);
            })?,
        }
        Ok(Tensor::from_vec(
            y,
            (rows, self.out_features()),
            x.device(),
        )?)
    }

    fn packed<'w>(&'w self, weight: &'w GptqWeight, layout: &'w Layout) -> Packed<'w> {
        Packed {
            bits: weight.bits,
            outputs: weight.out_features,
            zero_words: weight.zero_words(),
            qweight: &weight.qweight,
            qzeros: &weight.qzeros,
            scales: &weight.scales,
            segments: &layout.segments,
            bias: self.bias.as_deref(),
        }
    }

    fn input_error(&self, x: &Tensor) -> KernelError {
        shape_error(OP, "x", x, ["rows".into(), self.in_features().into()])
    }
}
