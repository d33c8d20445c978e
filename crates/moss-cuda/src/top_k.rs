//! The cut of logits to the candidates of sampling, on the card.

use super::{
    Buffer, CopyRun, Gpu, Pinned,
    args::{SampleAnswer, SampleCutArgs, SampleParams},
    buffer::View,
    count,
    launch::{Geometry, Kernel, params},
    rule,
};
use crate::KernelError;

const OP: &str = "sample_cut";

/// Scores of a block of threads.
const TILE: usize = 1024;

/// Runs of scores whose maxima are kept, a row; 16 a tile.
const MAX_RUNS: usize = 2048;

/// Scores that may reach the bound, a row.
const MAX_FOUND: usize = 2048;

/// Answers of this status hold candidates.
const CANDIDATES: u32 = 1;

/// How one row is to be cut. See `SampleCutArgs` in `kernels/sample_cut.cu` for what each number
/// does.
#[derive(Debug, Clone, Copy)]
pub struct CutRow<'a> {
    /// Ids said so far.
    pub history: &'a [u32],
    /// Above 0; 1 changes nothing.
    pub repetition_penalty: f32,
    /// 0 or more; at 0 `top_k` has to be 1.
    pub temperature: f32,
    /// At least 1.
    pub top_k: usize,
    /// Ids below this are candidates.
    pub allowed: usize,
}

/// Wishes, scratch and answers for up to `rows` rows of `vocab` logits.
#[derive(Debug)]
pub struct SampleCut {
    params: Buffer<SampleParams>,
    history: Buffer<u32>,
    keys: Buffer<u32>,
    maxima: Buffer<u32>,
    found: Buffer<u64>,
    states: Buffer<u64>,
    answers: Buffer<SampleAnswer>,
    staged_params: Pinned<SampleParams>,
    staged_history: Pinned<u32>,
    fetched: Pinned<SampleAnswer>,
    rows: usize,
    vocab: usize,
    history_stride: usize,
}

impl SampleCut {
    /// `None` for a vocabulary that the kernels are not made for. Histories hold up to `history`
    /// ids.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        rows: usize,
        vocab: usize,
        history: usize,
    ) -> Result<Option<Self>, KernelError> {
        if vocab.div_ceil(TILE) * 16 > MAX_RUNS {
            return Ok(None);
        }
        Ok(Some(Self {
            params: gpu.zeros(rows)?,
            history: gpu.zeros(rows * history)?,
            keys: gpu.zeros(rows * vocab)?,
            maxima: gpu.zeros(rows * MAX_RUNS)?,
            found: gpu.zeros(rows * MAX_FOUND)?,
            states: gpu.zeros(rows)?,
            answers: gpu.zeros(rows)?,
            staged_params: gpu.pinned_for_steps(rows)?,
            staged_history: gpu.pinned_for_steps(rows * history)?,
            fetched: gpu.pinned_for_steps(rows)?,
            rows,
            vocab,
            history_stride: history,
        }))
    }

    /// Rows at most.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Writes down the wishes for the coming rows, for [`SampleCut::wishes`]; `None` leaves a row
    /// alone, and so does a wish that the kernels cannot take.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for too many rows; [`KernelError::Driver`].
    pub fn put(&mut self, wishes: &[Option<CutRow<'_>>]) -> Result<(), KernelError> {
        rule(
            OP,
            "rows",
            wishes.len(),
            wishes.len() <= self.rows,
            format!("at most {}", self.rows),
        )?;
        let stride = self.history_stride;
        let params = self.staged_params.as_mut_slice()?;
        let histories = self
            .staged_history
            .as_mut_slice()?
            .chunks_exact_mut(stride.max(1));
        for ((params, staged), wish) in params.iter_mut().zip(histories).zip(wishes) {
            *params = SampleParams::default();
            let Some(wish) = wish else { continue };
            let (greedy, len) = (wish.temperature == 0.0, wish.history.len());
            if len > stride || wish.top_k == 0 || greedy && wish.top_k != 1 {
                continue;
            }
            *params = SampleParams {
                repetition_penalty: wish.repetition_penalty,
                temperature: wish.temperature,
                top_k: u32::try_from(wish.top_k).unwrap_or(u32::MAX),
                allowed: u32::try_from(wish.allowed).unwrap_or(u32::MAX),
                history_len: count(OP, "history", len)?,
            };
            if wish.repetition_penalty != 1.0 {
                staged[..len].copy_from_slice(wish.history);
            }
        }
        Ok(())
    }

    /// The copies that take the wishes for `rows` rows to the card.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for too many rows.
    pub fn wishes(&mut self, rows: usize) -> Result<[CopyRun<'_>; 2], KernelError> {
        Ok([
            self.staged_params.run_to(&self.params, 0, rows)?,
            self.staged_history
                .run_to(&self.history, 0, rows * self.history_stride)?,
        ])
    }

    /// The copy that brings `rows` answers to the host.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for too many rows.
    pub fn answers(&mut self, rows: usize) -> Result<CopyRun<'_>, KernelError> {
        self.fetched.run_from(&self.answers, 0, rows)
    }

    /// The candidates `(id, score)` of row `row`, in no order, once they are there; `None` where
    /// the row itself is needed.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn candidates(&self, row: usize) -> Result<Option<Vec<(u32, f32)>>, KernelError> {
        let answer = self
            .fetched
            .as_slice()?
            .get(row)
            .filter(|answer| answer.status == CANDIDATES);
        let kept = |answer: &SampleAnswer| {
            let kept = &answer.candidates[..(answer.kept as usize).min(answer.candidates.len())];
            kept.iter()
                .map(|[id, bits]| (*id, f32::from_bits(*bits)))
                .collect()
        };
        Ok(answer.map(kept))
    }
}

impl Gpu {
    /// Cuts the first `n` rows of `logits`, `[n, vocab]`, as [`SampleCut::put`] said, once
    /// [`SampleCut::wishes`] are there. Can be recorded.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit.
    pub fn sample_cut(
        &self,
        logits: View<'_, f32>,
        n: usize,
        cut: &SampleCut,
    ) -> Result<(), KernelError> {
        rule(
            OP,
            "rows",
            n,
            n <= cut.rows,
            format!("at most {}", cut.rows),
        )?;
        rule(
            OP,
            "logits",
            logits.len,
            logits.len >= n * cut.vocab,
            format!("at least {}", n * cut.vocab),
        )?;
        let vocab = count(OP, "vocab", cut.vocab)?;
        let args = SampleCutArgs {
            logits: logits.ptr(),
            params: cut.params.ptr(),
            history: cut.history.ptr(),
            keys: cut.keys.ptr_mut(),
            maxima: cut.maxima.ptr_mut(),
            found: cut.found.ptr_mut(),
            states: cut.states.ptr_mut(),
            answers: cut.answers.ptr_mut(),
            logits_stride: vocab,
            history_stride: count(OP, "history stride", cut.history_stride)?,
            vocab,
        };
        let grid = (
            count(OP, "tiles", cut.vocab.div_ceil(TILE))?,
            count(OP, "rows", n)?,
            1,
        );
        for kernel in [Kernel::SampleScore, Kernel::SampleCut] {
            // SAFETY: the only argument is `SampleCutArgs`, field for field as in
            // kernels/sample_cut.cu; buffers were taken for `rows` rows of `vocab` by
            // `SampleCut::new`, which checked `vocab`, and `put` checked every wish.
            unsafe { self.launch(kernel, Geometry { grid, block: 256 }, params![args]) }?;
        }
        Ok(())
    }
}
