//! The web page: embedded files, with a content security policy that excludes other sources.

use axum::{
    http::{HeaderValue, Method, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

use crate::error::ApiError;

/// Allows only files of this server, without inline scripts and styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Serves a file of the page, or a JSON error for an unknown path.
pub(crate) async fn file(method: Method, uri: Uri) -> Result<Response, ApiError> {
    let path = uri.path();
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let unknown = || ApiError::NoRoute {
        method: method.to_string(),
        path: path.to_owned(),
    };
    let file = Assets::get(name).ok_or_else(unknown)?;
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::Method {
            method: method.to_string(),
            path: path.to_owned(),
            allow: "GET, HEAD",
        });
    }
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let kind = match kind.type_() {
        mime_guess::mime::TEXT => format!("{}; charset=utf-8", kind.essence_str()),
        _ => kind.essence_str().to_owned(),
    };
    Ok(with_policy(kind, file.data.into_owned()))
}

/// Returns a document with the content security policy.
pub(crate) fn with_policy(kind: String, body: impl Into<axum::body::Body>) -> Response {
    let mut response = body.into().into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
