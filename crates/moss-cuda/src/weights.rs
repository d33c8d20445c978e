//! Linear layers on a GPU, with their weights in the layouts of the kernels.

use std::{borrow::Cow, ops::Range};

use half::{f16, slice::HalfFloatSliceExt};

use moss_weights::{DenseDtype, DenseWeight, GptqBits, KernelError, LinearWeight, Rule};

use crate::{
    address::In,
    buffer::{Buffer, View},
    contract::rule,
    device::Gpu,
    launch::Call,
    layout::{BLOCK, TILE},
    linear_scratch::InputOrder,
    permutation::{InputPermutation, fragment_column},
    upload::Uploader,
};

const OP: &str = "linear";

/// Values of a dense weight that are converted to f16 at a time.
const PIECE_VALUES: usize = 1 << 22;

/// The format of a weight in device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    F16,
    Int8,
    Int4,
}

impl Format {
    /// Returns the bytes of a tile of 16 outputs and a block of 64 inputs.
    fn block_bytes(self) -> usize {
        match self {
            Self::F16 => TILE * BLOCK * 2,
            Self::Int8 => TILE * BLOCK,
            Self::Int4 => TILE * BLOCK / 2,
        }
    }
}

/// A linear layer on a GPU.
#[derive(Debug)]
pub struct GpuLinear {
    pub(crate) format: Format,
    pub(crate) in_features: usize,
    pub(crate) out_features: usize,
    pub(crate) blocks: usize,
    pub(crate) groups: usize,
    /// Blocks that share a scale.
    pub(crate) group_blocks: usize,
    /// f16: row-major `[tiles * 16, blocks * 64]`; packed: fragment order
    /// (`kernels/common/dequantize.cuh`).
    pub(crate) weight: Buffer<u8>,
    /// Scales and zero points of a packed weight.
    pub(crate) table: Option<Buffer<u8>>,
    pub(crate) bias: Option<Buffer<f32>>,
    /// Column of each input, if the inputs are permuted.
    pub(crate) scatter: Option<Buffer<u32>>,
    /// Column of each input in the order of fragments, on GPUs whose kernels read it.
    fragment_scatter: Option<Buffer<u32>>,
    /// Bytes that a token reads, in the published layout.
    pub(crate) bytes: u64,
}

impl GpuLinear {
    /// Copies a weight to the GPU in the layout of the kernels. Dense weights are converted to f16.
    /// `scratch` is reused by later calls.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for data of a wrong length, or a value that overflows f16;
    /// [`KernelError::OutOfMemory`].
    pub fn load(
        gpu: &Gpu,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
        uploader: &mut Uploader<'_>,
        scratch: &mut Option<Buffer<u8>>,
    ) -> Result<Self, KernelError> {
        let mut linear = match weight {
            LinearWeight::Dense(dense) => Self::load_dense(gpu, dense, uploader)?,
            LinearWeight::Gptq(gptq) => Self::load_packed(gpu, gptq, uploader, scratch)?,
        };
        linear.set_bias(gpu, bias)?;
        Ok(linear)
    }

    /// Generates synthetic weights of these sizes on the GPU; groups of 128 inputs.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn random(
        gpu: &Gpu,
        bits: Option<GptqBits>,
        in_features: usize,
        out_features: usize,
        bias: Option<&[f32]>,
        seed: u32,
    ) -> Result<Self, KernelError> {
        let spread = 1.0 / (in_features as f32).sqrt();
        let format = match bits {
            None => Format::F16,
            Some(GptqBits::Eight) => Format::Int8,
            Some(GptqBits::Four) => Format::Int4,
        };
        let blocks = in_features.div_ceil(BLOCK);
        let mut linear = Self::empty(
            gpu,
            format,
            in_features,
            out_features,
            InputPermutation::dense(in_features),
        )?;
        if format == Format::F16 {
            let magnitude = u32::from(f16::from_f32(0.66 * spread).to_bits() & 0x7C00);
            let set = magnitude << 16 | magnitude;
            gpu.fill_random(&linear.weight, seed, 0x83FF_83FF, [set, set])?;
        } else {
            let (levels, zero) = if format == Format::Int4 {
                (16.0, 8.0)
            } else {
                (256.0, 128.0)
            };
            // The standard deviation of uniform integers is levels / sqrt(12).
            let scale = u32::from(f16::from_f32(spread * 12f32.sqrt() / levels).to_bits());
            let pair = |shift: f32| u32::from(f16::from_f32(shift).to_bits()) << 16 | scale;
            let lower = if format == Format::Int4 {
                -(64.0 + zero)
            } else {
                1024.0 + zero
            };
            linear.groups = blocks.div_ceil(2);
            linear.group_blocks = 2;
            let tiles = out_features.div_ceil(TILE);
            let table = gpu.zeros(tiles * linear.groups * 64)?;
            gpu.fill_random(&table, 0, 0, [pair(1024.0 + zero), pair(lower)])?;
            linear.table = Some(table);
            gpu.fill_random(&linear.weight, seed, u32::MAX, [0, 0])?;
            let scales = out_features * in_features.div_ceil(128);
            linear.bytes += (2 * scales
                + if format == Format::Int4 {
                    scales / 2
                } else {
                    scales
                }) as u64;
        }
        linear.set_bias(gpu, bias)?;
        Ok(linear)
    }

    /// Allocates a layer with zeros as its weight.
    pub(crate) fn empty(
        gpu: &Gpu,
        format: Format,
        in_features: usize,
        out_features: usize,
        permutation: InputPermutation,
    ) -> Result<Self, KernelError> {
        let InputPermutation {
            blocks,
            groups,
            group_blocks,
            ..
        } = permutation;
        rule(
            OP,
            "in_features",
            in_features,
            in_features > 0 && blocks < 1 << 16,
            Rule::Between(1, 4_194_240),
        )?;
        rule(
            OP,
            "out_features",
            out_features,
            out_features > 0,
            Rule::AtLeast(1),
        )?;
        let tiles = out_features.div_ceil(TILE);
        let scatter = permutation.scatter(in_features);
        let fragment_scatter = gpu
            .has_wgmma()
            .then(|| gpu.upload(&fragment_columns(scatter.as_deref(), in_features)))
            .transpose()?;
        let scatter = scatter.map(|scatter| gpu.upload(&scatter)).transpose()?;
        Ok(Self {
            format,
            in_features,
            out_features,
            blocks,
            groups,
            group_blocks,
            weight: gpu.zeros(tiles * blocks * format.block_bytes())?,
            table: None,
            bias: None,
            scatter,
            fragment_scatter,
            bytes: (in_features * out_features * format.block_bytes() / (TILE * BLOCK)) as u64,
        })
    }

    fn load_dense(
        gpu: &Gpu,
        weight: &DenseWeight,
        uploader: &mut Uploader<'_>,
    ) -> Result<Self, KernelError> {
        let linear = Self::for_rows(gpu, weight, None)?;
        linear.load_rows(weight, 0..weight.out_features, uploader)?;
        Ok(linear)
    }

    /// Allocates the layer of `weight`, with zeros. [`GpuLinear::load_rows`] copies its rows, which
    /// several threads can do.
    ///
    /// # Errors
    /// As for [`GpuLinear::load`].
    pub fn for_rows(
        gpu: &Gpu,
        weight: &DenseWeight,
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        weight.check(OP)?;
        let (rows, cols) = (weight.out_features, weight.in_features);
        let permutation = InputPermutation::dense(cols);
        let mut linear = Self::empty(gpu, Format::F16, cols, rows, permutation)?;
        linear.set_bias(gpu, bias)?;
        Ok(linear)
    }

    /// Copies some rows of `weight`, which [`GpuLinear::for_rows`] has allocated, to the GPU.
    ///
    /// # Errors
    /// As for [`GpuLinear::load`].
    pub fn load_rows(
        &self,
        weight: &DenseWeight,
        rows: Range<usize>,
        uploader: &mut Uploader<'_>,
    ) -> Result<(), KernelError> {
        let (cols, stride, row_bytes) = (
            weight.in_features,
            self.input_stride() * 2,
            weight.in_features * weight.dtype.bytes(),
        );
        weight.check(OP)?;
        let most = self.out_features.min(weight.out_features);
        let fits = !self.is_packed() && cols == self.in_features && rows.end <= most;
        rule(
            OP,
            "rows",
            rows.end,
            fits,
            Rule::DenseAtMost {
                most,
                inputs: self.in_features,
            },
        )?;
        // In pieces, because the conversion from other types needs host memory.
        let rows_at_once = (PIECE_VALUES / cols).max(1);
        for first in rows.clone().step_by(rows_at_once) {
            let end = rows.end.min(first + rows_at_once);
            let halves = as_f16(
                weight.dtype,
                &weight.data[first * row_bytes..end * row_bytes],
                first * cols,
            )?;
            if stride == cols * 2 {
                uploader.copy(&halves, &self.weight, first * stride)?;
                continue;
            }
            for (row, values) in halves.chunks_exact(cols * 2).enumerate() {
                uploader.copy(values, &self.weight, (first + row) * stride)?;
            }
        }
        Ok(())
    }

    fn set_bias(&mut self, gpu: &Gpu, bias: Option<&[f32]>) -> Result<(), KernelError> {
        let Some(bias) = bias else { return Ok(()) };
        rule(
            OP,
            "bias length",
            bias.len(),
            bias.len() == self.out_features,
            Rule::Exactly(self.out_features),
        )?;
        self.bias = Some(gpu.upload(bias)?);
        Ok(())
    }

    /// Returns the number of inputs.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Returns the number of outputs.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Returns the columns of an input: the inputs with their padding.
    pub fn input_stride(&self) -> usize {
        self.blocks * BLOCK
    }

    /// Returns the column of each input, if the inputs are permuted (act-order).
    pub fn scatter(&self) -> Option<&Buffer<u32>> {
        self.scatter.as_ref()
    }

    /// Returns true if an input has padding columns, which must be zero.
    pub fn has_padding(&self) -> bool {
        self.input_stride() != self.in_features
    }

    /// Returns true if `other` takes its inputs in the same columns.
    pub fn shares_input(&self, other: &Self) -> bool {
        self.scatter.is_none()
            && other.scatter.is_none()
            && self.blocks == other.blocks
            && self.is_packed() == other.is_packed()
    }

    /// Returns the order of the inputs that the matrix products of prefill read.
    pub fn prompt_order(&self) -> InputOrder<'static> {
        if self.is_packed() && self.fragment_scatter.is_some() {
            InputOrder::PromptFragments
        } else {
            InputOrder::Columns
        }
    }

    /// Returns true if the weight is int4 or int8.
    pub fn is_packed(&self) -> bool {
        self.format != Format::F16
    }

    /// Returns the values of a dense weight and the stride of its rows, for an embedding.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a packed weight.
    pub fn dense_rows(&self) -> Result<(View<'_, f16>, usize), KernelError> {
        rule(
            OP,
            "table",
            self.in_features,
            !self.is_packed(),
            Rule::Dense,
        )?;
        Ok((View::of_bytes(&self.weight), self.input_stride()))
    }

    /// Returns the bytes of weights, scales and zero points that a token reads, in the published
    /// layout.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the bytes of device memory.
    pub fn device_bytes(&self) -> u64 {
        let table = self.table.as_ref().map_or(0, Buffer::bytes);
        self.weight.bytes() + table + self.bias.as_ref().map_or(0, Buffer::bytes)
    }

    /// Returns the blocks of 64 inputs, padding included.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Returns the tiles of 16 outputs.
    pub fn tiles(&self) -> usize {
        self.out_features.div_ceil(TILE)
    }

    /// Returns the weight and the table, or null, as kernels take them.
    pub(crate) fn addresses<'a>(&'a self, call: &Call<'a>) -> Result<[In<u8>; 2], KernelError> {
        // A kernel reads all of both: their sizes follow from tiles, blocks and groups.
        let table = self.table.as_ref();
        let table_len = table.map_or(0, Buffer::len);
        Ok([
            call.input("weight", &self.weight, self.weight.len())?,
            call.optional_input("table", table, table_len)?,
        ])
    }

    /// Returns the column of each input in an order, or null for the column of its number, as
    /// kernels take it.
    pub(crate) fn scatter_address<'a>(
        &'a self,
        call: &Call<'a>,
        order: InputOrder<'_>,
    ) -> Result<In<u32>, KernelError> {
        let scatter = match order {
            InputOrder::Columns => self.scatter.as_ref(),
            InputOrder::Fragments(_) | InputOrder::PromptFragments => {
                let has_order = self.fragment_scatter.is_some();
                rule(OP, "input order", 0, has_order, Rule::OnDevice)?;
                self.fragment_scatter.as_ref()
            }
        };
        call.optional_input("scatter", scatter, self.in_features)
    }
}

/// Returns the place of each input in the order of fragments.
fn fragment_columns(scatter: Option<&[u32]>, in_features: usize) -> Vec<u32> {
    let column = |input: usize| scatter.map_or(input, |columns| columns[input] as usize);
    (0..in_features)
        .map(|input| fragment_column(column(input)) as u32)
        .collect()
}

/// Returns the values of a dense weight in f16: borrowed or, for other types, converted. The error
/// counts values from `first`.
fn as_f16(dtype: DenseDtype, values: &[u8], first: usize) -> Result<Cow<'_, [u8]>, KernelError> {
    if dtype == DenseDtype::F16 {
        return Ok(Cow::Borrowed(values));
    }
    let mut wide = vec![0.0; values.len() / dtype.bytes()];
    dtype.widen(values, &mut wide);
    let mut halves = vec![f16::ZERO; wide.len()];
    halves.convert_from_f32_slice(&wide);
    let lost = halves
        .iter()
        .zip(&wide)
        .position(|(half, value)| half.is_infinite() && value.is_finite());
    let found = first + lost.unwrap_or(0);
    rule(OP, "weight", found, lost.is_none(), Rule::HeldByF16)?;
    Ok(Cow::Owned(
        halves.iter().flat_map(|half| half.to_le_bytes()).collect(),
    ))
}
