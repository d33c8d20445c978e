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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::factor::Hessian;

    const INPUTS: usize = 160;
    const OUTPUTS: usize = 70;
    const LAYOUT: Layout = Layout { bits: 4, group_size: 32 };

    /// Numbers in -1..1 that look random.
    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// Inputs that depend on each other and are of different strengths, `[rows, INPUTS]`; input 5 is always zero.
    fn inputs(rows: usize) -> Vec<f32> {
        let mut x = noise(rows * INPUTS, 3);
        for row in x.chunks_exact_mut(INPUTS) {
            for at in 1..INPUTS {
                row[at] = (row[at] + 0.7 * row[at - 1]) * if at % 7 == 0 { 3.0 } else { 1.0 };
            }
            row[5] = 0.0;
        }
        x
    }

    /// The method as the papers before GPTQ have it: after each input the inverse Hessian of those left is made by one step of elimination.
    fn by_elimination(weight: &[f32], x: &[f32], order: &[usize]) -> Vec<u8> {
        let mut h = vec![vec![0.0f64; INPUTS]; INPUTS];
        for row in x.chunks_exact(INPUTS) {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    h[i][j] += 2.0 / (x.len() / INPUTS) as f64 * f64::from(*a) * f64::from(*b);
                }
            }
        }
        let damp = 0.01 * (0..INPUTS).map(|at| h[at][at]).sum::<f64>() / INPUTS as f64;
        for (at, row) in h.iter_mut().enumerate() {
            row[at] += damp + f64::from(u8::from(row[at] == 0.0));
        }
        let mut inverse = inverted(h);
        let mut w: Vec<Vec<f64>> = weight
            .chunks_exact(INPUTS)
            .map(|row| {
                row.iter().enumerate().map(|(at, v)| if at == 5 { 0.0 } else { f64::from(*v) }).collect()
            })
            .collect();
        let mut fields = vec![0; INPUTS * OUTPUTS];
        let mut grids = Vec::new();
        for (at, i) in order.iter().copied().enumerate() {
            if at % LAYOUT.group_size == 0 {
                let group = &order[at..INPUTS.min(at + LAYOUT.group_size)];
                grids = w
                    .iter()
                    .map(|row| Grid::covering(group.iter().map(|j| row[*j] as f32), LAYOUT.bits).unwrap())
                    .collect();
            }
            for (output, row) in w.iter_mut().enumerate() {
                let field = grids[output].round(row[i] as f32);
                fields[i * OUTPUTS + output] = field;
                let error = (row[i] - f64::from(grids[output].value(field))) / inverse[i][i];
                order[at..].iter().for_each(|j| row[*j] -= error * inverse[i][*j]);
            }
            let pivot = inverse[i].clone();
            for row in &mut inverse {
                let share = row[i] / pivot[i];
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= share * pivot);
            }
        }
        fields
    }

    fn inverted(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let n = a.len();
        for (at, row) in a.iter_mut().enumerate() {
            row.extend((0..n).map(|column| f64::from(u8::from(column == at))));
        }
        for at in 0..n {
            let pivot = a[at][at];
            a[at].iter_mut().for_each(|value| *value /= pivot);
            let by = a[at].clone();
            for (_, row) in a.iter_mut().enumerate().filter(|(other, _)| *other != at) {
                let share = row[at];
                row.iter_mut().zip(&by).for_each(|(value, by)| *value -= share * by);
            }
        }
        a.into_iter().map(|row| row[n..].to_vec()).collect()
    }

    fn fields_of(packed: &Packed) -> Vec<u8> {
        let words: Vec<u32> =
            packed.qweight.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        (0..INPUTS * OUTPUTS)
            .map(|at| (words[at / OUTPUTS / 8 * OUTPUTS + at % OUTPUTS] >> (at / OUTPUTS % 8 * 4) & 15) as u8)
            .collect()
    }

    #[test]
    fn blocks_and_factors_round_as_elimination_input_by_input_does() {
        let (weight, x) = (noise(INPUTS * OUTPUTS, 7), inputs(500));
        for act_order in [false, true] {
            let mut hessian = Hessian::new(INPUTS);
            x.chunks(INPUTS * 123).for_each(|rows| hessian.add(rows));
            let factor = Factor::new(hessian, act_order, 0.01).unwrap();
            assert_eq!(factor.order.is_sorted(), !act_order);
            let packed = quantize_linear(&weight, INPUTS, Some(&factor), LAYOUT).unwrap();
            let expected = by_elimination(&weight, &x, &factor.order);
            let same = fields_of(&packed).iter().zip(&expected).filter(|(a, b)| a == b).count();
            // f32 against f64: a weight half-way between two points may fall to either, and those behind it follow.
            assert!(same as f64 >= 0.99 * expected.len() as f64, "{same} of {}", expected.len());
        }
    }

    #[test]
    fn errors_are_those_of_the_outputs_and_less_than_rounding_to_the_nearest_makes() {
        let (weight, x) = (noise(INPUTS * OUTPUTS, 7), inputs(500));
        let mut hessian = Hessian::new(INPUTS);
        hessian.add(&x);
        let factor = Factor::new(hessian, false, 1e-6).unwrap();
        let gptq = quantize_linear(&weight, INPUTS, Some(&factor), LAYOUT).unwrap();
        let nearest = quantize_linear(&weight, INPUTS, None, LAYOUT).unwrap();
        let output_error = |packed: &Packed| {
            let fields = fields_of(packed);
            let (mut error, mut energy) = (0.0, 0.0);
            for row in x.chunks_exact(INPUTS) {
                for output in 0..OUTPUTS {
                    let (mut a, mut b) = (0.0, 0.0);
                    for (input, value) in row.iter().enumerate() {
                        let group = input / LAYOUT.group_size * OUTPUTS + output;
                        let scale =
                            f16::from_le_bytes([packed.scales[2 * group], packed.scales[2 * group + 1]]);
                        let word = group / OUTPUTS * OUTPUTS.div_ceil(8) + output / 8;
                        let zero = (packed.qzeros[4 * word + output % 8 / 2] >> (output % 2 * 4) & 15) + 1;
                        let field = f32::from(fields[input * OUTPUTS + output]);
                        a += f64::from(value * weight[output * INPUTS + input]);
                        b += f64::from(value * scale.to_f32() * (field - f32::from(zero)));
                    }
                    error += (a - b).powi(2);
                    energy += a.powi(2);
                }
            }
            error / energy
        };
        let (found, reported) = (output_error(&gptq), gptq.output_error.unwrap());
        assert!((found - reported).abs() < 0.01 * found, "{found} measured, {reported} reported");
        assert!(found < 0.6 * output_error(&nearest), "{found}, {}", output_error(&nearest));
        assert!(nearest.weight_error < gptq.weight_error && nearest.output_error.is_none());
    }
}
