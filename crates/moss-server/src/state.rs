//! What all routes share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use moss_engine::EngineError;
use tokio_util::sync::CancellationToken;

use crate::{
    ServedModel, ServerOptions, conversations::Conversations, error::ApiError,
    ignored::IgnoredFields, meters::Meters,
};

pub(crate) type Shared = Arc<State>;

pub(crate) struct State {
    pub(crate) options: ServerOptions,
    pub(crate) meters: Meters,
    pub(crate) conversations: Conversations,
    pub(crate) ignored: IgnoredFields,
    /// When the server was made, in seconds of the Unix era.
    pub(crate) created: u64,
    model: OnceLock<ServedModel>,
    draining: AtomicBool,
    /// Ends every answer, once draining has taken too long.
    pub(crate) abandon: CancellationToken,
    /// Cancelled once the engine has failed for good.
    pub(crate) failed: CancellationToken,
}

impl State {
    pub(crate) fn new(options: ServerOptions) -> Self {
        let conversations = Conversations::new(&options.limits);
        let (meters, model, draining) =
            (Meters::default(), OnceLock::new(), AtomicBool::new(false));
        let (abandon, failed) = (CancellationToken::new(), CancellationToken::new());
        let ignored = IgnoredFields::default();
        Self {
            options,
            meters,
            conversations,
            ignored,
            created: now(),
            model,
            draining,
            abandon,
            failed,
        }
    }

    pub(crate) fn open(&self, model: ServedModel) -> Result<(), ServedModel> {
        let engine = model.engine.clone();
        self.model.set(model)?;
        let failed = self.failed.clone();
        engine.on_fault(Box::new(move |_| failed.cancel()));
        Ok(())
    }

    /// The error that stopped the engine for good.
    pub(crate) fn fault(&self) -> Option<EngineError> {
        self.model.get().and_then(|model| model.engine.fault())
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The model, if there is one and new work is welcome.
    pub(crate) fn model(&self) -> Result<&ServedModel, ApiError> {
        if let Some(fault) = self.fault() {
            return Err(fault.into());
        }
        if self.draining.load(Relaxed) {
            return Err(ApiError::Draining);
        }
        self.model.get().ok_or(ApiError::Loading)
    }

    /// The model, welcome or not.
    pub(crate) fn loaded(&self) -> Option<&ServedModel> {
        self.model.get()
    }
}

/// Seconds of the Unix era.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
