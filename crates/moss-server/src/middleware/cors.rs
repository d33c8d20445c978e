//! CORS: only web pages of the configured origins may call the API from a browser.

use axum::{
    Router,
    http::{HeaderValue, Method, header},
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::state::Shared;

pub(crate) fn allow(router: Router<Shared>, origins: &[String]) -> Router<Shared> {
    if origins.is_empty() {
        return router;
    }
    let origins = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        // Clients send many headers (`x-stainless-…`), and none has an effect beyond its request.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::HeaderName::from_static("x-request-id"),
            header::RETRY_AFTER,
        ]);
    router.layer(cors)
}
