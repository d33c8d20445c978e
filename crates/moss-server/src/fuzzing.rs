//! Entry points of the fuzz targets, where any bytes must give a request or a typed error, and the
//! known fields, for the test of the API description.

use crate::{
    ServerOptions,
    body::{JsonBody, parse},
    routes,
    wire::{chat::ChatRequest, completion::CompletionRequest},
};

/// Returns true if these bytes are a valid request to `/v1/chat/completions`.
pub fn chat(body: &[u8]) -> bool {
    let plan = |request: &ChatRequest| {
        request
            .check()
            .and_then(|_| routes::chat::plan(request, &ServerOptions::local("moss")))
    };
    parse(body)
        .and_then(|JsonBody(request, _)| plan(&request))
        .is_ok()
}

/// Returns true if these bytes are a valid request to `/v1/completions`.
pub fn completion(body: &[u8]) -> bool {
    let plan = |request: &CompletionRequest| {
        routes::completions::plan(request, &ServerOptions::local("moss"))
    };
    parse(body)
        .and_then(|JsonBody(request, _)| plan(&request))
        .is_ok()
}

/// Returns the fields of requests to a path.
pub fn fields(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/chat/completions" => ChatRequest::FIELDS,
        "/v1/completions" => CompletionRequest::FIELDS,
        _ => routes::published::Asked::FIELDS,
    }
}
