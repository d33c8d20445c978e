//! The server.

use std::sync::Arc;

use axum::Router;
use moss_engine::EngineError;
use tokio::net::TcpListener;

use crate::{
    ApiKeys, ServedModel, ServerError, ServerOptions, connections, routes,
    state::{Shared, State},
};

/// A server of one model. Clones refer to the same server.
#[derive(Clone)]
pub struct Server {
    state: Shared,
}

impl Server {
    /// Creates a server without a model. `/health` succeeds, `/ready` fails, and other requests get
    /// status 503.
    pub fn new(options: ServerOptions) -> Self {
        Self {
            state: Arc::new(State::new(options)),
        }
    }

    /// Sets the model.
    ///
    /// # Errors
    /// [`ServerError::AlreadyOpen`].
    pub fn open(&self, model: ServedModel) -> Result<(), ServerError> {
        self.state.open(model).map_err(|_| ServerError::AlreadyOpen)
    }

    /// Replaces the API keys. Requests that were accepted with a former key continue.
    ///
    /// # Errors
    /// [`ServerError::NoKeys`] if there were keys and none are left.
    pub fn set_api_keys(&self, keys: &ApiKeys) -> Result<(), ServerError> {
        self.state.keys.replace(keys)
    }

    /// Returns all routes, for a program with another web server. Only [`Server::serve`] limits
    /// heads and connections.
    pub fn router(&self) -> Router {
        routes::router(&self.state)
    }

    /// Returns the error that stopped the engine permanently: a panic of the model, a lost device,
    /// or a forward pass without progress. It also ends [`Server::serve`].
    pub fn fault(&self) -> Option<EngineError> {
        self.state.fault()
    }

    /// Serves requests until `stop`, or until the engine fails (see [`Server::fault`]), then
    /// finishes running requests within the drain time. Must run in tokio's runtime.
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
