//! The state shared by all routes.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use moss_engine::EngineError;
use tokio_util::sync::CancellationToken;

use crate::{
    ServedModel, ServerOptions, conversations::Conversations, error::ApiError,
    ignored::IgnoredFields, keys::KeyStore, metrics::ServerMetrics,
};

pub(crate) type Shared = Arc<State>;

pub(crate) struct State {
    pub(crate) options: ServerOptions,
    pub(crate) keys: KeyStore,
    pub(crate) metrics: ServerMetrics,
    pub(crate) conversations: Conversations,
    pub(crate) ignored: IgnoredFields,
    /// Creation time, in seconds since the Unix epoch.
    pub(crate) created: u64,
    pub(crate) started: Instant,
    model: OnceLock<ServedModel>,
    draining: AtomicBool,
    /// Cancelled to abort all answers after the drain time.
    pub(crate) abandon: CancellationToken,
    /// Cancelled when the engine fails permanently.
    pub(crate) failed: CancellationToken,
}

impl State {
    pub(crate) fn new(options: ServerOptions) -> Self {
        let conversations = Conversations::new(&options.limits);
        let (keys, metrics) = (
            KeyStore::new(&options.api_keys),
            ServerMetrics::new(&options.build),
        );
        let (model, draining) = (OnceLock::new(), AtomicBool::new(false));
        let (abandon, failed) = (CancellationToken::new(), CancellationToken::new());
        let ignored = IgnoredFields::default();
        Self {
            options,
            keys,
            metrics,
            conversations,
            ignored,
            created: now(),
            started: Instant::now(),
            model,
            draining,
            abandon,
            failed,
        }
    }

    pub(crate) fn open(&self, model: ServedModel) -> Result<(), ServedModel> {
        let engine = model.engine.clone();
        self.model.set(model.clone())?;
        self.metrics.open(&model);
        let failed = self.failed.clone();
        engine.on_fault(Box::new(move |_| failed.cancel()));
        Ok(())
    }

    /// Returns the error that stopped the engine permanently.
    pub(crate) fn fault(&self) -> Option<EngineError> {
        self.model.get().and_then(|model| model.engine.fault())
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Returns the model, if it accepts requests.
    pub(crate) fn model(&self) -> Result<&ServedModel, ApiError> {
        if let Some(fault) = self.fault() {
            return Err(fault.into());
        }
        if self.draining.load(Relaxed) {
            return Err(ApiError::Draining);
        }
        self.model.get().ok_or(ApiError::Loading)
    }

    /// Returns the model, whether it accepts requests or not.
    pub(crate) fn loaded(&self) -> Option<&ServedModel> {
        self.model.get()
    }
}

/// Returns the seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
