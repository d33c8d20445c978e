//! Rounding on the host: one block of inputs after another, all outputs in parallel.

use half::f16;
use rayon::prelude::*;

use crate::{
    grid::Grid,
    pack::{Quantized, pack_columns, pack_rows},
};

/// Minimum inputs of a block.
const BLOCK: usize = 128;
/// Outputs that one task processes: a block of them fits a core's cache.
const STRIP: usize = 64;

/// Bits and group size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) bits: u32,
    /// Inputs that share a scale.
    pub(crate) group_size: usize,
}

impl Layout {
    /// Returns the inputs of a block: whole groups, unless all inputs of the layer are one group.
    pub(crate) fn block(self, inputs: usize) -> usize {
        if self.group_size >= inputs {
            BLOCK
        } else {
            BLOCK.next_multiple_of(self.group_size)
        }
    }
}

/// The fields and grids of the blocks rounded so far.
pub(crate) struct Rounded {
    layout: Layout,
    outputs: usize,
    /// `[inputs in order, outputs]`
    fields: Vec<u8>,
    /// `[groups, outputs]`
    grids: Vec<Grid>,
    /// All inputs are one group, whose grids are computed at the start.
    one_group: bool,
    /// Squared error of the outputs: the sum of squared weight errors, each divided by `U[i][i]`.
    pub(crate) output_loss: f64,
}

/// One block of [`STRIP`] outputs.
struct Strip {
    /// `[block, strip]`
    fields: Vec<u8>,
    /// Dequantized weights, `[block, strip]`.
    values: Vec<f32>,
    /// `[groups of the block, strip]`
    grids: Vec<Grid>,
    output_loss: f64,
}

impl Rounded {
    /// Starts the rounding of weights `[inputs in order, outputs]`. Returns `None` if a group exceeds
    /// the range of an f16 scale.
    pub(crate) fn new(w: &[f32], outputs: usize, layout: Layout) -> Option<Self> {
        let one_group = layout.group_size * outputs >= w.len();
        let grids = if one_group {
            Grid::of_columns(w, outputs, layout.bits)?
        } else {
            vec![]
        };
        let fields = Vec::with_capacity(w.len());
        Some(Self {
            layout,
            outputs,
            fields,
            grids,
            one_group,
            output_loss: 0.0,
        })
    }

    /// Rounds the weights of the next block, `[block, outputs]`. If `inverse` is given, the block's
    /// `U` `[block, block]`, later weights compensate for each rounding error. Returns the
    /// dequantized weights, `[block, outputs]`, or `None` as [`Self::new`] does.
    pub(crate) fn round(&mut self, w: &[f32], inverse: Option<&[f32]>) -> Option<Vec<f32>> {
        let (outputs, count) = (self.outputs, w.len() / self.outputs);
        let strip = |start: usize| {
            let width = STRIP.min(outputs - start);
            let strip = w
                .chunks_exact(outputs)
                .flat_map(|row| &row[start..start + width])
                .copied();
            let given = self.one_group.then(|| &self.grids[start..start + width]);
            round_strip(strip.collect(), width, inverse, self.layout, given)
        };
        let starts: Vec<usize> = (0..outputs).step_by(STRIP).collect();
        let strips: Vec<Strip> = starts.into_par_iter().map(strip).collect::<Option<_>>()?;
        self.fields
            .extend(rows(&strips, outputs, count, |strip| &strip.fields));
        let groups = if self.one_group {
            0
        } else {
            count.div_ceil(self.layout.group_size)
        };
        for group in 0..groups {
            self.grids.extend(
                strips
                    .iter()
                    .flat_map(|strip| row(&strip.grids, group, groups)),
            );
        }
        self.output_loss += strips.iter().map(|strip| strip.output_loss).sum::<f64>();
        Some(rows(&strips, outputs, count, |strip| &strip.values))
    }

    /// Packs the tensors once every block is rounded. `place` maps each input to its position in the
    /// order of rounding.
    pub(crate) fn packed(
        &self,
        place: &[usize],
        weight_error: f64,
        output_error: Option<f64>,
    ) -> Quantized {
        let (bits, outputs) = (self.layout.bits, self.outputs);
        let fields = |input: usize| &self.fields[place[input] * outputs..][..outputs];
        // The layout stores zero points minus one.
        let zeros: Vec<u8> = self
            .grids
            .iter()
            .map(|grid| (grid.zero - 1.0) as u8)
            .collect();
        Quantized {
            qweight: pack_rows(place.len(), outputs, bits, fields),
            qzeros: pack_columns(&zeros, outputs, bits),
            scales: self
                .grids
                .iter()
                .flat_map(|grid| f16::from_f32(grid.scale).to_le_bytes())
                .collect(),
            g_idx: place
                .iter()
                .map(|at| (at / self.layout.group_size) as u32)
                .collect(),
            weight_error,
            output_error,
        }
    }
}

/// Rounds `w` `[block, width]`. `inverse` is the block of `U`; `given` are the grids if they are
/// known already.
fn round_strip(
    mut w: Vec<f32>,
    width: usize,
    inverse: Option<&[f32]>,
    layout: Layout,
    given: Option<&[Grid]>,
) -> Option<Strip> {
    let count = w.len() / width;
    let mut strip = Strip {
        fields: vec![0; w.len()],
        values: vec![0.0; w.len()],
        grids: vec![],
        output_loss: 0.0,
    };
    let mut errors = vec![0.0; width];
    for input in 0..count {
        if given.is_none() && input % layout.group_size == 0 {
            let group = &w[input * width..count.min(input + layout.group_size) * width];
            strip
                .grids
                .extend(Grid::of_columns(group, width, layout.bits)?);
        }
        let grids = given.unwrap_or_else(|| &strip.grids[strip.grids.len() - width..]);
        let (now, later) = w[input * width..].split_at_mut(width);
        let fields = &mut strip.fields[input * width..][..width];
        let values = &mut strip.values[input * width..][..width];
        for (((weight, grid), field), value) in
            now.iter().zip(grids).zip(fields).zip(values.iter_mut())
        {
            *field = grid.round(*weight);
            *value = grid.value(*field);
        }
        let Some(inverse) = inverse else { continue };
        let inverse = &inverse[input * count..][input..count];
        for ((error, weight), value) in errors.iter_mut().zip(now.iter()).zip(values.iter()) {
            *error = (weight - value) / inverse[0];
        }
        strip.output_loss += errors
            .iter()
            .map(|error| f64::from(*error).powi(2))
            .sum::<f64>();
        for (row, factor) in later.chunks_exact_mut(width).zip(&inverse[1..]) {
            row.iter_mut()
                .zip(&errors)
                .for_each(|(weight, error)| *weight -= error * factor);
        }
    }
    Some(strip)
}

/// Concatenates the strips `[count, strip]` to `[count, outputs]`.
fn rows<T: Copy + Default + Send + Sync>(
    strips: &[Strip],
    outputs: usize,
    count: usize,
    part: impl Fn(&Strip) -> &[T] + Sync,
) -> Vec<T> {
    let mut all = vec![T::default(); outputs * count];
    all.par_chunks_exact_mut(outputs)
        .enumerate()
        .for_each(|(at, whole)| {
            for (to, strip) in whole.chunks_mut(STRIP).zip(strips) {
                to.copy_from_slice(row(part(strip), at, count));
            }
        });
    all
}

/// Returns row `at` of `rows`.
fn row<T>(values: &[T], at: usize, rows: usize) -> &[T] {
    let width = values.len() / rows.max(1);
    &values[at * width..][..width]
}
