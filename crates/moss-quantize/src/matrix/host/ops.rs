//! Elementwise and row-wise operations, and the layout changes of attention.

use std::{array, ops::Range};

use moss_cpu::ops::RopeTable;
use moss_cuda::HeadLayout;
use moss_model::QkvPart;
use moss_weights::KernelError;
use rayon::prelude::*;

use super::HostMatrix;

impl HostMatrix {
    /// See [`crate::matrix::Matrix::layer_norm`].
    pub(crate) fn layer_norm(
        &self,
        weight: &Self,
        bias: &Self,
        epsilon: f64,
    ) -> Result<Self, KernelError> {
        let mut values = self.to_vec(0..self.rows)?;
        weight.read(|weight| {
            bias.read(|bias| {
                let rows = values.par_chunks_exact_mut(self.columns.max(1));
                rows.for_each(|row| normalize(row, weight, bias, epsilon as f32));
            })
        })??;
        Self::new(values, self.rows, self.columns)
    }

    /// See [`crate::matrix::Matrix::add_bias`].
    pub(crate) fn add_bias(&mut self, bias: &Self, gelu: bool) -> Result<(), KernelError> {
        let columns = self.columns.max(1);
        bias.read(|bias| {
            self.edit(|values| {
                values.par_chunks_exact_mut(columns).for_each(|row| {
                    for (x, bias) in row.iter_mut().zip(bias) {
                        *x += bias;
                        if gelu {
                            *x = gelu_tanh(*x);
                        }
                    }
                });
            })
        })?
    }

    /// See [`crate::matrix::Matrix::causal_softmax`].
    pub(crate) fn causal_softmax(&mut self, first: usize) -> Result<(), KernelError> {
        let columns = self.columns;
        self.edit(|values| {
            let rows = values.par_chunks_exact_mut(columns.max(1)).enumerate();
            rows.for_each(|(index, row)| {
                let (visible, masked) = row.split_at_mut((first + index + 1).min(columns));
                softmax(visible);
                masked.fill(0.0);
            });
        })
    }

    /// See [`crate::matrix::Matrix::split_heads`].
    pub(crate) fn split_heads(
        &self,
        rows: Range<usize>,
        angles: &RopeTable,
        layout: HeadLayout,
        [keys, values]: [&mut Self; 2],
        start: usize,
    ) -> Result<Self, KernelError> {
        let (heads, head_dim, count) = (layout.num_heads, layout.head_dim, rows.len());
        let mut queries = Self::zeros(heads * count, head_dim)?;
        let range = self.range(rows);
        self.read(|qkv| {
            let heads_of = |part| QkvHeads {
                qkv: &qkv[range.clone()],
                layout,
                part,
            };
            queries.write_heads(0, &heads_of(QkvPart::Query), Some((angles, start)))?;
            keys.write_heads(start, &heads_of(QkvPart::Key), Some((angles, start)))?;
            values.write_heads(start, &heads_of(QkvPart::Value), None)
        })??;
        Ok(queries)
    }

    /// Writes the rows of each head from the head's row `first` on, rotated if `rotary` is given:
    /// the table and the position of the first row.
    fn write_heads(
        &mut self,
        first: usize,
        from: &QkvHeads<'_>,
        rotary: Option<(&RopeTable, usize)>,
    ) -> Result<(), KernelError> {
        let (head_dim, rows_per_head) = (self.columns, self.rows / from.layout.num_heads);
        self.edit(|values| {
            let heads = values.par_chunks_exact_mut((rows_per_head * head_dim).max(1));
            heads.enumerate().for_each(|(head, values)| {
                let rows = values[first * head_dim..].chunks_exact_mut(head_dim);
                for (index, (to, from)) in rows.zip(from.rows(head)).enumerate() {
                    to.copy_from_slice(from);
                    if let Some((table, start)) = rotary {
                        rotate(to, table, start + index);
                    }
                }
            });
        })
    }

    /// See [`crate::matrix::Matrix::merge_heads`].
    pub(crate) fn merge_heads(
        &mut self,
        first: usize,
        x: &Self,
        heads: usize,
    ) -> Result<(), KernelError> {
        let (columns, head_dim, rows) = (self.columns, x.columns, x.rows / heads);
        let range = self.range(first..first + rows);
        x.read(|x| {
            self.edit(|values| {
                let merged = values[range.clone()].par_chunks_exact_mut(columns.max(1));
                merged.enumerate().for_each(|(row, to)| {
                    for (head, to) in to.chunks_exact_mut(head_dim).enumerate() {
                        to.copy_from_slice(&x[(head * rows + row) * head_dim..][..head_dim]);
                    }
                });
            })
        })?
    }

    /// See [`crate::matrix::Matrix::permute_upper`].
    pub(crate) fn permute_upper(
        panels: &[Self],
        width: usize,
        place: &[u32],
    ) -> Result<Vec<Self>, KernelError> {
        let n = place.len();
        let mut order = vec![0usize; n];
        for (from, to) in place.iter().enumerate() {
            order[*to as usize] = from;
        }
        let panels = panels
            .iter()
            .map(|panel| panel.to_vec(0..panel.rows))
            .collect::<Result<Vec<_>, _>>()?;
        let value = |a: usize, b: usize| {
            // A diagonal block is stored completely; its halves may differ in the last bit.
            let (row, column) = if a / width > b / width {
                (b, a)
            } else {
                (a, b)
            };
            let (panel, start) = (column / width, column / width * width);
            panels[panel][row * width.min(n - start) + column - start]
        };
        let panel = |start: usize| {
            let end = n.min(start + width);
            let mut permuted = vec![0.0f32; end * (end - start)];
            let rows = permuted.par_chunks_exact_mut(end - start).enumerate();
            rows.for_each(|(row, to)| {
                for (to, column) in to.iter_mut().zip(start..end) {
                    *to = value(order[column], order[row]);
                }
            });
            Self::new(permuted, end, end - start)
        };
        (0..n).step_by(width).map(panel).collect()
    }
}

/// Queries, keys or values among the outputs of qkv_proj.
struct QkvHeads<'a> {
    /// `[rows, shards, 3, heads / shards, head_dim]`
    qkv: &'a [f32],
    layout: HeadLayout,
    part: QkvPart,
}

impl<'a> QkvHeads<'a> {
    /// Returns the rows of `head`, `[head_dim]` each.
    fn rows(&self, head: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let HeadLayout {
            num_heads,
            head_dim,
            shards,
        } = self.layout;
        let per_shard = num_heads / shards;
        let slab = (head / per_shard * 3 + self.part as usize) * per_shard;
        let start = (slab + head % per_shard) * head_dim;
        self.qkv
            .chunks_exact(3 * num_heads * head_dim)
            .map(move |row| &row[start..start + head_dim])
    }
}

/// LayerNorm of one row.
fn normalize(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    let scale = (1.0 / row.len() as f64) as f32;
    let mean = sum(row, |x| x) * scale;
    row.iter_mut().for_each(|x| *x -= mean);
    let deviation = (sum(row, |x| x * x) * scale + epsilon).sqrt();
    for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *x = *x / deviation * weight + bias;
    }
}

/// Sums `f` of all values in 32 independent lanes, which the compiler vectorizes, and which lose
/// less than one running sum.
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    let eight: [f32; 8] =
        array::from_fn(|at| (lanes[at] + lanes[at + 8]) + (lanes[at + 16] + lanes[at + 24]));
    let four: [f32; 4] = array::from_fn(|at| eight[at] + eight[at + 4]);
    let total = (four[0] + four[1]) + (four[2] + four[3]);
    rest.iter().fold(total, |total, value| total + f(*value))
}

/// Gelu in its tanh form, as in [`moss_cpu::ops::gelu_tanh`], with the exact tanh.
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + (SQRT_2_OVER_PI * x * (1.0 + 0.044715 * x * x)).tanh())
}

fn softmax(row: &mut [f32]) {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

/// Rotates the lanes `(2i, 2i + 1)` of one head at `position`.
fn rotate(head: &mut [f32], table: &RopeTable, position: usize) {
    let pairs = table.pairs();
    let sin = &table.sin()[position * pairs..][..pairs];
    let cos = &table.cos()[position * pairs..][..pairs];
    let lanes = head.as_chunks_mut::<2>().0.iter_mut();
    for (([even, odd], sin), cos) in lanes.zip(sin).zip(cos) {
        (*even, *odd) = (*even * cos - *odd * sin, *odd * cos + *even * sin);
    }
}
