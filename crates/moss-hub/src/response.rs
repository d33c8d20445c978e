//! Checks of HTTP responses.

use std::{io::Read, ops::Range};

use ureq::{Body, http::Response};

use crate::fault::Fault;

/// Bytes at the start of a body that are enough to detect an HTML page.
const START: u64 = 512;

/// The expected response to a request for a range.
pub(crate) struct Expected<'a> {
    /// Bytes `start..end`, not empty.
    pub(crate) range: Range<u64>,
    /// Length of the whole file.
    pub(crate) size: u64,
    /// The file's hash in the hub's listing.
    pub(crate) etag: &'a str,
}

/// Returns a header, if it is text.
pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Returns `true` for a content type of HTML.
pub(crate) fn is_html(response: &Response<Body>) -> bool {
    let kind = header(response, "content-type")
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml")
}

/// Reads the start of a body.
pub(crate) fn start(response: Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader();
    let _ = body.take(START).read_to_end(&mut bytes); // a truncated start may be enough
    bytes
}

/// Returns `true` for the start of an HTML page. No file of a checkpoint starts like one.
pub(crate) fn is_page(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let text = text
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(text)
        .trim_ascii_start();
    let starts_with = |tag: &str| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    };
    [
        "<!doctype html",
        "<html",
        "<head",
        "<script",
        "<meta",
        "<!--",
        "<?xml",
    ]
    .into_iter()
    .any(starts_with)
}

/// Checks the hash that the hub sends with a redirect. The ETag of the storage is another hash.
pub(crate) fn check_etag(response: &Response<Body>, expected: &str) -> Result<(), Fault> {
    let found = header(response, "x-linked-etag").map(str::trim).map(|tag| {
        let strong = tag
            .strip_prefix("W/")
            .or_else(|| tag.strip_prefix("w/"))
            .unwrap_or(tag);
        strong.trim_matches('"')
    });
    match found {
        Some(found) if !found.eq_ignore_ascii_case(expected) => Err(Fault::Changed {
            found: found.to_owned(),
            expected: expected.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Checks range and length of a response.
pub(crate) fn check_range(response: &Response<Body>, expected: &Expected<'_>) -> Result<(), Fault> {
    let Expected { range, size, .. } = expected;
    if response.status() == 206 {
        let found = header(response, "content-range").unwrap_or_default();
        return match content_range(found) {
            Some((found_range, total))
                if found_range == *range && total.is_none_or(|total| total == *size) =>
            {
                Ok(())
            }
            _ => Err(Fault::Range {
                expected: format!("bytes {}-{}/{size}", range.start, range.end - 1),
                found: found.to_owned(),
            }),
        };
    }
    let length = header(response, "content-length").and_then(|text| text.trim().parse().ok());
    match length {
        Some(found) if found != *size => Err(Fault::Length {
            found,
            expected: *size,
        }),
        _ if *range != (0..*size) => Err(Fault::NoRanges),
        _ => Ok(()),
    }
}

/// Reads `bytes FIRST-LAST/TOTAL`; servers that do not know the total send `*` (RFC 9110, 14.4).
pub(crate) fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let number = |text: &str| {
        let text = text.trim();
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())?
    };
    let (unit, rest) = text.trim().split_at_checked(5)?;
    if !unit.eq_ignore_ascii_case("bytes") || !rest.starts_with([' ', '\t', '=']) {
        return None;
    }
    let (bounds, total) = rest[1..].split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    Some((number(first)?..number(last)?.checked_add(1)?, total))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_in_any_case_and_with_an_unknown_total() {
        assert_eq!(content_range("bytes 0-9/10"), Some((0..10, Some(10))));
        assert_eq!(content_range("BYTES 5-9/*"), Some((5..10, None)));
        assert_eq!(
            content_range(" Bytes  5 - 9 / 10 "),
            Some((5..10, Some(10)))
        );
        let wrong = [
            "",
            "bytes",
            "bytes */10",
            "bytes 5-/10",
            "items 0-9/10",
            "bytes0-9/10",
            "bytes 0-9",
            "bytes +0-9/*",
        ];
        for text in [
            &wrong[..],
            &[
                "bytes 0-18446744073709551615/*",
                "字节 0-9/10",
                "byt字 0-9/10",
            ],
        ]
        .concat()
        {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn pages_are_distinguished_from_files() {
        for page in [
            "<html>",
            "\n <!DOCTYPE HTML PUBLIC",
            "\u{feff}<!doctype html>",
            "<HEAD>",
            "<script>",
        ] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for file in ["", "<", "{}", "#version: 0.2", "<unk> 0", "PK\u{3}\u{4}"] {
            assert!(!is_page(file.as_bytes()), "{file}");
        }
    }
}
