//! What the fuzz targets call: any bytes are a request or a typed error, never a panic. And the
//! fields that are known, for the test of the description.

use crate::{
    ServerOptions,
    body::{JsonBody, parse},
    routes,
    wire::{chat::ChatRequest, completion::CompletionRequest},
};

/// Whether these bytes are a request that `/v1/chat/completions` goes on with.
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

/// Whether these bytes are a request that `/v1/completions` goes on with.
pub fn completion(body: &[u8]) -> bool {
    let plan = |request: &CompletionRequest| {
        routes::completions::plan(request, &ServerOptions::local("moss"))
    };
    parse(body)
        .and_then(|JsonBody(request, _)| plan(&request))
        .is_ok()
}

/// Fields that requests to a path may have.
pub fn fields(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/chat/completions" => ChatRequest::FIELDS,
        "/v1/completions" => CompletionRequest::FIELDS,
        _ => routes::published::Asked::FIELDS,
    }
}
