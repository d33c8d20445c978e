//! Sampling on the GPU: one token per row of logits.

use moss_sampling::SampleRequest;
use moss_weights::{KernelError, Rule};

use crate::{
    args::{SampleArgs, SampleParams, SampleResult},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::SAMPLE_ROW_BYTES,
    pinned::{CopyRun, Pinned},
};

const OP: &str = "sampling";

/// Scores per thread block of the first kernel.
const TILE: usize = 2048;

/// Most runs of scores per row, whose maxima are kept.
const MAX_RUNS: usize = 1024;

/// The largest vocabulary: runs of 128 scores.
const MAX_VOCABULARY: usize = 128 * MAX_RUNS;

const _: () = assert!(
    SAMPLE_ROW_BYTES
        == size_of::<SampleParams>()
            + (1 + MAX_RUNS) * size_of::<u32>()
            + size_of::<SampleResult>()
);

/// Status of a result with a token.
const SAMPLED: u32 = 1;

/// Requests, scratch and results for up to `max_rows` rows of logits. A row takes
/// [`SAMPLE_ROW_BYTES`] and 4 bytes per id of its history on the GPU.
#[derive(Debug)]
pub struct DeviceSampler {
    params: Buffer<SampleParams>,
    /// `[max_rows, 1 + max_history]`: the number of used words of the row, then ids.
    history: Buffer<u32>,
    maxima: Buffer<u32>,
    results: Buffer<SampleResult>,
    host_params: Pinned<SampleParams>,
    host_history: Pinned<u32>,
    host_results: Pinned<SampleResult>,
    max_rows: usize,
    vocab_size: usize,
    max_history: usize,
    /// Rows of `host_params` that may have a request.
    staged: usize,
}

impl DeviceSampler {
    /// Allocates the buffers. Histories have up to `max_history` ids. Returns `None` for a
    /// vocabulary that the kernels do not support.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        max_rows: usize,
        vocab_size: usize,
        max_history: usize,
    ) -> Result<Option<Self>, KernelError> {
        if vocab_size > MAX_VOCABULARY {
            return Ok(None);
        }
        let ids = max_rows * (1 + max_history);
        Ok(Some(Self {
            params: gpu.zeros(max_rows)?,
            history: gpu.zeros(ids)?,
            maxima: gpu.zeros(max_rows * MAX_RUNS)?,
            results: gpu.zeros(max_rows)?,
            host_params: gpu.pinned_for_graphs(max_rows)?,
            host_history: gpu.pinned_for_graphs(ids)?,
            host_results: gpu.pinned_for_graphs(max_rows)?,
            max_rows,
            vocab_size,
            max_history,
            staged: 0,
        }))
    }

    /// Returns the maximum number of rows.
    pub fn max_rows(&self) -> usize {
        self.max_rows
    }

    /// Writes the requests of the first rows to page-locked host memory, for
    /// [`DeviceSampler::upload`]. The other rows have no request.
    ///
    /// No token is sampled for a row without a request, or with one that the kernels do not support.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more than `max_rows` rows; [`KernelError::Driver`].
    pub fn stage(&mut self, requests: &[Option<SampleRequest<'_>>]) -> Result<(), KernelError> {
        let rows = requests.len();
        rule(
            OP,
            "rows",
            rows,
            rows <= self.max_rows,
            Rule::AtMost(self.max_rows),
        )?;
        let max_history = self.max_history;
        let params = self.host_params.as_mut_slice()?;
        let rows_of_ids = self
            .host_history
            .as_mut_slice()?
            .chunks_exact_mut(1 + max_history);
        // Rows of the last call have no request either.
        let none = std::iter::repeat_n(None, self.staged.saturating_sub(rows));
        let requests = requests.iter().copied().chain(none);
        self.staged = rows;
        for ((params, ids), request) in params.iter_mut().zip(rows_of_ids).zip(requests) {
            *params = SampleParams::NONE;
            ids[0] = 0;
            let Some(request) = request.filter(|request| is_supported(request, max_history)) else {
                continue;
            };
            let history = if request.repetition_penalty == 1.0 {
                &[]
            } else {
                request.history
            };
            *params = SampleParams {
                repetition_penalty: request.repetition_penalty,
                temperature: request.temperature,
                top_k: count(OP, "top_k", request.top_k)?,
                allowed: u32::try_from(request.allowed).unwrap_or(u32::MAX),
                history_len: count(OP, "history", history.len())?,
                top_p: request.top_p,
                min_p: request.min_p,
                stop_ids: std::array::from_fn(|index| {
                    request.stop_ids.get(index).copied().unwrap_or(u32::MAX)
                }),
                stop_factor: request.stop_factor,
                uniform: request.uniform,
            };
            ids[0] = count(OP, "history", 1 + history.len())?;
            ids[1..=history.len()].copy_from_slice(history);
        }
        Ok(())
    }

    /// Returns the copies of the staged requests of `rows` rows to the GPU.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more than `max_rows` rows.
    pub fn upload(&mut self, rows: usize) -> Result<[CopyRun<'_>; 2], KernelError> {
        Ok([
            self.host_params.run_to(&self.params, 0, rows)?,
            self.host_history
                .counted_rows_to(&self.history, rows, 1 + self.max_history)?,
        ])
    }

    /// Returns the copy of the results of `rows` rows to the host.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more than `max_rows` rows.
    pub fn download(&mut self, rows: usize) -> Result<CopyRun<'_>, KernelError> {
        self.host_results.run_from(&self.results, 0, rows)
    }

    /// Waits for the copy of [`DeviceSampler::download`] and returns the token of each row; `None` if
    /// it must be sampled from the row itself.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn tokens(&self) -> Result<impl Iterator<Item = Option<u32>>, KernelError> {
        let token = |result: &SampleResult| (result.status == SAMPLED).then_some(result.token);
        Ok(self.host_results.as_slice()?.iter().map(token))
    }
}

/// Returns whether the kernels support `request`.
fn is_supported(request: &SampleRequest<'_>, max_history: usize) -> bool {
    request.history.len() <= max_history
        && (1..=SampleRequest::MAX_CANDIDATES).contains(&request.top_k)
        && (request.temperature != 0.0 || request.top_k == 1)
        && request.stop_ids.len() <= SampleRequest::MAX_STOP_IDS
}

impl Gpu {
    /// Samples from the first `n` rows of `logits`, `[n, vocab_size]`, after the copies of
    /// [`DeviceSampler::upload`]. Can be captured in a CUDA graph.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn sample(
        &self,
        logits: View<'_, f32>,
        n: usize,
        sampler: &DeviceSampler,
    ) -> Result<(), KernelError> {
        rule(
            OP,
            "rows",
            n,
            n <= sampler.max_rows,
            Rule::AtMost(sampler.max_rows),
        )?;
        let call = Call::new(self, OP);
        let vocab = count(OP, "vocab", sampler.vocab_size)?;
        let args = SampleArgs {
            logits: call.input("logits", logits, n * sampler.vocab_size)?,
            params: call.input("params", &sampler.params, n)?,
            history: call.input("history", &sampler.history, n * (1 + sampler.max_history))?,
            maxima: call.output("maxima", &sampler.maxima, n * MAX_RUNS)?,
            results: call.output("results", &sampler.results, n)?,
            logits_stride: vocab,
            history_stride: count(OP, "history stride", 1 + sampler.max_history)?,
            vocab,
        };
        let (tiles, rows) = (
            count(OP, "tiles", sampler.vocab_size.div_ceil(TILE))?,
            count(OP, "rows", n)?,
        );
        let score = Geometry {
            grid: (tiles, rows, 1),
            block: 256,
        };
        call.launch(Kernel::SCORE, score, &args)?;
        let draw = Geometry {
            grid: (rows, 1, 1),
            block: 1024,
        };
        call.launch(Kernel::DRAW, draw, &args)
    }
}
