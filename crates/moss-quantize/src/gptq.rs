//! Quantization of one linear layer: round to nearest, or GPTQ (Frantar et al., arXiv 2210.17323).
//!
//! GPTQ rounds the weights input by input. The weights of later inputs compensate for the effect of
//! each rounding error on the outputs, as far as they can. Inputs are processed in blocks: within a
//! block, the host corrects immediately; the errors of all earlier blocks are corrected by one
//! matrix product on the device ([`Factor`] describes the algebra).

use moss_weights::KernelError;
use rayon::prelude::*;

use crate::{
    factor::Factor,
    matrix::Matrix,
    pack::Quantized,
    round::{Layout, Rounded},
};

/// Inputs that one task transposes.
const INPUTS: usize = 64;

/// Rounds each value of `weight` `[outputs, inputs]`, row-major, to the nearest point of its group's
/// grid. Returns `None` if a group exceeds the range of an f16 scale.
pub(crate) fn nearest(weight: Vec<f32>, inputs: usize, layout: Layout) -> Option<Quantized> {
    let outputs = weight.len() / inputs;
    let w = by_input(weight, &(0..inputs).collect::<Vec<_>>());
    let mut rounded = Rounded::new(&w, outputs, layout)?;
    let mut loss = 0.0;
    for own in w.chunks(layout.block(inputs) * outputs) {
        loss += distance(own, &rounded.round(own, None)?, outputs);
    }
    let place: Vec<usize> = (0..inputs).collect();
    Some(rounded.packed(&place, ratio(loss, squares(&w, outputs)), None))
}

/// Rounds `weight` `[outputs, inputs]`, row-major, by GPTQ. Also returns the dequantized weights,
/// `[inputs, outputs]` f32 on the factor's device. Returns `None` as [`nearest`] does.
pub(crate) fn gptq(
    weight: Vec<f32>,
    factor: &Factor,
    layout: Layout,
) -> Result<Option<(Quantized, Matrix)>, KernelError> {
    let (inputs, outputs) = (factor.order.len(), weight.len() / factor.order.len());
    let mut w = by_input(weight, &factor.order);
    let (norm, mut loss) = (squares(&w, outputs), 0.0);
    for (row, input) in w.chunks_exact_mut(outputs).zip(&factor.order) {
        if factor.dead[*input] {
            // The weights of an input that is always zero have no effect.
            loss += squares(row, outputs);
            row.fill(0.0);
        }
    }
    let Some(mut rounded) = Rounded::new(&w, outputs, layout) else {
        return Ok(None);
    };
    let mut progress = Progress::new(factor, &w, outputs)?;
    let block = layout.block(inputs);
    for (first, own) in (0..inputs).step_by(block).zip(w.chunks(block * outputs)) {
        let inverse = factor.inverse(first, own.len() / outputs);
        let Some(values) = rounded.round(&progress.corrected(first, &inverse)?, Some(&inverse))
        else {
            return Ok(None);
        };
        loss += distance(own, &values, outputs);
        progress.add_rounded(first, own, &values)?;
    }
    let mut place = vec![0; inputs];
    factor
        .order
        .iter()
        .enumerate()
        .for_each(|(at, input)| place[*input] = at);
    let output_error = ratio(rounded.output_loss, progress.energy);
    let quantized = rounded.packed(&place, ratio(loss, norm), Some(output_error));
    Ok(Some((quantized, progress.finish()?)))
}

/// Transposes `weight` `[outputs, inputs]` to `[inputs in order, outputs]`, so that the weights of
/// an input are contiguous.
fn by_input(weight: Vec<f32>, order: &[usize]) -> Vec<f32> {
    let (inputs, outputs) = (order.len(), weight.len() / order.len());
    let mut w = vec![0.0f32; weight.len()];
    w.par_chunks_mut(INPUTS * outputs)
        .zip(order.par_chunks(INPUTS))
        .for_each(|(rows, order)| {
            for (output, weight) in weight.chunks_exact(inputs).enumerate() {
                order
                    .iter()
                    .enumerate()
                    .for_each(|(at, input)| rows[at * outputs + output] = weight[*input]);
            }
        });
    w
}

/// Computes `|a|^2` of rows of `width`. The order of additions is independent of the number of
/// threads, and so is the report.
fn squares(a: &[f32], width: usize) -> f64 {
    let of = |a: &[f32]| a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
    a.par_chunks(width).map(of).collect::<Vec<_>>().iter().sum()
}

/// Computes `|a - b|^2`, likewise.
fn distance(a: &[f32], b: &[f32], width: usize) -> f64 {
    let of = |(a, b): (&[f32], &[f32])| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    a.par_chunks(width)
        .zip(b.par_chunks(width))
        .map(of)
        .collect::<Vec<_>>()
        .iter()
        .sum()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The state of GPTQ between two blocks of inputs.
struct Progress<'a> {
    factor: &'a Factor,
    /// `[inputs in order, outputs]` on the device: rounding errors of the inputs processed so far,
    /// and the unchanged weights of the others.
    errors: Matrix,
    /// `[inputs, outputs]` on the host: dequantized weights.
    values: Vec<f32>,
    outputs: usize,
    /// `trace(W H W^T)`
    energy: f64,
}

impl<'a> Progress<'a> {
    fn new(factor: &'a Factor, w: &[f32], outputs: usize) -> Result<Self, KernelError> {
        let errors = Matrix::new(factor.device(), w, outputs)?;
        let energy = factor.energy(&errors)?;
        Ok(Self {
            factor,
            errors,
            values: vec![0.0; w.len()],
            outputs,
            energy,
        })
    }

    /// Returns the weights of a block `[count, outputs]`, corrected for the errors of earlier blocks.
    fn corrected(&self, first: usize, inverse: &[f32]) -> Result<Vec<f32>, KernelError> {
        let rows = first..first + inverse.len().isqrt();
        if first == 0 {
            return self.errors.to_host(rows);
        }
        let mut own = Matrix::zeros(self.errors.device(), rows.len(), self.outputs)?;
        own.copy(0, &self.errors, rows.clone())?;
        self.factor
            .correct(&mut own, first, inverse, &self.errors)?;
        own.to_host(0..rows.len())
    }

    /// Stores the rounded values of a block whose weights were `own`, `[count, outputs]` each.
    fn add_rounded(
        &mut self,
        first: usize,
        own: &[f32],
        values: &[f32],
    ) -> Result<(), KernelError> {
        let errors: Vec<f32> = own
            .par_iter()
            .zip(values)
            .map(|(own, value)| own - value)
            .collect();
        for (row, input) in values
            .chunks_exact(self.outputs)
            .zip(&self.factor.order[first..])
        {
            self.values[input * self.outputs..][..self.outputs].copy_from_slice(row);
        }
        self.errors.write(first, &errors)
    }

    /// Returns the dequantized weights, `[inputs, outputs]` on the device.
    fn finish(self) -> Result<Matrix, KernelError> {
        let Self {
            factor,
            errors,
            values,
            outputs,
            ..
        } = self;
        drop(errors); // frees device memory before the upload
        Matrix::new(factor.device(), &values, outputs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use half::f16;

    use crate::{device::Device, grid::Grid, hessian::Hessian};

    const INPUTS: usize = 280;
    const OUTPUTS: usize = 70; // a whole strip of outputs and a partial one
    const LAYOUT: Layout = Layout {
        bits: 4,
        group_size: 32,
    };

    /// Returns pseudo-random numbers in -1..1.
    pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// Returns correlated inputs of different magnitudes, `[rows, INPUTS]`; input 5 is always zero.
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

    fn factor(x: &[f32], width: usize, act_order: bool, dampening: f64) -> Factor {
        let mut hessian = Hessian::new(INPUTS, width, x.len() / INPUTS, &Device::Cpu).unwrap();
        for rows in x.chunks(INPUTS * 123) {
            hessian
                .add(&Matrix::new(&Device::Cpu, rows, INPUTS).unwrap())
                .unwrap();
        }
        Factor::new(hessian, act_order, dampening).unwrap().unwrap()
    }

    /// Optimal brain quantization, the method that GPTQ accelerates: after each input, one step of
    /// elimination computes the inverse Hessian of the remaining inputs.
    fn by_elimination(weight: &[f32], x: &[f32], order: &[usize], layout: Layout) -> Vec<u8> {
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
                row.iter()
                    .enumerate()
                    .map(|(at, v)| if at == 5 { 0.0 } else { f64::from(*v) })
                    .collect()
            })
            .collect();
        let mut fields = vec![0; INPUTS * OUTPUTS];
        let mut grids = Vec::new();
        for (at, i) in order.iter().copied().enumerate() {
            if at % layout.group_size == 0 {
                let group = &order[at..INPUTS.min(at + layout.group_size)];
                grids = w
                    .iter()
                    .map(|row| group.iter().map(|j| row[*j] as f32).collect::<Vec<_>>())
                    .map(|values| Grid::of_columns(&values, 1, layout.bits).unwrap()[0])
                    .collect();
            }
            for (output, row) in w.iter_mut().enumerate() {
                let field = grids[output].round(row[i] as f32);
                fields[i * OUTPUTS + output] = field;
                let error = (row[i] - f64::from(grids[output].value(field))) / inverse[i][i];
                order[at..]
                    .iter()
                    .for_each(|j| row[*j] -= error * inverse[i][*j]);
            }
            let pivot = inverse[i].clone();
            for row in &mut inverse {
                let factor = row[i] / pivot[i];
                row.iter_mut()
                    .zip(&pivot)
                    .for_each(|(value, pivot)| *value -= factor * pivot);
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
            let pivot_row = a[at].clone();
            for (_, row) in a.iter_mut().enumerate().filter(|(other, _)| *other != at) {
                let factor = row[at];
                row.iter_mut()
                    .zip(&pivot_row)
                    .for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
        a.into_iter().map(|row| row[n..].to_vec()).collect()
    }

    fn fields_of(packed: &Quantized) -> Vec<u8> {
        let words: Vec<u32> = packed
            .qweight
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        (0..INPUTS * OUTPUTS)
            .map(|at| {
                (words[at / OUTPUTS / 8 * OUTPUTS + at % OUTPUTS] >> (at / OUTPUTS % 8 * 4) & 15)
                    as u8
            })
            .collect()
    }

    #[test]
    fn gptq_in_blocks_equals_elimination_input_by_input() {
        let (weight, x) = (noise(INPUTS * OUTPUTS, 7), inputs(500));
        // Group sizes that divide a block of 128, that do not, that are larger, and all inputs.
        // Panels of one block, of several, and of all. The last group, block and panel are shorter.
        for (group_size, blocks, act_order) in [
            (32, 1, false),
            (32, 1, true),
            (32, 8, false),
            (96, 1, false),
            (40, 1, true),
            (136, 1, false),
            (INPUTS, 1, false),
            (INPUTS, 2, true),
        ] {
            let layout = Layout {
                bits: 4,
                group_size,
            };
            let factor = factor(&x, blocks * layout.block(INPUTS), act_order, 0.01);
            assert_eq!(factor.order.is_sorted(), !act_order);
            let packed = gptq(weight.clone(), &factor, layout).unwrap().unwrap().0;
            let expected = by_elimination(&weight, &x, &factor.order, layout);
            let same = fields_of(&packed)
                .iter()
                .zip(&expected)
                .filter(|(a, b)| a == b)
                .count();
            // f32 against f64: a weight half-way between two points may be rounded to either, which
            // changes the later weights too.
            let what = format!("groups of {group_size}, act-order {act_order}");
            assert!(
                same as f64 >= 0.99 * expected.len() as f64,
                "{what}: {same} of {}",
                expected.len()
            );
            for (at, input) in factor.order.iter().enumerate() {
                assert_eq!(packed.g_idx[*input] as usize, at / group_size, "{what}");
            }
        }
    }

    #[test]
    fn gptq_reports_its_output_error_which_is_below_that_of_round_to_nearest() {
        let (weight, x) = (noise(INPUTS * OUTPUTS, 7), inputs(500));
        let factor = factor(&x, 128, false, 1e-6);
        let gptq = gptq(weight.clone(), &factor, LAYOUT).unwrap().unwrap().0;
        let nearest = nearest(weight.clone(), INPUTS, LAYOUT).unwrap();
        let output_error = |packed: &Quantized| {
            let fields = fields_of(packed);
            let (mut error, mut energy) = (0.0, 0.0);
            for row in x.chunks_exact(INPUTS) {
                for output in 0..OUTPUTS {
                    let (mut a, mut b) = (0.0, 0.0);
                    for (input, value) in row.iter().enumerate() {
                        let group = input / LAYOUT.group_size * OUTPUTS + output;
                        let scale = f16::from_le_bytes([
                            packed.scales[2 * group],
                            packed.scales[2 * group + 1],
                        ]);
                        let word = group / OUTPUTS * OUTPUTS.div_ceil(8) + output / 8;
                        let zero =
                            (packed.qzeros[4 * word + output % 8 / 2] >> (output % 2 * 4) & 15) + 1;
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
        assert!(
            (found - reported).abs() < 0.01 * found,
            "{found} measured, {reported} reported"
        );
        assert!(
            found < 0.6 * output_error(&nearest),
            "{found}, {}",
            output_error(&nearest)
        );
        assert!(nearest.weight_error < gptq.weight_error && nearest.output_error.is_none());
    }
}
