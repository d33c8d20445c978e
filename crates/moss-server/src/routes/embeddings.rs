//! `POST /v1/embeddings`, which explains why there are none.

use serde::de::IgnoredAny;

use crate::{body::JsonBody, error::ApiError, reason::Reason};

pub(crate) async fn embed(_: JsonBody<IgnoredAny>) -> ApiError {
    ApiError::unsupported("/v1/embeddings", Reason::NoEmbeddings)
}
