//! `GET /v1/models` and `GET /v1/models/{name}`.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};
use serde::Serialize;

use crate::{error::ApiError, state::Shared};

#[derive(Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

pub(crate) async fn list(State(state): State<Shared>) -> Json<Models> {
    Json(Models {
        object: "list",
        data: vec![model(&state)],
    })
}

pub(crate) async fn one(
    State(state): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Model>, ApiError> {
    let expected = state.options.model.clone();
    // A name whose escapes are not valid UTF-8 is reported as received.
    let name = name.map_or_else(|_| uri.path().to_owned(), |Path(name)| name);
    // Hub ids contain a slash.
    if name == expected {
        Ok(Json(model(&state)))
    } else {
        Err(ApiError::NoModel {
            found: name,
            expected,
        })
    }
}

fn model(state: &Shared) -> Model {
    Model {
        id: state.options.model.clone(),
        object: "model",
        created: state.created,
        owned_by: "moss-rs",
    }
}
