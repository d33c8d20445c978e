//! Requests that are not running: new ones, and preempted ones.

use crate::{EngineError, StopCause, command::Job, prefix_cache::Scope, sequence::Sequence};

/// A request that waits for admission.
pub(crate) enum Waiting {
    New(Box<Job>),
    /// It had to release its cache blocks.
    Preempted(Box<Sequence>),
}

impl Waiting {
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::New(job) => job.request.scope(),
            Self::Preempted(sequence) => sequence.blocks.scope().clone(),
        }
    }

    /// Returns the ids whose keys and values it needs before its next token.
    pub(crate) fn ids(&self) -> &[u32] {
        match self {
            Self::New(job) => &job.request.prompt,
            Self::Preempted(sequence) => &sequence.ids,
        }
    }

    /// Returns the cause if the request ends while it waits.
    pub(crate) fn external_cause(&self) -> Option<StopCause> {
        match self {
            Self::New(job) => job.is_cancelled().then_some(StopCause::Cancelled),
            Self::Preempted(sequence) => sequence.external_cause(),
        }
    }

    /// Sends the last event: the error, or else the cause.
    pub(crate) fn end(self, cause: StopCause, error: Option<EngineError>) {
        match (self, error) {
            (Self::New(job), error) => job.end_before_start(error),
            (Self::Preempted(mut sequence), Some(error)) => sequence.fail(error),
            (Self::Preempted(mut sequence), None) => sequence.finish(cause),
        }
    }
}
