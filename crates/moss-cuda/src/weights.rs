//! Linear layers on a card: weights in the kernels' layouts.

use std::{borrow::Cow, ops::Range};

use half::{f16, slice::HalfFloatSliceExt};

use super::{BLOCK, Buffer, Gpu, TILE, Uploader, buffer::View, rule};
use crate::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, KernelError, LinearWeight, permutation::Places,
};

const OP: &str = "linear";

/// Values of a dense weight that are rounded at a time.
const PIECE_VALUES: usize = 1 << 22;

/// How a weight lies on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    F16,
    Int8,
    Int4,
}

impl Format {
    /// Bytes of a tile of 16 outputs and a block of 64 inputs.
    fn block_bytes(self) -> usize {
        match self {
            Self::F16 => TILE * BLOCK * 2,
            Self::Int8 => TILE * BLOCK,
            Self::Int4 => TILE * BLOCK / 2,
        }
    }
}

/// A linear layer on a card.
#[derive(Debug)]
pub struct GpuLinear {
    pub(super) format: Format,
    pub(super) in_features: usize,
    pub(super) out_features: usize,
    pub(super) blocks: usize,
    pub(super) groups: usize,
    pub(super) group_magic: u32,
    /// f16: row-major `[tiles * 16, blocks * 64]`; packed: fragment order.
    pub(super) weight: Buffer<u8>,
    pub(super) table: Option<Buffer<u8>>,
    pub(super) bias: Option<Buffer<f32>>,
    pub(super) scatter: Option<Buffer<u32>>,
    /// Bytes that a token reads, as published.
    bytes: u64,
}

impl GpuLinear {
    /// Copies a weight to the card and into the kernels' layout. A dense one becomes f16.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that do not fit, or a value that f16 cannot hold;
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
            Places::dense(in_features),
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
            // Uniform integers: their spread is levels / sqrt(12).
            let scale = u32::from(f16::from_f32(spread * 12f32.sqrt() / levels).to_bits());
            let pair = |shift: f32| u32::from(f16::from_f32(shift).to_bits()) << 16 | scale;
            let lower = if format == Format::Int4 {
                -(64.0 + zero)
            } else {
                1024.0 + zero
            };
            linear.groups = blocks.div_ceil(2);
            linear.group_magic = 1 << 31;
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

    pub(super) fn empty(
        gpu: &Gpu,
        format: Format,
        in_features: usize,
        out_features: usize,
        places: Places,
    ) -> Result<Self, KernelError> {
        let Places {
            blocks,
            groups,
            group_magic,
            ..
        } = places;
        rule(
            OP,
            "in_features",
            in_features,
            in_features > 0 && blocks < 1 << 16,
            "from 1 to 4194240",
        )?;
        rule(
            OP,
            "out_features",
            out_features,
            out_features > 0,
            "at least 1",
        )?;
        let tiles = out_features.div_ceil(TILE);
        let scatter = places
            .scatter(in_features)
            .map(|scatter| gpu.upload(&scatter))
            .transpose()?;
        Ok(Self {
            format,
            in_features,
            out_features,
            blocks,
            groups,
            group_magic,
            weight: gpu.zeros(tiles * blocks * format.block_bytes())?,
            table: None,
            bias: None,
            scatter,
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

    /// Room for `weight`, zeros yet: [`GpuLinear::load_rows`] brings its rows, on several threads
    /// where it is large.
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
        let mut linear = Self::empty(gpu, Format::F16, cols, rows, Places::dense(cols))?;
        linear.set_bias(gpu, bias)?;
        Ok(linear)
    }

    /// Copies some rows of `weight`, for which [`GpuLinear::for_rows`] made the room, to the card.
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
            format!("at most {most}, dense, of {}", self.in_features),
        )?;
        // A few at a time, so that widths other than f16's cost little memory.
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

    fn load_packed(
        gpu: &Gpu,
        weight: &GptqWeight,
        uploader: &mut Uploader<'_>,
        scratch: &mut Option<Buffer<u8>>,
    ) -> Result<Self, KernelError> {
        weight.check(OP)?;
        let format = match weight.bits {
            GptqBits::Four => Format::Int4,
            GptqBits::Eight => Format::Int8,
        };
        let places = Places::of(weight);
        let mut linear = Self::empty(
            gpu,
            format,
            weight.in_features,
            weight.out_features,
            places.clone(),
        )?;
        linear.bytes = (weight.qweight.len() + weight.qzeros.len() + weight.scales.len()) as u64;
        linear.table = Some(gpu.repack(weight, &places, &linear.weight, uploader, scratch)?);
        Ok(linear)
    }

    fn set_bias(&mut self, gpu: &Gpu, bias: Option<&[f32]>) -> Result<(), KernelError> {
        let Some(bias) = bias else { return Ok(()) };
        rule(
            OP,
            "bias length",
            bias.len(),
            bias.len() == self.out_features,
            self.out_features.to_string(),
        )?;
        self.bias = Some(gpu.upload(bias)?);
        Ok(())
    }

    /// Columns of the weight.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Rows of the weight.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Places of an input row: the inputs, filled up.
    pub fn input_stride(&self) -> usize {
        self.blocks * BLOCK
    }

    /// Place of each input, where it is not its own number (act-order).
    pub fn scatter(&self) -> Option<&Buffer<u32>> {
        self.scatter.as_ref()
    }

    /// Whether a row has places without an input, which must be zero.
    pub fn has_fillers(&self) -> bool {
        self.input_stride() != self.in_features
    }

    /// Whether the inputs of `other` stand at the same places.
    pub fn shares_input(&self, other: &Self) -> bool {
        self.scatter.is_none() && other.scatter.is_none() && self.blocks == other.blocks
    }

    /// Whether it is int4 or int8.
    pub fn is_packed(&self) -> bool {
        self.format != Format::F16
    }

    /// The rows of a dense weight and their stride: an embedding.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a packed one.
    pub fn dense_rows(&self) -> Result<(View<'_, f16>, usize), KernelError> {
        rule(OP, "table", self.in_features, !self.is_packed(), "dense")?;
        Ok((View::of_bytes(&self.weight), self.input_stride()))
    }

    /// Bytes of weights, scales and zero points that a token reads, in the published layout.
    pub fn weight_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes on the card.
    pub fn device_bytes(&self) -> u64 {
        let table = self.table.as_ref().map_or(0, Buffer::bytes);
        self.weight.bytes() + table + self.bias.as_ref().map_or(0, Buffer::bytes)
    }

    /// Blocks of 64 inputs, padding included.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Tiles of 16 outputs.
    pub fn tiles(&self) -> usize {
        self.out_features.div_ceil(TILE)
    }
}

/// Returns the values of a dense weight in f16: borrowed or, for other types, rounded. The first is
/// value `first` of the weight, for the error.
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
    rule(
        OP,
        "weight",
        found,
        lost.is_none(),
        "a value that f16 holds, at every index",
    )?;
    Ok(Cow::Owned(
        halves.iter().flat_map(|half| half.to_le_bytes()).collect(),
    ))
}
