//! What the fuzz targets call: any bytes are a request or a typed error, never a panic.

use crate::{ServerOptions, body::parse, routes};

/// Whether these bytes are a request that `/v1/chat/completions` goes on with.
pub fn chat(body: &[u8]) -> bool {
    parse(body).and_then(|request| routes::chat::plan(&request, &ServerOptions::local("moss"))).is_ok()
}

/// Whether these bytes are a request that `/v1/completions` goes on with.
pub fn completion(body: &[u8]) -> bool {
    parse(body).and_then(|request| routes::completions::plan(&request, &ServerOptions::local("moss"))).is_ok()
}
