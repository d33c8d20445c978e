//! Checks of the header `Host`. They prevent DNS rebinding, where a web page resolves its host name
//! to this machine, so that `Host` contains that name. Requests with no or several `Host` headers
//! are rejected, because proxies and servers interpret them differently.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use axum::{
    extract::{Request, State},
    http::{Version, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use crate::{error::ApiError, reason::HostFault, state::Shared};

pub(crate) async fn check(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(allowed) = &state.options.allowed_hosts {
        let host = request
            .uri()
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let host = host
            .or_else(|| Some(request.headers().get(header::HOST)?.as_bytes()))
            .unwrap_or_default();
        let found = String::from_utf8_lossy(host).into_owned();
        let known = canonical(without_port(&found));
        if !allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(&known))
        {
            let name = without_port(&found).to_owned();
            return Err(match name.is_empty() {
                true => ApiError::NoHost,
                false => ApiError::Host { found, name },
            });
        }
    }
    Ok(next.run(request).await)
}

/// Requires exactly one header `Host`; otherwise the status is 400 (RFC 9112, section 3.2).
pub(crate) async fn require_one(request: Request, next: Next) -> Result<Response, ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let found = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => HostFault::Missing,
        (_, Some(_)) => HostFault::Several,
        (Some(host), None) if !host.is_empty() && Authority::try_from(host.as_bytes()).is_err() => {
            HostFault::Invalid
        }
        _ => return Ok(next.run(request).await),
    };
    Err(ApiError::HostHeader { found })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of `[::1]` do not begin a port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Returns an IPv6 address in canonical form, or as IPv4 if it is a mapped address. Other names are
/// unchanged.
fn canonical(name: &str) -> Cow<'_, str> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare.and_then(|bare| bare.parse::<Ipv6Addr>().ok()) {
        Some(ip) => match IpAddr::from(ip).to_canonical() {
            IpAddr::V4(ip) => ip.to_string().into(),
            IpAddr::V6(ip) => format!("[{ip}]").into(),
        },
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_removed_from_names_and_addresses() {
        let hosts = [
            "localhost:8888",
            "localhost",
            "[::1]:80",
            "[::1]",
            "127.0.0.1:1",
        ]
        .map(without_port);
        assert_eq!(
            hosts,
            ["localhost", "localhost", "[::1]", "[::1]", "127.0.0.1"]
        );
    }

    #[test]
    fn an_ipv6_address_is_recognized_in_every_form() {
        let hosts = [
            "[::ffff:127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "[::FFFF:7f00:1]",
            "moss.example",
            "[x]",
        ]
        .map(canonical);
        assert_eq!(
            hosts,
            ["127.0.0.1", "[::1]", "127.0.0.1", "moss.example", "[x]"]
        );
    }
}
