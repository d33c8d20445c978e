//! Memory of a GEMM thread: unpacked weights and results.

use super::activations::{Int8Activations, MAX_PIECE};
use crate::kernels::{Aligned, simd::Chunk};

/// Outputs of one task, at most: packed rows are pages apart, and each address translation serves
/// all outputs of a task.
pub(super) const OUTPUTS: usize = 256;
/// Outputs of one task, at least.
const MIN_OUTPUTS: usize = 64;
/// Inputs that are unpacked at a time, which is the longest piece: two such panels and the results
/// of hundreds of rows stay in the second-level cache.
pub(super) const PANEL_INPUTS: usize = MAX_PIECE;

/// Returns the outputs of one task, so that every thread gets several. The division changes no sum.
pub(super) fn tile_outputs(outputs: usize) -> usize {
    let share = outputs.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(MIN_OUTPUTS).min(OUTPUTS)
}

/// One value per output.
pub(super) type Row<T = f32> = [T; OUTPUTS];

/// Buffers that a thread reuses for its tasks.
pub(super) struct Workspace {
    /// One panel is multiplied while the other one is unpacked.
    pub(super) panels: [Panel; 2],
    /// Results, `[rows, OUTPUTS]`. In the result matrix, rows are far apart, in a few sets of the
    /// caches.
    pub(super) y: Aligned<f32>,
}

/// Consecutive pieces of the weight, unpacked.
pub(super) struct Panel {
    /// The bytes of four inputs per word, `[PANEL_INPUTS / 4, OUTPUTS]`.
    words: Aligned<u32>,
    /// Zero points and scales, `[pieces, 2, OUTPUTS]`.
    groups: Aligned<f32>,
}

impl Workspace {
    pub(super) fn new(x: &Int8Activations) -> Self {
        let panel = || Panel {
            words: Aligned::zeros(PANEL_INPUTS / 4 * OUTPUTS),
            groups: Aligned::zeros(x.pieces.len().min(PANEL_INPUTS / 4) * 2 * OUTPUTS),
        };
        Self {
            panels: [panel(), panel()],
            y: Aligned::zeros(x.rows * OUTPUTS),
        }
    }
}

impl Panel {
    #[inline(always)]
    pub(super) fn words(&self) -> &[Row<u32>] {
        Row::split(&self.words)
    }

    #[inline(always)]
    pub(super) fn words_mut(&mut self) -> &mut [Row<u32>] {
        Row::split_mut(&mut self.words)
    }

    /// Returns zero points and scales of each piece.
    #[inline(always)]
    pub(super) fn groups(&self) -> &[[Row; 2]] {
        <[Row; 2]>::split(Row::split(&self.groups))
    }

    /// Returns zero points and scales of each piece.
    #[inline(always)]
    pub(super) fn groups_mut(&mut self) -> &mut [[Row; 2]] {
        <[Row; 2]>::split_mut(Row::split_mut(&mut self.groups))
    }
}
