//! The server as its owner holds it.

use std::sync::Arc;

use axum::Router;
use moss_engine::EngineError;
use tokio::net::TcpListener;

use crate::{
    ServedModel, ServerError, ServerOptions, connections, routes,
    state::{Shared, State},
};

/// An API over one model. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    state: Shared,
}

impl Server {
    /// A server without a model: it is alive, not ready, and answers work with a 503.
    pub fn new(options: ServerOptions) -> Self {
        Self {
            state: Arc::new(State::new(options)),
        }
    }

    /// Gives it its model.
    ///
    /// # Errors
    /// [`ServerError::AlreadyOpen`].
    pub fn open(&self, model: ServedModel) -> Result<(), ServerError> {
        self.state.open(model).map_err(|_| ServerError::AlreadyOpen)
    }

    /// All routes, for a program with a web server of its own. Bounds on heads and connections are
    /// [`Server::serve`]'s alone.
    pub fn router(&self) -> Router {
        routes::router(&self.state)
    }

    /// Returns the error that stopped the engine for good, which ends [`Server::serve`] too: a
    /// panic of the model, a lost device, or a step that does not end.
    pub fn fault(&self) -> Option<EngineError> {
        self.state.fault()
    }

    /// Answers until `stop`, or until the engine fails (see [`Server::fault`]), then finishes what
    /// runs, within the drain time. To be run in tokio's runtime.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        connections::serve(listener, self.router(), self.state.clone(), stop).await;
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.state.options)
            .finish_non_exhaustive()
    }
}
