//! Matrices in f32 on a [`Device`], and what GPTQ does with them. The same code runs on the CPU
//! (candle's products) and on a GPU.

mod host;

use std::ops::Range;

use candle_core::Tensor;
use moss_cpu::{
    KernelError, Rule,
    ops::{RopePrecision, RopeTable},
};
use moss_cuda::HeadLayout;
#[cfg(feature = "cuda")]
use moss_cuda::{F32Angles, F32Matrix, F32Part, Gpu, SplitHeads};

use crate::device::Device;

/// `[rows, columns]` f32, row-major.
#[derive(Debug)]
pub(crate) struct Matrix {
    device: Device,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Host(Tensor),
    #[cfg(feature = "cuda")]
    Gpu(F32Matrix),
}

/// Part of a matrix, as a product takes it.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    matrix: &'a Matrix,
    rows: Range<usize>,
    columns: Range<usize>,
    transposed: bool,
}

/// What a product does with the values that its target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Overwrite,
    Add,
}

/// Sines and cosines of rotary embedding, `[positions, pairs]` each.
#[derive(Debug)]
pub(crate) enum Angles {
    Host([Tensor; 2]),
    #[cfg(feature = "cuda")]
    Gpu(F32Angles),
}

impl Angles {
    pub(crate) fn new(
        device: &Device,
        rotary_dim: usize,
        positions: usize,
    ) -> Result<Self, KernelError> {
        let (precision, cpu) = (RopePrecision::F32, candle_core::Device::Cpu);
        let table = RopeTable::new(rotary_dim, positions, precision, &cpu)?;
        match device {
            Device::Cpu => Ok(Self::Host(host::angles(&table, positions)?)),
            #[cfg(feature = "cuda")]
            Device::Gpu(gpu, _) => Ok(Self::Gpu(gpu.f32_angles(
                table.sin(),
                table.cos(),
                table.pairs(),
            )?)),
        }
    }
}

impl Matrix {
    pub(crate) fn zeros(device: &Device, rows: usize, columns: usize) -> Result<Self, KernelError> {
        let values = match device {
            Device::Cpu => Values::Host(host::zeros(rows, columns)?),
            #[cfg(feature = "cuda")]
            Device::Gpu(gpu, _) => Values::Gpu(gpu.f32_zeros(rows, columns)?),
        };
        Ok(Self {
            device: device.clone(),
            values,
        })
    }

    /// A copy of `values`, rows of `columns`.
    pub(crate) fn new(
        device: &Device,
        values: &[f32],
        columns: usize,
    ) -> Result<Self, KernelError> {
        let values = match device {
            Device::Cpu => Values::Host(Tensor::from_slice(
                values,
                ((), columns),
                &candle_core::Device::Cpu,
            )?),
            #[cfg(feature = "cuda")]
            Device::Gpu(gpu, _) => Values::Gpu(gpu.f32_upload(values, columns)?),
        };
        Ok(Self {
            device: device.clone(),
            values,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn rows(&self) -> usize {
        match &self.values {
            Values::Host(tensor) => host::extents(tensor).0,
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => matrix.rows(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match &self.values {
            Values::Host(tensor) => host::extents(tensor).1,
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => matrix.columns(),
        }
    }

    /// All of it, for a product.
    pub(crate) fn all(&self) -> Part<'_> {
        self.part(0..self.rows())
    }

    /// Some rows of it, for a product.
    pub(crate) fn part(&self, rows: Range<usize>) -> Part<'_> {
        Part {
            matrix: self,
            rows,
            columns: 0..self.columns(),
            transposed: false,
        }
    }

    /// The values of some rows, row-major.
    pub(crate) fn to_host(&self, rows: Range<usize>) -> Result<Vec<f32>, KernelError> {
        match &self.values {
            Values::Host(tensor) => Ok(tensor
                .narrow(0, rows.start, rows.len())?
                .flatten_all()?
                .to_vec1()?),
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => self.gpu()?.f32_download(matrix, rows),
        }
    }

    /// Writes `values` over the rows from `first` on.
    pub(crate) fn write(&mut self, first: usize, values: &[f32]) -> Result<(), KernelError> {
        match &mut self.values {
            Values::Host(tensor) => host::write(tensor, first, values),
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => gpu(&self.device)?.f32_write(matrix, first, values),
        }
    }

    /// Copies rows of `from` over the rows from `first` on.
    pub(crate) fn copy(
        &mut self,
        first: usize,
        from: &Self,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        match (&mut self.values, &from.values) {
            (Values::Host(to), Values::Host(from)) => {
                Ok(to.slice_set(&from.narrow(0, rows.start, rows.len())?, 0, first)?)
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(to), Values::Gpu(from)) => {
                gpu(&self.device)?.f32_copy(from, rows, to, first)
            }
            #[cfg(feature = "cuda")]
            _ => Err(apart("copy")),
        }
    }

    /// `self[rows] = alpha a b`, or adds that.
    pub(crate) fn gemm(
        &mut self,
        rows: Range<usize>,
        alpha: f32,
        a: &Part<'_>,
        b: &Part<'_>,
        store: Store,
    ) -> Result<(), KernelError> {
        match (&mut self.values, &a.matrix.values, &b.matrix.values) {
            (Values::Host(y), Values::Host(left), Values::Host(right)) => host::gemm(
                (y, rows),
                alpha,
                &host::part(left, a)?,
                &host::part(right, b)?,
                store,
            ),
            #[cfg(feature = "cuda")]
            (Values::Gpu(y), Values::Gpu(left), Values::Gpu(right)) => {
                let beta = if store == Store::Add { 1.0 } else { 0.0 };
                gpu(&self.device)?.f32_gemm(
                    (y, rows),
                    alpha,
                    &on_gpu(left, a),
                    &on_gpu(right, b),
                    beta,
                )
            }
            #[cfg(feature = "cuda")]
            _ => Err(apart("gemm")),
        }
    }

    /// `a b`
    pub(crate) fn product(a: &Part<'_>, b: &Part<'_>) -> Result<Self, KernelError> {
        let (rows, columns) = (a.extents().0, b.extents().1);
        let mut product = Self::zeros(&a.matrix.device, rows, columns)?;
        product.gemm(0..rows, 1.0, a, b, Store::Overwrite)?;
        Ok(product)
    }

    /// LayerNorm of each row; `weight` and `bias` are `[1, columns]`.
    pub(crate) fn layer_norm(
        &self,
        weight: &Self,
        bias: &Self,
        epsilon: f64,
    ) -> Result<Self, KernelError> {
        let values = match (&self.values, &weight.values, &bias.values) {
            (Values::Host(x), Values::Host(weight), Values::Host(bias)) => {
                Values::Host(host::layer_norm(x, weight, bias, epsilon)?)
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(x), Values::Gpu(weight), Values::Gpu(bias)) => {
                Values::Gpu(self.gpu()?.f32_layer_norm(x, weight, bias, epsilon)?)
            }
            #[cfg(feature = "cuda")]
            _ => return Err(apart("layer_norm")),
        };
        Ok(Self {
            device: self.device.clone(),
            values,
        })
    }

    /// Adds `bias` `[1, columns]` to every row; then gelu (tanh form) where `gelu` says so.
    pub(crate) fn add_bias(&mut self, bias: &Self, gelu: bool) -> Result<(), KernelError> {
        match (&mut self.values, &bias.values) {
            (Values::Host(x), Values::Host(bias)) => {
                let sum = x.broadcast_add(bias)?;
                *x = if gelu { sum.gelu()? } else { sum };
                Ok(())
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(x), Values::Gpu(bias)) => gpu(&self.device)?.f32_add_bias(x, bias, gelu),
            #[cfg(feature = "cuda")]
            _ => Err(apart("add_bias")),
        }
    }

    /// Takes some rows of qkv_proj's outputs, `[rows, 3 * hidden]`, apart. Queries, rotated, are
    /// returned, `[heads * rows, head_dim]`; keys, rotated, and values go to the positions from
    /// `start` on of `cache`, `[heads * positions, head_dim]` each.
    pub(crate) fn split_heads(
        &self,
        rows: Range<usize>,
        angles: &Angles,
        layout: HeadLayout,
        cache: &mut [Self; 2],
        start: usize,
    ) -> Result<Self, KernelError> {
        let [keys, values] = cache;
        let positions = keys.rows() / layout.num_heads;
        if start + rows.len() > positions {
            let (found, rule) = (start + rows.len(), Rule::AtMost(positions));
            return Err(KernelError::Argument {
                op: "attention",
                arg: "end of the rows",
                found,
                rule,
            });
        }
        let values = match (&self.values, angles, &mut keys.values, &mut values.values) {
            (Values::Host(qkv), Angles::Host(angles), Values::Host(keys), Values::Host(values)) => {
                let qkv = qkv.narrow(0, rows.start, rows.len())?;
                Values::Host(host::split_heads(
                    &qkv,
                    angles,
                    layout,
                    [keys, values],
                    start,
                )?)
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(qkv), Angles::Gpu(angles), Values::Gpu(keys), Values::Gpu(values)) => {
                let split = SplitHeads {
                    heads: layout.num_heads,
                    head_dim: layout.head_dim,
                    shards: layout.shards,
                    start,
                };
                Values::Gpu(self.gpu()?.f32_split_heads(
                    qkv,
                    rows,
                    angles,
                    [keys, values],
                    split,
                )?)
            }
            #[cfg(feature = "cuda")]
            _ => return Err(apart("split_heads")),
        };
        Ok(Self {
            device: self.device.clone(),
            values,
        })
    }

    /// Writes `x` `[heads * rows, head_dim]` as `[rows, heads * head_dim]` over the rows from
    /// `first` on.
    pub(crate) fn merge_heads(
        &mut self,
        first: usize,
        x: &Self,
        heads: usize,
    ) -> Result<(), KernelError> {
        match (&mut self.values, &x.values) {
            (Values::Host(to), Values::Host(x)) => {
                Ok(to.slice_set(&host::merged(x, heads)?, 0, first)?)
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(to), Values::Gpu(x)) => {
                gpu(&self.device)?.f32_merge_heads(x, heads, to, first)
            }
            #[cfg(feature = "cuda")]
            _ => Err(apart("merge_heads")),
        }
    }

    /// Makes row `i` the softmax over its columns `0..=first + i`, and zero behind them.
    pub(crate) fn causal_softmax(&mut self, first: usize) -> Result<(), KernelError> {
        match &mut self.values {
            Values::Host(scores) => {
                *scores = host::causal_softmax(scores, first)?;
                Ok(())
            }
            #[cfg(feature = "cuda")]
            Values::Gpu(scores) => gpu(&self.device)?.f32_causal_softmax(scores, first),
        }
    }

    /// Reorders a symmetric matrix, given by panels of `width` columns of its upper triangle: row
    /// and column `i` go to `place[i]`.
    pub(crate) fn permute_upper(
        panels: Vec<Self>,
        width: usize,
        place: &[u32],
    ) -> Result<Vec<Self>, KernelError> {
        let Some(device) = panels.first().map(|panel| panel.device.clone()) else {
            return Ok(panels);
        };
        let matrix = |values| Self {
            device: device.clone(),
            values,
        };
        match &device {
            Device::Cpu => {
                #[cfg_attr(not(feature = "cuda"), allow(clippy::unnecessary_filter_map))]
                let panels = panels.into_iter().filter_map(|panel| match panel.values {
                    Values::Host(tensor) => Some(tensor),
                    #[cfg(feature = "cuda")]
                    Values::Gpu(_) => None,
                });
                let permuted = host::permute_upper(&panels.collect::<Vec<_>>(), width, place)?;
                Ok(permuted
                    .into_iter()
                    .map(|tensor| matrix(Values::Host(tensor)))
                    .collect())
            }
            #[cfg(feature = "cuda")]
            Device::Gpu(gpu, _) => {
                let panels = panels.into_iter().filter_map(|panel| match panel.values {
                    Values::Gpu(panel) => Some(panel),
                    Values::Host(_) => None,
                });
                let permuted = gpu.f32_permute_upper(&panels.collect::<Vec<_>>(), width, place)?;
                Ok(permuted
                    .into_iter()
                    .map(|panel| matrix(Values::Gpu(panel)))
                    .collect())
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn gpu(&self) -> Result<&Gpu, KernelError> {
        gpu(&self.device)
    }
}

impl Part<'_> {
    /// The same part with other columns.
    pub(crate) fn columns(self, columns: Range<usize>) -> Self {
        Self { columns, ..self }
    }

    /// The part's transpose.
    pub(crate) fn transposed(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Rows and columns of what the product takes.
    fn extents(&self) -> (usize, usize) {
        match self.transposed {
            true => (self.columns.len(), self.rows.len()),
            false => (self.rows.len(), self.columns.len()),
        }
    }
}

#[cfg(feature = "cuda")]
fn gpu(device: &Device) -> Result<&Gpu, KernelError> {
    match device {
        Device::Gpu(gpu, _) => Ok(gpu),
        Device::Cpu => Err(apart("gpu")),
    }
}

#[cfg(feature = "cuda")]
fn on_gpu<'a>(matrix: &'a F32Matrix, part: &Part<'_>) -> F32Part<'a> {
    F32Part {
        matrix,
        rows: part.rows.clone(),
        columns: part.columns.clone(),
        transposed: part.transposed,
    }
}

/// Matrices of two devices.
#[cfg(feature = "cuda")]
fn apart(op: &'static str) -> KernelError {
    KernelError::Argument {
        op,
        arg: "devices",
        found: 2,
        rule: Rule::Exactly(1),
    }
}

#[cfg(all(test, feature = "cuda"))]
#[path = "matrix/tests.rs"]
mod tests;
