//! One linear layer, quantised: to the nearest, or by GPTQ (Frantar et al., arXiv 2210.17323).
//!
//! GPTQ rounds the weights input by input. What rounding one input's weights does to the outputs is made up for, as far as it can be, by
//! the weights of the inputs still to come: with `U` the upper factor of the inverse Hessian, `w[j] -= (w[i] - rounded) / U[i][i] * U[i][j]`.
//! Inputs are taken in blocks: within one the correction is immediate, for all that come after it is one matrix product.

use half::f16;
use rayon::prelude::*;

use crate::{
    factor::{Factor, subtract_product},
    grid::Grid,
    pack::{pack_columns, pack_rows},
};

/// Inputs of a block, at least.
const BLOCK: usize = 128;
/// Outputs that one task takes: a block of them stays in its core's cache.
const STRIP: usize = 64;

/// What may be chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) bits: u32,
    /// Inputs that share a scale.
    pub(crate) group_size: usize,
}

/// A quantised layer: the bytes of the published tensors.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) qweight: Vec<u8>,
    pub(crate) qzeros: Vec<u8>,
    pub(crate) scales: Vec<u8>,
    /// Group of each input.
    pub(crate) g_idx: Vec<u32>,
    /// `|W - W'|^2 / |W|^2`
    pub(crate) weight_error: f64,
    /// The same of the outputs, on the calibration inputs: `trace(D H D^T) / trace(W H W^T)`, `D = W - W'`, `H` dampened.
    pub(crate) output_error: Option<f64>,
}

/// Quantises `weight` `[outputs, inputs]`, row-major; to the nearest where there is no factor. `None` for weights that no f16 scale covers.
pub(crate) fn quantize_linear(
    weight: &[f32],
    inputs: usize,
    factor: Option<&Factor>,
    layout: Layout,
) -> Option<Packed> {
    let outputs = weight.len() / inputs;
    let order = factor.map_or_else(|| (0..inputs).collect(), |factor| factor.order.clone());
    // [inputs in order, outputs]: what belongs to one input is one run.
    let mut w = vec![0.0f32; weight.len()];
    w.par_chunks_exact_mut(outputs).zip(&order).for_each(|(row, input)| {
        // An input that is always zero needs no weights.
        if factor.is_none_or(|factor| !factor.dead[*input]) {
            let column = weight.iter().skip(*input).step_by(inputs);
            row.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
        }
    });
    let energy = factor.map(|factor| factor.energy(&w, outputs));
    let mut rounded = Rounded::new(inputs, outputs, layout);
    rounded.run(&mut w, factor)?;

    let mut place = vec![0; inputs];
    order.iter().enumerate().for_each(|(at, input)| place[*input] = at);
    let square = |value: f32| f64::from(value).powi(2);
    let loss = |input: usize| {
        let column = weight.iter().skip(input).step_by(inputs);
        column.zip(rounded.values(place[input])).map(|(a, b)| square(a - b)).sum::<f64>()
    };
    // Sums in a fixed order: the same report from any number of threads.
    let weight_loss: f64 = (0..inputs).into_par_iter().map(loss).collect::<Vec<_>>().iter().sum();
    Some(Packed {
        qweight: pack_rows(inputs, outputs, layout.bits, |input| rounded.fields(place[input])),
        qzeros: pack_columns(&rounded.zeros(), outputs, layout.bits),
        scales: rounded.grids.iter().flat_map(|grid| f16::from_f32(grid.scale).to_le_bytes()).collect(),
        g_idx: place.iter().map(|at| (at / layout.group_size) as u32).collect(),
        weight_error: ratio(weight_loss, weight.iter().map(|value| square(*value)).sum()),
        output_error: energy.map(|energy| ratio(rounded.output_loss, energy)),
    })
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Fields and grids, as far as they are known.
struct Rounded {
    layout: Layout,
    outputs: usize,
    /// `[inputs in order, outputs]`
    fields: Vec<u8>,
    /// `[groups, outputs]`
    grids: Vec<Grid>,
    /// `trace(D H D^T)`
    output_loss: f64,
}

/// One block of one strip of outputs.
struct Strip {
    /// `[block, strip]`
    fields: Vec<u8>,
    /// What rounding left over, `[block, strip]`, over `U[i][i]`.
    errors: Vec<f32>,
    /// `[groups of the block, strip]`
    grids: Vec<Grid>,
}

impl Rounded {
    fn new(inputs: usize, outputs: usize, layout: Layout) -> Self {
        let fields = Vec::with_capacity(inputs * outputs);
        Self { layout, outputs, fields, grids: vec![], output_loss: 0.0 }
    }

    fn run(&mut self, w: &mut [f32], factor: Option<&Factor>) -> Option<()> {
        let (outputs, inputs) = (self.outputs, w.len() / self.outputs);
        let block = BLOCK.next_multiple_of(self.layout.group_size); // groups begin and end within a block
        for first in (0..inputs).step_by(block) {
            let count = block.min(inputs - first);
            let (now, later) = w[first * outputs..].split_at_mut(count * outputs);
            let upper: Option<Vec<f32>> = factor.map(|u| {
                (0..count * count).map(|at| u.upper(first + at / count, first + at % count)).collect()
            });
            let strips: Vec<Strip> = (0..outputs)
                .step_by(STRIP)
                .collect::<Vec<_>>()
                .into_par_iter()
                .map(|start| {
                    let width = STRIP.min(outputs - start);
                    let strip = now.chunks_exact(outputs).flat_map(|row| &row[start..start + width]);
                    round_strip(strip.copied().collect(), width, upper.as_deref(), self.layout)
                })
                .collect::<Option<_>>()?;
            for input in 0..count {
                let rows = strips.iter().flat_map(|strip| row(&strip.fields, input, count));
                self.fields.extend(rows);
            }
            let groups = count.div_ceil(self.layout.group_size);
            for group in 0..groups {
                self.grids.extend(strips.iter().flat_map(|strip| row(&strip.grids, group, groups)));
            }
            let Some(factor) = factor else { continue };
            let errors: Vec<f32> = (0..count)
                .flat_map(|input| strips.iter().flat_map(move |strip| row(&strip.errors, input, count)))
                .copied()
                .collect();
            self.output_loss += errors.iter().map(|error| f64::from(*error).powi(2)).sum::<f64>();
            let rest = inputs - first - count;
            if rest > 0 {
                let ahead: Vec<f32> = (0..count * rest)
                    .map(|at| factor.upper(first + at / rest, first + count + at % rest))
                    .collect();
                subtract_product(later, &ahead, &errors, count, outputs);
            }
        }
        Some(())
    }

    /// Numbers of the points that input `at`'s weights became, `[outputs]`.
    fn fields(&self, at: usize) -> &[u8] {
        row(&self.fields, at, self.fields.len() / self.outputs)
    }

    /// The weights that input `at`'s weights became.
    fn values(&self, at: usize) -> impl Iterator<Item = f32> {
        let grids = &self.grids[at / self.layout.group_size * self.outputs..];
        self.fields(at).iter().zip(grids).map(|(field, grid)| grid.value(*field))
    }

    /// Zero points as they are stored: less one.
    fn zeros(&self) -> Vec<u8> {
        self.grids.iter().map(|grid| (grid.zero - 1.0) as u8).collect()
    }
}

/// Rounds `w` `[block, width]`; `upper` is the block's part of `U`, `[block, block]`.
fn round_strip(mut w: Vec<f32>, width: usize, upper: Option<&[f32]>, layout: Layout) -> Option<Strip> {
    let count = w.len() / width;
    let mut strip = Strip { fields: vec![0; w.len()], errors: vec![0.0; w.len()], grids: vec![] };
    for input in 0..count {
        if input % layout.group_size == 0 {
            let group = &w[input * width..count.min(input + layout.group_size) * width];
            for output in 0..width {
                let values = group.iter().skip(output).step_by(width).copied();
                strip.grids.push(Grid::covering(values, layout.bits)?);
            }
        }
        let grids = &strip.grids[strip.grids.len() - width..];
        let (now, later) = w[input * width..].split_at_mut(width);
        let errors = &mut strip.errors[input * width..][..width];
        let fields = &mut strip.fields[input * width..][..width];
        for (((value, grid), field), error) in now.iter().zip(grids).zip(fields).zip(errors.iter_mut()) {
            *field = grid.round(*value);
            *error = value - grid.value(*field);
        }
        let Some(upper) = upper else { continue };
        let upper = &upper[input * count..][input..count];
        errors.iter_mut().for_each(|error| *error /= upper[0]);
        for (row, factor) in later.chunks_exact_mut(width).zip(&upper[1..]) {
            row.iter_mut().zip(errors.iter()).for_each(|(value, error)| *value -= error * factor);
        }
    }
    Some(strip)
}

/// Row `at` of `rows`.
fn row<T>(values: &[T], at: usize, rows: usize) -> &[T] {
    let width = values.len() / rows.max(1);
    &values[at * width..][..width]
}
