//! Device-side top-k: the candidates of sampling are selected on the GPU.

use moss_sampling::{TopKCandidates, TopKRequest};
use moss_weights::{KernelError, Rule};

use crate::{
    args::{TopKArgs, TopKParams, TopKResult},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::TOP_K_ROW_BYTES,
    pinned::{CopyRun, Pinned},
};

const OP: &str = "top_k";

/// Scores per thread block.
const TILE: usize = 1024;

/// Most runs of scores per row, whose maxima are kept; a tile has 16.
const MAX_RUNS: usize = 2048;

/// Most scores per row that may reach the bound.
const MAX_FOUND: usize = 2048;

const _: () = assert!(
    TOP_K_ROW_BYTES
        == size_of::<TopKParams>()
            + MAX_RUNS * size_of::<u32>()
            + MAX_FOUND * size_of::<u64>()
            + size_of::<u64>()
            + size_of::<TopKResult>()
);

/// Status of a result with candidates.
const CANDIDATES: u32 = 1;

/// Requests, scratch and results for up to `max_rows` rows of logits.
#[derive(Debug)]
pub struct DeviceTopK {
    params: Buffer<TopKParams>,
    history: Buffer<u32>,
    keys: Buffer<u32>,
    maxima: Buffer<u32>,
    found: Buffer<u64>,
    states: Buffer<u64>,
    results: Buffer<TopKResult>,
    host_params: Pinned<TopKParams>,
    host_history: Pinned<u32>,
    host_results: Pinned<TopKResult>,
    max_rows: usize,
    vocab_size: usize,
    history_stride: usize,
}

impl DeviceTopK {
    /// Allocates the buffers. Histories hold up to `history` ids. Returns `None` for a vocabulary
    /// that the kernels do not support.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        max_rows: usize,
        vocab_size: usize,
        history: usize,
    ) -> Result<Option<Self>, KernelError> {
        if vocab_size.div_ceil(TILE) * 16 > MAX_RUNS {
            return Ok(None);
        }
        Ok(Some(Self {
            params: gpu.zeros(max_rows)?,
            history: gpu.zeros(max_rows * history)?,
            keys: gpu.zeros(max_rows * vocab_size)?,
            maxima: gpu.zeros(max_rows * MAX_RUNS)?,
            found: gpu.zeros(max_rows * MAX_FOUND)?,
            states: gpu.zeros(max_rows)?,
            results: gpu.zeros(max_rows)?,
            host_params: gpu.pinned_for_graphs(max_rows)?,
            host_history: gpu.pinned_for_graphs(max_rows * history)?,
            host_results: gpu.pinned_for_graphs(max_rows)?,
            max_rows,
            vocab_size,
            history_stride: history,
        }))
    }

    /// Returns the maximum number of rows of one selection.
    pub fn max_rows(&self) -> usize {
        self.max_rows
    }

    /// Writes the requests of the next rows to page-locked host memory, for [`DeviceTopK::upload`].
    /// A row gets no candidates if it has no request, or one that the kernels do not support.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more than `max_rows` rows; [`KernelError::Driver`].
    pub fn stage(&mut self, requests: &[Option<TopKRequest<'_>>]) -> Result<(), KernelError> {
        let (rows, stride) = (requests.len(), self.history_stride);
        rule(
            OP,
            "rows",
            rows,
            rows <= self.max_rows,
            Rule::AtMost(self.max_rows),
        )?;
        let params = self.host_params.as_mut_slice()?;
        let histories = self
            .host_history
            .as_mut_slice()?
            .chunks_exact_mut(stride.max(1));
        for ((params, history), request) in params.iter_mut().zip(histories).zip(requests) {
            *params = TopKParams::NONE;
            let Some(request) = request else { continue };
            let (greedy, len) = (request.temperature == 0.0, request.history.len());
            if len > stride || request.top_k == 0 || greedy && request.top_k != 1 {
                continue;
            }
            *params = TopKParams {
                repetition_penalty: request.repetition_penalty,
                temperature: request.temperature,
                top_k: u32::try_from(request.top_k).unwrap_or(u32::MAX),
                allowed: u32::try_from(request.allowed).unwrap_or(u32::MAX),
                history_len: count(OP, "history", len)?,
            };
            if request.repetition_penalty != 1.0 {
                history[..len].copy_from_slice(request.history);
            }
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
                .run_to(&self.history, 0, rows * self.history_stride)?,
        ])
    }

    /// Returns the copy of the results of `rows` rows to the host.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more than `max_rows` rows.
    pub fn download(&mut self, rows: usize) -> Result<CopyRun<'_>, KernelError> {
        self.host_results.run_from(&self.results, 0, rows)
    }

    /// Waits for the copy of [`DeviceTopK::download`] and returns the candidates of row `row`;
    /// `None` if the row itself is needed.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn candidates(&self, row: usize) -> Result<Option<TopKCandidates>, KernelError> {
        let result = self
            .host_results
            .as_slice()?
            .get(row)
            .filter(|result| result.status == CANDIDATES);
        let candidates = |result: &TopKResult| {
            let kept = &result.candidates[..(result.kept as usize).min(result.candidates.len())];
            let kept = kept.iter().map(|[id, bits]| (*id, f32::from_bits(*bits)));
            TopKCandidates(kept.collect())
        };
        Ok(result.map(candidates))
    }
}

impl Gpu {
    /// Selects the candidates of the first `n` rows of `logits`, `[n, vocab_size]`, after the
    /// copies of [`DeviceTopK::upload`]. Can be captured in a CUDA graph.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn top_k(
        &self,
        logits: View<'_, f32>,
        n: usize,
        top_k: &DeviceTopK,
    ) -> Result<(), KernelError> {
        rule(
            OP,
            "rows",
            n,
            n <= top_k.max_rows,
            Rule::AtMost(top_k.max_rows),
        )?;
        let call = Call::new(self, OP);
        let vocab = count(OP, "vocab", top_k.vocab_size)?;
        let args = TopKArgs {
            logits: call.input("logits", logits, n * top_k.vocab_size)?,
            params: call.input("params", &top_k.params, n)?,
            history: call.input("history", &top_k.history, n * top_k.history_stride)?,
            keys: call.output("keys", &top_k.keys, n * top_k.vocab_size)?,
            maxima: call.output("maxima", &top_k.maxima, n * MAX_RUNS)?,
            found: call.output("found", &top_k.found, n * MAX_FOUND)?,
            states: call.output("states", &top_k.states, n)?,
            answers: call.output("results", &top_k.results, n)?,
            logits_stride: vocab,
            history_stride: count(OP, "history stride", top_k.history_stride)?,
            vocab,
        };
        let geometry = Geometry {
            grid: (
                count(OP, "tiles", top_k.vocab_size.div_ceil(TILE))?,
                count(OP, "rows", n)?,
                1,
            ),
            block: 256,
        };
        call.launch(Kernel::SCORE, geometry, &args)?;
        call.launch(Kernel::SELECT, geometry, &args)
    }
}
