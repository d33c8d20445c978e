//! The measurements: a whole step or prompt, and each of its parts alone.

use moss_cuda::{Graph, LinearPair};
use moss_weights::KernelError;

use super::{
    baseline::Baseline,
    median::median,
    network::{Buffers, FcOutState, KernelTiming, SPEC, VOCABULARY},
    parts::{AFTER, BEFORE, PROMPT, Part, STEP},
    times::{KernelTime, KernelTimes, PromptTimes, StepTimes},
    tokens::Tokens,
};
use crate::fixture::Layer;

/// Launches of a graph per measurement: the first one waits for the host.
const LAUNCHES: usize = 8;

impl KernelTiming<'_> {
    /// Times a decode step of `rows` sequences. The new token of each is the last of `context`
    /// positions.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more positions than the cache has, or more sequences than the
    /// kernels take; [`KernelError::OutOfMemory`]; [`KernelError::Driver`].
    pub(super) fn step(&self, rows: usize, context: usize) -> Result<KernelTimes, KernelError> {
        let b = self.buffers(Tokens::Generated { rows, context })?;
        let total = self.in_graph(|| self.all(&b, &STEP), 1)?;
        let mut kernels = Vec::new();
        for part in [&BEFORE[..], &STEP, &AFTER].concat() {
            // Parts that run once per step are repeated too, except the head, which takes long
            // enough.
            let runs = if part == Part::LmHead {
                2
            } else {
                self.layers.len().max(32)
            };
            let inner = self.complete_fc_out_input(&b)?;
            let seconds = self.in_graph(|| self.repeat(&b, part, runs, inner), runs)?;
            kernels.push(self.described(&b, part, seconds));
        }
        Ok(KernelTimes {
            kernels,
            seconds: total,
        })
    }

    /// Times decode steps of these numbers of sequences.
    ///
    /// # Errors
    /// As for [`KernelTiming::step`].
    pub(super) fn steps(
        &self,
        rows: &[usize],
        context: usize,
    ) -> Result<Vec<StepTimes>, KernelError> {
        let step = |&rows: &usize| {
            let times = self.step(rows, context)?;
            Ok(StepTimes { rows, times })
        };
        rows.iter().map(step).collect()
    }

    /// Times prompts of these numbers of tokens, and cuBLAS for the same numbers.
    ///
    /// # Errors
    /// As for [`KernelTiming::step`].
    pub(super) fn prompts(&self, tokens: &[usize]) -> Result<Vec<PromptTimes>, KernelError> {
        let mut prompts = Vec::new();
        for tokens in tokens.iter().copied() {
            prompts.push(PromptTimes {
                tokens,
                times: self.prompt(tokens)?,
                baseline: vec![],
            });
        }
        // After the prompts, because the library and its weights need memory.
        if let Some(baseline) = Baseline::new(self.gpu)? {
            for prompt in &mut prompts {
                prompt.baseline = baseline.times(prompt.tokens, self.layers.len())?;
            }
        }
        Ok(prompts)
    }

    /// Times a prompt of `rows` tokens, with the logits of the last.
    ///
    /// # Errors
    /// As for [`KernelTiming::step`].
    fn prompt(&self, rows: usize) -> Result<KernelTimes, KernelError> {
        let b = self.buffers(Tokens::Prompt { rows })?;
        let total = self.one_by_one(|| self.all(&b, &PROMPT), 1)?;
        let mut kernels = Vec::new();
        for part in [&BEFORE[..], &PROMPT, &AFTER].concat() {
            let runs = self.layers.len().max(8);
            let seconds =
                self.one_by_one(|| self.repeat(&b, part, runs, FcOutState::Unknown), runs)?;
            kernels.push(self.described(&b, part, seconds));
        }
        Ok(KernelTimes {
            kernels,
            seconds: total,
        })
    }

    /// Returns the seconds of each of the `runs` of `what`, captured as a CUDA graph.
    fn in_graph(
        &self,
        what: impl FnOnce() -> Result<(), KernelError>,
        runs: usize,
    ) -> Result<f64, KernelError> {
        let mut graph = Graph::capture(self.gpu.graph_capture(), what)?;
        median(|| {
            let seconds = self
                .gpu
                .time(|| (0..LAUNCHES).try_for_each(|_| graph.launch()))?;
            Ok(seconds / (LAUNCHES * runs) as f64)
        })
    }

    /// As [`KernelTiming::in_graph`], with separate launches: the kernels of a prompt take longer
    /// than a launch.
    fn one_by_one(
        &self,
        what: impl Fn() -> Result<(), KernelError>,
        runs: usize,
    ) -> Result<f64, KernelError> {
        median(|| Ok(self.gpu.time(&what)? / runs as f64))
    }

    /// Returns the bytes and operations of a part, with the seconds of a run.
    pub(super) fn described(&self, b: &Buffers, part: Part, seconds: f64) -> KernelTime {
        let (hidden, inner) = (SPEC.hidden_size() as u64, SPEC.inner_size as u64);
        let [rows, outputs] = [b.tokens.rows(), b.tokens.outputs()].map(|rows| rows as u64);
        let layer = |pick: &dyn Fn(&Layer) -> u64| self.layers.first().map_or(0, pick);
        let pair = |pair: &LinearPair| pair.first.weight_bytes() + pair.second.weight_bytes();
        let product = |inputs: u64, outputs: u64| 2.0 * (inputs * outputs * rows) as f64;
        let [cached, seen] = [b.tokens.cached(), b.tokens.seen()].map(|count| count as u64);
        let vocabulary = VOCABULARY as u64;
        let (kernel, bytes, operations) = match part {
            Part::UploadRequest => (
                "batched memcpy: to the GPU",
                outputs * 2 * (64 + 4 * 601),
                0.0,
            ),
            Part::Sampling => ("sampling", outputs * 4 * vocabulary, 0.0),
            Part::DownloadToken => ("batched memcpy: to the host", outputs * 2 * 8, 0.0),
            Part::Embedding => ("embedding", rows * hidden * 6, 0.0),
            Part::Norm => ("layer_norm", rows * hidden * 6 + 8 * hidden, 0.0),
            Part::QkvFcIn => (
                "linear: qkv_proj, fc_in",
                layer(&|l| pair(&l.inputs)),
                product(hidden, 3 * hidden + inner),
            ),
            Part::OutFcOut => (
                "linear: out_proj, fc_out",
                layer(&|l| pair(&l.outputs)),
                product(hidden + inner, hidden),
            ),
            Part::Attention => (
                match b.tokens {
                    Tokens::Generated { .. } => "attention_decode",
                    Tokens::Prompt { .. } => "attention_prefill",
                },
                4 * hidden * cached + 4 * hidden * rows,
                (4 * hidden * seen) as f64,
            ),
            Part::PrefillQkvFcIn => (
                "gemm: qkv_proj, fc_in",
                layer(&|l| pair(&l.inputs)) + rows * (8 * hidden + 2 * inner),
                product(hidden, 3 * hidden + inner),
            ),
            Part::PrefillOutFcOut => (
                "gemm: out_proj, fc_out",
                layer(&|l| pair(&l.outputs)) + rows * (10 * hidden + 2 * inner),
                product(hidden + inner, hidden),
            ),
            Part::FinalNorm => ("layer_norm: final", outputs * hidden * 6 + 8 * hidden, 0.0),
            Part::LmHead => (
                "linear: lm_head",
                self.lm_head.weight_bytes(),
                2.0 * (hidden * vocabulary * outputs) as f64,
            ),
        };
        let once = BEFORE.contains(&part) || AFTER.contains(&part);
        let calls = if once { 1 } else { self.layers.len() };
        KernelTime {
            kernel,
            calls,
            bytes,
            operations,
            seconds,
        }
    }
}
