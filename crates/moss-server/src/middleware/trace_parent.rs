//! The header `traceparent` of W3C Trace Context (level 1, section 3.2). Invalid headers are ignored,
//! as the standard requires.

use axum::http::HeaderMap;

const NAME: &str = "traceparent";

/// The trace of a request, and the operation of the client that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent<'a> {
    /// 32 hexadecimal digits.
    pub(crate) trace_id: &'a str,
    /// 16 hexadecimal digits.
    pub(crate) parent_id: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Returns the parent that the headers of a request name, if they have exactly one.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(NAME).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// Parses `VERSION-TRACE_ID-PARENT_ID-FLAGS`. Later versions than 00 may have more fields.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.split('-');
        let mut hex = |digits| {
            let field = fields.next()?;
            let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            (field.len() == digits && field.bytes().all(is_digit)).then_some(field)
        };
        let (version, trace_id) = (hex(2)?, hex(32)?);
        let (parent_id, _flags) = (hex(16)?, hex(2)?);
        let is_complete = version != "00" || fields.next().is_none();
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let is_valid = is_complete && version != "ff" && !is_zero(trace_id) && !is_zero(parent_id);
        is_valid.then_some(Self {
            trace_id,
            parent_id,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    #[test]
    fn valid_headers_name_a_trace_and_a_parent() {
        for (version, flags) in [
            ("00", "01"),
            ("00", "00"),
            ("00", "ff"),
            ("01", "00"),
            ("cc", "01-more-ä"),
        ] {
            let text = format!("{version}-{TRACE}-{PARENT}-{flags}");
            let expected = TraceParent {
                trace_id: TRACE,
                parent_id: PARENT,
            };
            assert_eq!(TraceParent::parse(&text), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_headers_are_ignored() {
        let zeros = "0".repeat(32);
        let upper = TRACE.to_uppercase();
        for text in [
            "",
            "00",
            "---",
            TRACE,
            &format!("ff-{TRACE}-{PARENT}-01"),
            &format!("0-{TRACE}-{PARENT}-01"),
            &format!("00-{zeros}-{PARENT}-01"),
            &format!("00-{TRACE}-{}-01", &zeros[..16]),
            &format!("00-{upper}-{PARENT}-01"),
            &format!("00-{TRACE}-{PARENT}"),
            &format!("00-{TRACE}-{PARENT}-1"),
            &format!("00-{TRACE}-{PARENT}-01-"),
            &format!("00-{TRACE}-{PARENT}-01-more"),
            &format!("01-{TRACE}-{PARENT}-01more"),
            &format!("00-{}-{PARENT}-01", &TRACE[1..]),
            &format!("00-{TRACE}a-{PARENT}-01"),
            &format!(" 00-{TRACE}-{PARENT}-01"),
            &format!("00-{}ä-{PARENT}-01", &TRACE[2..]),
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn several_headers_are_ignored() {
        let value = HeaderValue::try_from(format!("00-{TRACE}-{PARENT}-01")).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(NAME, value.clone());
        assert!(TraceParent::of(&headers).is_some());
        headers.append(NAME, value);
        assert_eq!(TraceParent::of(&headers), None);
    }
}
