//! f32 matrices on a [`Device`], with the operations of GPTQ. The same calls run on the CPU and on
//! a GPU.

mod host;
mod part;

use std::ops::Range;

use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::HeadLayout;
#[cfg(feature = "cuda")]
use moss_cuda::{F32Angles, F32Matrix, F32Part, Gpu, SplitHeads};

use moss_weights::{KernelError, Rule};

use self::part::Region;
pub(crate) use self::{host::HostMatrix, part::Store};
use crate::device::Device;

/// `[rows, columns]` f32, row-major.
#[derive(Debug)]
pub(crate) struct Matrix {
    device: Device,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Host(HostMatrix),
    #[cfg(feature = "cuda")]
    Gpu(F32Matrix),
}

/// An operand of a product: a block of a matrix, or its transpose.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    matrix: &'a Matrix,
    region: Region,
}

/// Sines and cosines of rotary embedding, `[positions, pairs]` each.
#[derive(Debug)]
pub(crate) enum Angles {
    Host(RopeTable),
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
            Device::Cpu => Ok(Self::Host(table)),
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
            Device::Cpu => Values::Host(HostMatrix::zeros(rows, columns)?),
            #[cfg(feature = "cuda")]
            Device::Gpu(gpu, _) => Values::Gpu(gpu.f32_zeros(rows, columns)?),
        };
        Ok(Self {
            device: device.clone(),
            values,
        })
    }

    /// Copies `values`, rows of `columns`, to the device.
    pub(crate) fn new(
        device: &Device,
        values: &[f32],
        columns: usize,
    ) -> Result<Self, KernelError> {
        let values = match device {
            Device::Cpu => {
                let rows = values.len() / columns.max(1);
                Values::Host(HostMatrix::new(values.to_vec(), rows, columns)?)
            }
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
            Values::Host(matrix) => matrix.rows(),
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => matrix.rows(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match &self.values {
            Values::Host(matrix) => matrix.columns(),
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => matrix.columns(),
        }
    }

    /// Returns the whole matrix as an operand.
    pub(crate) fn all(&self) -> Part<'_> {
        self.part(0..self.rows())
    }

    /// Returns `rows` as an operand.
    pub(crate) fn part(&self, rows: Range<usize>) -> Part<'_> {
        Part {
            matrix: self,
            region: Region {
                rows,
                columns: 0..self.columns(),
                transposed: false,
            },
        }
    }

    /// Returns the values of `rows`, row-major.
    pub(crate) fn to_host(&self, rows: Range<usize>) -> Result<Vec<f32>, KernelError> {
        match &self.values {
            Values::Host(matrix) => matrix.to_vec(rows),
            #[cfg(feature = "cuda")]
            Values::Gpu(matrix) => self.gpu()?.f32_download(matrix, rows),
        }
    }

    /// Overwrites the rows from `first` on.
    pub(crate) fn write(&mut self, first: usize, values: &[f32]) -> Result<(), KernelError> {
        match &mut self.values {
            Values::Host(matrix) => matrix.write(first, values),
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
            (Values::Host(to), Values::Host(from)) => to.copy(first, from, rows),
            #[cfg(feature = "cuda")]
            (Values::Gpu(to), Values::Gpu(from)) => {
                gpu(&self.device)?.f32_copy(from, rows, to, first)
            }
            #[cfg(feature = "cuda")]
            _ => Err(device_mismatch("copy")),
        }
    }

    /// Computes `self[rows] = alpha a b` or `self[rows] += alpha a b`.
    pub(crate) fn gemm(
        &mut self,
        rows: Range<usize>,
        alpha: f32,
        a: &Part<'_>,
        b: &Part<'_>,
        store: Store,
    ) -> Result<(), KernelError> {
        match (&mut self.values, &a.matrix.values, &b.matrix.values) {
            (Values::Host(y), Values::Host(left), Values::Host(right)) => {
                let (left, right) = (left.operand(&a.region)?, right.operand(&b.region)?);
                y.gemm(rows, alpha, &left, &right, store)
            }
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
            _ => Err(device_mismatch("gemm")),
        }
    }

    /// Computes `a b`.
    pub(crate) fn product(a: &Part<'_>, b: &Part<'_>) -> Result<Self, KernelError> {
        let (rows, columns) = (a.region.shape().0, b.region.shape().1);
        let mut product = Self::zeros(&a.matrix.device, rows, columns)?;
        product.gemm(0..rows, 1.0, a, b, Store::Overwrite)?;
        Ok(product)
    }

    /// Normalizes each row (LayerNorm); `weight` and `bias` are `[1, columns]`.
    pub(crate) fn layer_norm(
        &self,
        weight: &Self,
        bias: &Self,
        epsilon: f64,
    ) -> Result<Self, KernelError> {
        let values = match (&self.values, &weight.values, &bias.values) {
            (Values::Host(x), Values::Host(weight), Values::Host(bias)) => {
                Values::Host(x.layer_norm(weight, bias, epsilon)?)
            }
            #[cfg(feature = "cuda")]
            (Values::Gpu(x), Values::Gpu(weight), Values::Gpu(bias)) => {
                Values::Gpu(self.gpu()?.f32_layer_norm(x, weight, bias, epsilon)?)
            }
            #[cfg(feature = "cuda")]
            _ => return Err(device_mismatch("layer_norm")),
        };
        Ok(Self {
            device: self.device.clone(),
            values,
        })
    }

    /// Adds `bias` `[1, columns]` to every row, then applies gelu (tanh form) if `gelu`.
    pub(crate) fn add_bias(&mut self, bias: &Self, gelu: bool) -> Result<(), KernelError> {
        match (&mut self.values, &bias.values) {
            (Values::Host(x), Values::Host(bias)) => x.add_bias(bias, gelu),
            #[cfg(feature = "cuda")]
            (Values::Gpu(x), Values::Gpu(bias)) => gpu(&self.device)?.f32_add_bias(x, bias, gelu),
            #[cfg(feature = "cuda")]
            _ => Err(device_mismatch("add_bias")),
        }
    }

    /// Splits `rows` of qkv_proj's outputs, `[rows, 3 * hidden]`, into heads. Returns the rotated
    /// queries, `[heads * rows, head_dim]`. Writes the rotated keys, and the values, to the
    /// positions from `start` on of `cache`, `[heads * positions, head_dim]` each.
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
                Values::Host(qkv.split_heads(rows, angles, layout, [keys, values], start)?)
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
            _ => return Err(device_mismatch("split_heads")),
        };
        Ok(Self {
            device: self.device.clone(),
            values,
        })
    }

    /// Overwrites the rows from `first` on with `x` `[heads * rows, head_dim]` as
    /// `[rows, heads * head_dim]`.
    pub(crate) fn merge_heads(
        &mut self,
        first: usize,
        x: &Self,
        heads: usize,
    ) -> Result<(), KernelError> {
        match (&mut self.values, &x.values) {
            (Values::Host(to), Values::Host(x)) => to.merge_heads(first, x, heads),
            #[cfg(feature = "cuda")]
            (Values::Gpu(to), Values::Gpu(x)) => {
                gpu(&self.device)?.f32_merge_heads(x, heads, to, first)
            }
            #[cfg(feature = "cuda")]
            _ => Err(device_mismatch("merge_heads")),
        }
    }

    /// Replaces row `i` by the softmax over its columns `0..=first + i`; later columns become zero.
    pub(crate) fn causal_softmax(&mut self, first: usize) -> Result<(), KernelError> {
        match &mut self.values {
            Values::Host(scores) => scores.causal_softmax(first),
            #[cfg(feature = "cuda")]
            Values::Gpu(scores) => gpu(&self.device)?.f32_causal_softmax(scores, first),
        }
    }

    /// Moves row and column `i` of a symmetric matrix to `place[i]`. The matrix is given by panels
    /// of `width` columns of its upper triangle.
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
                    Values::Host(panel) => Some(panel),
                    #[cfg(feature = "cuda")]
                    Values::Gpu(_) => None,
                });
                let permuted =
                    HostMatrix::permute_upper(&panels.collect::<Vec<_>>(), width, place)?;
                Ok(permuted
                    .into_iter()
                    .map(|panel| matrix(Values::Host(panel)))
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
    /// Restricts the operand, as stored, to `columns`.
    pub(crate) fn columns(mut self, columns: Range<usize>) -> Self {
        self.region.columns = columns;
        self
    }

    /// Transposes the operand.
    pub(crate) fn transposed(mut self) -> Self {
        self.region.transposed = !self.region.transposed;
        self
    }
}

#[cfg(feature = "cuda")]
fn gpu(device: &Device) -> Result<&Gpu, KernelError> {
    match device {
        Device::Gpu(gpu, _) => Ok(gpu),
        Device::Cpu => Err(device_mismatch("gpu")),
    }
}

#[cfg(feature = "cuda")]
fn on_gpu<'a>(matrix: &'a F32Matrix, part: &Part<'_>) -> F32Part<'a> {
    F32Part {
        matrix,
        rows: part.region.rows.clone(),
        columns: part.region.columns.clone(),
        transposed: part.region.transposed,
    }
}

/// The error for matrices on different devices.
#[cfg(feature = "cuda")]
fn device_mismatch(op: &'static str) -> KernelError {
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
