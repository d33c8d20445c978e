//! Plugin calls of replies, which may take seconds and block a thread.

use std::sync::Arc;

use moss_plugins::{Cancellation, Plugins, Results};
use moss_text::Plugin;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;

/// The most replies whose calls run at the same time. Each may have several calls.
const MAX_RUNNING: usize = 32;

/// The plugins of a server.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    plugins: Plugins,
    running: Arc<Semaphore>,
}

/// Cancels calls whose reply is dropped, because its client has gone.
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Calls {
    pub(crate) fn new(plugins: Plugins) -> Self {
        Self {
            plugins,
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }

    /// Returns the same calls, of the published plugins only those in `enabled`.
    pub(crate) fn only(&self, enabled: &[Plugin]) -> Self {
        let disabled = Plugin::ALL
            .into_iter()
            .filter(|plugin| !enabled.contains(plugin));
        let disabled: Vec<_> = disabled.filter_map(Plugin::function).collect();
        Self {
            plugins: self.plugins.without(&disabled),
            running: self.running.clone(),
        }
    }

    /// Runs the calls of a commands segment. `abandon` ends them when the server shuts down.
    ///
    /// # Errors
    /// [`ApiError::Interrupted`] after `abandon`.
    pub(crate) async fn run(
        &self,
        commands: String,
        abandon: &CancellationToken,
    ) -> Result<Results, ApiError> {
        let interrupted = || ApiError::Interrupted {
            partial: Vec::new(),
        };
        let plugins = self.plugins.clone();
        let run = async {
            let permit = self.running.clone().acquire_owned().await;
            // Abandoned calls, whose client has gone, count until they end.
            let cancellation = Cancellation::holding(permit.map_err(|_| ApiError::Internal)?);
            let _guard = CancelOnDrop(cancellation.clone());
            let run = move || plugins.run(&commands, &cancellation);
            let results = tokio::task::spawn_blocking(run).await;
            results.map_err(|_| ApiError::Internal)
        };
        tokio::select! {
            results = run => results,
            () = abandon.cancelled() => Err(interrupted()),
        }
    }
}
