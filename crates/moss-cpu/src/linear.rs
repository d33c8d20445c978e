//! Linear layers: a checked plan over a weight that stays where it lies.

use bytes::Bytes;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::{
    GptqWeight, GroupIndex, Isa, KernelError, LinearWeight,
    kernels::{
        Aligned, cpu_features, dense,
        gptq::{self, Packed, Segment, int8},
    },
    ops::{expect_cpu, with_f32, with_floats},
};

const OP: &str = "linear";

/// `y = x W^T + bias`, dense or GPTQ-packed.
#[derive(Debug)]
pub struct Linear {
    weight: LinearWeight,
    bias: Option<Vec<f32>>,
    layout: Layout,
    activations: Activations,
}

/// What a packed weight is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// The inputs as they are: results are those of the dequantised weight.
    #[default]
    Exact,
    /// The inputs rounded to bytes: 127 steps up and down to the largest of each group of a row, of
    /// 512 inputs at most. Sums within a group are exact.
    Int8,
}

/// How the inputs meet the packed rows.
#[derive(Debug)]
struct Layout {
    segments: Vec<Segment>,
    /// Input of each packed column where they are not in order; [`FILL`] for those that only fill
    /// up a word.
    order: Option<Vec<u32>>,
    owned: bool,
}

const FILL: u32 = u32::MAX;

impl Linear {
    /// Checks every length once; nothing is copied unless the groups are permuted (act-order): such
    /// a weight is packed anew, sorted by group.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that do not fit; [`KernelError::NotCompiled`] off the
    /// CPU.
    pub fn new(
        weight: LinearWeight,
        bias: Option<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, KernelError> {
        expect_cpu(OP, device)?;
        let mut weight = weight;
        let (inputs, outputs) = weight.extents();
        if let Some((arg, found)) = [("in_features", inputs), ("out_features", outputs)]
            .into_iter()
            .find(|(_, extent)| *extent == 0)
        {
            return Err(KernelError::Argument {
                op: OP,
                arg,
                found,
                rule: "at least 1".into(),
            });
        }
        let layout = match &mut weight {
            LinearWeight::Dense(dense) => {
                dense.check(OP)?;
                Layout {
                    segments: vec![],
                    order: None,
                    owned: false,
                }
            }
            LinearWeight::Gptq(gptq) => {
                gptq.check(OP)?;
                match &gptq.groups {
                    GroupIndex::Sequential => Layout {
                        segments: in_order(gptq),
                        order: None,
                        owned: false,
                    },
                    GroupIndex::Permuted(groups) => {
                        let groups = groups.clone();
                        sort_by_group(gptq, &groups)
                    }
                }
            }
        };
        let linear = Self {
            weight,
            bias,
            layout,
            activations: Activations::Exact,
        };
        if let Some(bias) = linear
            .bias
            .as_ref()
            .filter(|bias| bias.len() != linear.out_features())
        {
            let rule = linear.out_features().to_string();
            return Err(KernelError::Argument {
                op: OP,
                arg: "bias length",
                found: bias.len(),
                rule,
            });
        }
        Ok(linear)
    }

    /// The same weight, multiplied with other activations.
    ///
    /// # Errors
    /// [`KernelError::NotPacked`] for bytes beside a dense weight.
    pub fn with_activations(mut self, activations: Activations) -> Result<Self, KernelError> {
        if let (LinearWeight::Dense(dense), Activations::Int8) = (&self.weight, activations) {
            return Err(KernelError::NotPacked {
                op: OP,
                found: dense.dtype,
            });
        }
        self.activations = activations;
        Ok(self)
    }

    /// Columns of the weight.
    pub fn in_features(&self) -> usize {
        self.weight.extents().0
    }

    /// Rows of the weight.
    pub fn out_features(&self) -> usize {
        self.weight.extents().1
    }

    /// Bytes that one row reads: weights, and scales and zero points where there are.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = match &self.weight {
            LinearWeight::Dense(dense) => dense.data.len(),
            LinearWeight::Gptq(gptq) => gptq.qweight.len() + gptq.qzeros.len() + gptq.scales.len(),
        };
        bytes as u64
    }

    /// Whether the weight was packed anew, so that the published bytes will not be read again.
    pub fn owns_weights(&self) -> bool {
        self.layout.owned
    }

    /// `x W^T + bias`, with f32 sums.
    ///
    /// # Shapes
    /// - `x`: `[rows, in_features]`, f32, f16 or bf16; the result is `[rows, out_features]` f32
    ///
    /// # Errors
    /// [`KernelError::Shape`] or [`KernelError::Dtype`] for another `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, KernelError> {
        self.forward_on(x, cpu_features())
    }

    /// As [`Self::forward`], with another instruction set than the best: for tests and
    /// measurements.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn forward_on(&self, x: &Tensor, isa: Isa) -> Result<Tensor, KernelError> {
        let &[rows, inputs] = x.dims() else {
            return Err(self.shape_error(x));
        };
        if inputs != self.in_features() {
            return Err(self.shape_error(x));
        }
        let mut y = vec![0.0f32; rows * self.out_features()];
        if y.is_empty() {
            // The kernels take one row at least.
            return Ok(Tensor::from_vec(
                y,
                (rows, self.out_features()),
                x.device(),
            )?);
        }
        match (&self.weight, self.activations) {
            (LinearWeight::Dense(weight), _) => with_f32(OP, "x", x, |x| {
                let x = padded(x, rows, inputs);
                dense::matmul(isa, &x, rows, weight, self.bias.as_deref(), &mut y);
            })?,
            (LinearWeight::Gptq(weight), Activations::Exact) => with_f32(OP, "x", x, |x| {
                let x = self.reordered(x, rows, inputs);
                gptq::matmul(isa, &x, rows, &self.packed(weight), &mut y);
            })?,
            (LinearWeight::Gptq(weight), Activations::Int8) => with_floats(OP, "x", x, |x| {
                let order = self.layout.order.as_deref();
                int8::matmul(
                    isa,
                    int8::Inputs { x, rows, order },
                    &self.packed(weight),
                    &mut y,
                );
            })?,
        }
        Ok(Tensor::from_vec(
            y,
            (rows, self.out_features()),
            x.device(),
        )?)
    }

    fn packed<'w>(&'w self, weight: &'w GptqWeight) -> Packed<'w> {
        Packed {
            bits: weight.bits,
            outputs: weight.out_features,
            zero_words: weight.zero_words(),
            qweight: &weight.qweight,
            qzeros: &weight.qzeros,
            scales: &weight.scales,
            segments: &self.layout.segments,
            bias: self.bias.as_deref(),
        }
    }

    /// Rows in the order of the packed ones, as far apart as the kernel reads them, and next to
    /// nothing as nothing.
    fn reordered(&self, x: &[f32], rows: usize, inputs: usize) -> Vec<f32> {
        let order = self.layout.order.as_deref();
        let stride = gptq::row_stride(rows, order.map_or(inputs, <[u32]>::len));
        let kept = |x: f32| {
            if x.abs() < gptq::SMALLEST_INPUT {
                0.0
            } else {
                x
            }
        };
        let mut wide = vec![0.0; rows * stride];
        wide.par_chunks_exact_mut(stride)
            .zip(x.par_chunks_exact(inputs))
            .for_each(|(to, from)| match order {
                None => to
                    .iter_mut()
                    .zip(from)
                    .for_each(|(to, from)| *to = kept(*from)),
                Some(order) => {
                    for (to, input) in to.iter_mut().zip(order) {
                        *to = from.get(*input as usize).copied().map_or(0.0, kept);
                    }
                }
            });
        wide
    }

    fn shape_error(&self, x: &Tensor) -> KernelError {
        let expected = format!("[rows, {}]", self.in_features());
        KernelError::Shape {
            op: OP,
            arg: "x",
            found: x.dims().to_vec(),
            expected,
        }
    }
}

/// Rows with zeros behind them, so that they end in whole vectors.
fn padded(x: &[f32], rows: usize, inputs: usize) -> Aligned {
    let stride = dense::row_stride(rows, inputs);
    let mut wide = Aligned::zeros(rows * stride);
    // By all threads: the pages of many rows are first touched here.
    let pairs = wide
        .par_chunks_exact_mut(stride)
        .zip(x.par_chunks_exact(inputs));
    pairs.for_each(|(to, from)| to[..inputs].copy_from_slice(from));
    wide
}

fn in_order(weight: &GptqWeight) -> Vec<Segment> {
    let rows = weight.in_features / weight.bits.per_word();
    let rows_per_group = weight.group_size.min(weight.in_features) / weight.bits.per_word();
    let segment = |group: usize| {
        let first_row = group * rows_per_group;
        Segment {
            first_row,
            rows: rows_per_group.min(rows - first_row),
            group,
        }
    };
    (0..weight.num_groups()).map(segment).collect()
}

/// Packs the weight anew with its inputs sorted by group, each group filled up to whole words.
fn sort_by_group(weight: &mut GptqWeight, groups: &[u32]) -> Layout {
    let (per_word, bits, outputs) = (
        weight.bits.per_word(),
        weight.bits.bits(),
        weight.out_features,
    );
    let mut order = Vec::with_capacity(weight.in_features);
    let mut segments = Vec::new();
    for group in 0..weight.num_groups() {
        let first_row = order.len() / per_word;
        order.extend(
            (0..groups.len() as u32).filter(|input| groups[*input as usize] as usize == group),
        );
        order.resize(order.len().next_multiple_of(per_word), FILL);
        segments.push(Segment {
            first_row,
            rows: order.len() / per_word - first_row,
            group,
        });
    }
    let mask = u32::MAX >> (32 - bits);
    let mut packed = vec![0u8; order.len() / per_word * outputs * 4];
    for (row, inputs) in packed
        .chunks_exact_mut(outputs * 4)
        .zip(order.chunks_exact(per_word))
    {
        for (field, &input) in inputs
            .iter()
            .enumerate()
            .filter(|(_, input)| **input != FILL)
        {
            let (from_row, from_shift) =
                (input as usize / per_word, input as usize % per_word * bits);
            let from = &weight.qweight[from_row * outputs * 4..][..outputs * 4];
            for (to, from) in row.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                let word = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
                let bits_there = (word >> from_shift & mask) << (field * bits);
                let sum = u32::from_le_bytes([to[0], to[1], to[2], to[3]]) | bits_there;
                to.copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    weight.qweight = Bytes::from(packed);
    // The small matrices too, so that nothing of the published tensors is needed any more.
    weight.qzeros = Bytes::copy_from_slice(&weight.qzeros);
    weight.scales = Bytes::copy_from_slice(&weight.scales);
    Layout {
        segments,
        order: Some(order),
        owned: true,
    }
}
