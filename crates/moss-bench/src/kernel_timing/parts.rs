//! The parts of a decode step and of a prompt, in order.

/// A part of a step or a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    UploadRequest,
    Embedding,
    Norm,
    QkvFcIn,
    Attention,
    OutFcOut,
    /// [`Part::QkvFcIn`] by the prefill (GEMM) kernels.
    PrefillQkvFcIn,
    /// [`Part::OutFcOut`] by the prefill (GEMM) kernels.
    PrefillOutFcOut,
    FinalNorm,
    LmHead,
    Sampling,
    DownloadToken,
}

/// The parts before all layers.
pub(super) const BEFORE: [Part; 2] = [Part::UploadRequest, Part::Embedding];

/// The parts after all layers.
pub(super) const AFTER: [Part; 4] = [
    Part::FinalNorm,
    Part::LmHead,
    Part::Sampling,
    Part::DownloadToken,
];

/// The parts of a layer in a decode step.
pub(super) const STEP: [Part; 4] = [Part::Norm, Part::QkvFcIn, Part::Attention, Part::OutFcOut];

/// The parts of a layer in a prompt.
pub(super) const PROMPT: [Part; 4] = [
    Part::Norm,
    Part::PrefillQkvFcIn,
    Part::Attention,
    Part::PrefillOutFcOut,
];
