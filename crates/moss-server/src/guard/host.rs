//! DNS rebinding: a page on the Internet can point a name of its own at this machine and let a browser talk to it. The header `Host`
//! then holds that name.

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::Response,
};

use crate::{error::ApiError, state::Shared};

pub(crate) async fn check(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(allowed) = &state.options.allowed_hosts {
        let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let host = host.or_else(|| Some(request.headers().get(header::HOST)?.as_bytes())).unwrap_or_default();
        let found = String::from_utf8_lossy(host).into_owned();
        if !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(without_port(&found))) {
            return Err(ApiError::Host { found });
        }
    }
    Ok(next.run(request).await)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of `[::1]` are no beginning of a port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_taken_off_names_and_addresses() {
        let hosts = ["localhost:8888", "localhost", "[::1]:80", "[::1]", "127.0.0.1:1"].map(without_port);
        assert_eq!(hosts, ["localhost", "localhost", "[::1]", "[::1]", "127.0.0.1"]);
    }
}
