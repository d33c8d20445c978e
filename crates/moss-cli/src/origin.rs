//! Checks of `--cors-origin` and `--allow-host`. Values that browsers never send are rejected,
//! because they would match nothing.

use std::net::IpAddr;

use moss_messages::msg;

use crate::{addresses::url_host, errors::CliError};

/// Checks that an origin has the form that browsers send (RFC 6454, section 6): scheme, host, and a
/// port that is not the scheme's default, in lower case and without a path. `*` and `null` are
/// accepted.
///
/// # Errors
/// The hint names the origin that the user may have meant.
pub(crate) fn check(text: &str) -> Result<(), CliError> {
    if ["*", "null"].contains(&text) {
        return Ok(());
    }
    let sent = as_sent(text);
    if sent.as_deref() == Some(text) {
        return Ok(());
    }
    Err(CliError::new(msg!("cors-origin", text, sent)))
}

/// Returns the origin of a URL as browsers send it, or `None` if the text has no host.
fn as_sent(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").unwrap_or(("http", &lower));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = authority.strip_suffix(default_port).unwrap_or(authority);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_origin = !scheme.is_empty()
        && scheme.bytes().all(is_scheme)
        && !bare.is_empty()
        && bare.bytes().all(is_plain);
    is_origin.then(|| format!("{scheme}://{bare}"))
}

/// Returns a host as in the header `Host`, without a port.
///
/// # Errors
/// For a URL, a port, or a pattern, which never equal a host.
pub(crate) fn host(text: &str) -> Result<String, CliError> {
    let bare = text.trim();
    let unbracketed = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = unbracketed.unwrap_or(bare).parse::<IpAddr>() {
        return Ok(url_host(ip));
    }
    if !bare.is_empty() && !bare.contains([':', '/', '*', ',', ' ', '[', ']']) {
        return Ok(bare.to_owned());
    }
    Err(CliError::new(msg!("allow-host", text)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use moss_messages::Language;

    fn hint(error: CliError) -> String {
        crate::errors::hint(&error.into(), Language::En).unwrap()
    }

    #[test]
    fn origins_that_browsers_never_send_are_rejected_with_a_correction() {
        for right in [
            "*",
            "null",
            "https://chat.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "chrome-extension://abcdef",
        ] {
            assert!(check(right).is_ok(), "{right}");
        }
        for (wrong, meant) in [
            ("https://chat.example/", "`https://chat.example`"),
            ("https://Chat.Example", "`https://chat.example`"),
            ("HTTPS://chat.example/a?b#c", "`https://chat.example`"),
            ("https://chat.example:443", "`https://chat.example`"),
            ("http://chat.example:80/", "`http://chat.example`"),
            ("http://chat.example:443/", "`http://chat.example:443`"),
            ("chat.example:3000", "`http://chat.example:3000`"),
            (" https://chat.example", "`https://chat.example`"),
        ] {
            let hint = hint(check(wrong).unwrap_err());
            assert_eq!(hint, format!("use {meant}"), "{wrong}");
        }
        for wrong in [
            "",
            "https://",
            "https://a,https://b",
            "https://用户.example",
            "https://*.a",
        ] {
            assert!(
                hint(check(wrong).unwrap_err()).contains("for example"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn allowed_hosts_are_names_and_addresses_only() {
        for (given, expected) in [
            ("Moss.Example", "Moss.Example"),
            ("192.0.2.7", "192.0.2.7"),
            ("::1", "[::1]"),
            ("[2001:db8::7]", "[2001:db8::7]"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(host(given).unwrap(), expected);
        }
        for wrong in ["", "http://moss.example", "moss.example:8888", "*", "a,b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
