//! The parts of a decode step and of a prompt, in order, and the work of each.

use moss_cuda::LinearPair;

use super::{
    KernelTime,
    network::{Buffers, HISTORY, KernelTiming, SPEC, VOCABULARY},
};
use crate::fixture::Layer;

/// What a step or a prompt is made of; a product of many rows is one part with its dequantising.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    UploadTopK,
    Embedding,
    Norm,
    Heads,
    Attention,
    Residual,
    QkvProduct,
    InnerProduct,
    PlaceHeads,
    PlaceInner,
    OutProduct,
    FcOutProduct,
    Close,
    FinalNorm,
    LmHead,
    TopK,
    DownloadTopK,
}

/// What comes before all layers, and after.
pub(super) const BEFORE: [Part; 2] = [Part::UploadTopK, Part::Embedding];
pub(super) const AFTER: [Part; 4] = [
    Part::FinalNorm,
    Part::LmHead,
    Part::TopK,
    Part::DownloadTopK,
];

pub(super) const STEP: [Part; 4] = [Part::Norm, Part::Heads, Part::Attention, Part::Residual];

pub(super) const PROMPT: [Part; 9] = [
    Part::Norm,
    Part::QkvProduct,
    Part::PlaceHeads,
    Part::InnerProduct,
    Part::PlaceInner,
    Part::Attention,
    Part::OutProduct,
    Part::FcOutProduct,
    Part::Close,
];

impl KernelTiming<'_> {
    /// Describes a part that took `seconds` a run.
    pub(super) fn described(&self, b: &Buffers, part: Part, seconds: f64) -> KernelTime {
        let (hidden, inner) = (SPEC.hidden_size() as u64, SPEC.inner_size as u64);
        let (rows, context) = (b.rows as u64, b.context as u64);
        let layer = |pick: &dyn Fn(&Layer) -> u64| self.layers.first().map_or(0, pick);
        let pair = |pair: &LinearPair| pair.first.weight_bytes() + pair.second.weight_bytes();
        let product = |inputs: u64, outputs: u64| 2.0 * (inputs * outputs * rows) as f64;
        // Queries see what is before them: half of the new positions on average.
        let seen = rows * (context - rows) + rows * (rows + 1) / 2;
        let vocabulary = VOCABULARY as u64;
        let (kernel, bytes, operations) = match part {
            Part::UploadTopK => ("copy_runs: to the card", 8 * HISTORY as u64, 0.0),
            Part::TopK => ("sample_score, sample_cut", 8 * vocabulary, 0.0),
            Part::DownloadTopK => ("copy_runs: to the host", 2 * 4096, 0.0),
            Part::Embedding => ("embedding", rows * hidden * 6, 0.0),
            Part::Norm => ("layer_norm", rows * hidden * 6 + 8 * hidden, 0.0),
            Part::Heads => (
                "linear: qkv_proj, fc_in",
                layer(&|l| pair(&l.inputs)),
                product(hidden, 3 * hidden + inner),
            ),
            Part::Residual => (
                "linear: out_proj, fc_out",
                layer(&|l| pair(&l.outputs)),
                product(hidden + inner, hidden),
            ),
            Part::Attention => (
                if rows == 1 {
                    "attention_decode"
                } else {
                    "attention_prefill"
                },
                4 * hidden * context + 4 * hidden * rows,
                (4 * hidden * seen) as f64,
            ),
            Part::QkvProduct => (
                "product: qkv_proj",
                layer(&|l| l.inputs.first.weight_bytes()) + rows * 8 * hidden,
                product(hidden, 3 * hidden),
            ),
            Part::InnerProduct => (
                "product: fc_in",
                layer(&|l| l.inputs.second.weight_bytes()) + rows * 2 * (hidden + inner),
                product(hidden, inner),
            ),
            Part::PlaceHeads => ("heads_and_inner: heads", rows * 12 * hidden, 0.0),
            Part::PlaceInner => ("heads_and_inner: inner", rows * 4 * inner, 0.0),
            Part::OutProduct => (
                "product: out_proj",
                layer(&|l| l.outputs.first.weight_bytes()) + rows * 10 * hidden,
                product(hidden, hidden),
            ),
            Part::FcOutProduct => (
                "product: fc_out",
                layer(&|l| l.outputs.second.weight_bytes()) + rows * (2 * inner + 8 * hidden),
                product(inner, hidden),
            ),
            Part::Close => ("add_bias", rows * 8 * hidden, 0.0),
            Part::FinalNorm => ("layer_norm: final", 14 * hidden, 0.0),
            Part::LmHead => (
                "linear: lm_head",
                self.lm_head.weight_bytes(),
                2.0 * (hidden * vocabulary) as f64,
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
