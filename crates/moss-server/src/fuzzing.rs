//! Entry points of the fuzz targets, where any bytes must give a request or a typed error, and the
//! known fields, for the test of the API description.

use crate::{
    ApiKeys, ServerOptions,
    body::{JsonBody, parse},
    middleware::trace_parent::TraceParent,
    routes,
    wire::{
        chat::ChatRequest,
        completion::CompletionRequest,
        tokens::{DetokenizeRequest, TokenizeRequest},
    },
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

/// Returns true if these bytes are a valid key file.
pub fn key_file(bytes: &[u8]) -> bool {
    let Ok(text) = moss_unicode::decode(bytes) else {
        return false;
    };
    let mut keys = ApiKeys::default();
    match keys.add_file(text) {
        Ok(()) => true,
        Err(error) => {
            assert!(keys.is_empty() && (1..=text.lines().count()).contains(&error.line));
            false
        }
    }
}

/// Returns true if these bytes are a valid value of the header `traceparent`.
pub fn trace_parent(bytes: &[u8]) -> bool {
    let parsed = std::str::from_utf8(bytes).ok().and_then(TraceParent::parse);
    if let Some(TraceParent {
        trace_id,
        parent_id,
    }) = parsed
    {
        assert!((trace_id.len(), parent_id.len()) == (32, 16));
    }
    parsed.is_some()
}

/// Returns the fields of requests to a path.
pub fn fields(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/chat/completions" => ChatRequest::FIELDS,
        "/v1/completions" => CompletionRequest::FIELDS,
        "/tokenize" => TokenizeRequest::FIELDS,
        "/detokenize" => DetokenizeRequest::FIELDS,
        _ => routes::published::Asked::FIELDS,
    }
}
