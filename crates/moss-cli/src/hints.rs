//! Advice that goes with an error, from whichever crate knows it.

use moss::{
    OpenError,
    checkpoint::CheckpointError,
    engine::EngineError,
    hub::HubError,
    kernels::KernelError,
    model::{ModelError, placement::PlacementError},
    quantize::QuantizeError,
    sampling::SamplingError,
    server::ServerError,
    text::TextError,
};

/// An error of the command line itself, with its own advice.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advised {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// The first advice along the chain of causes.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    // A context is no link of the chain: the error as a whole knows it.
    let advised = error.downcast_ref().map(|Advised { hint, .. }| hint.clone());
    let context = advised.or_else(|| error.downcast_ref().and_then(HubError::hint));
    context.or_else(|| hint_of_causes(error))
}

fn hint_of_causes(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        None.or_else(|| cause.downcast_ref::<Advised>().map(|error| Some(error.hint.clone())))
            .or_else(|| cause.downcast_ref().map(OpenError::hint))
            .or_else(|| cause.downcast_ref().map(HubError::hint))
            .or_else(|| cause.downcast_ref().map(CheckpointError::hint))
            .or_else(|| cause.downcast_ref().map(KernelError::hint))
            .or_else(|| cause.downcast_ref().map(ModelError::hint))
            .or_else(|| cause.downcast_ref().map(PlacementError::hint))
            .or_else(|| cause.downcast_ref().map(TextError::hint))
            .or_else(|| cause.downcast_ref().map(QuantizeError::hint))
            .or_else(|| cause.downcast_ref().map(SamplingError::hint))
            .or_else(|| cause.downcast_ref().map(EngineError::hint))
            .or_else(|| cause.downcast_ref().map(ServerError::hint))
            .flatten()
    })
}
