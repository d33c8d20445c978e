//! Fields of OpenAI's API that this server knows but does not support. Values without an effect are
//! accepted; all others are rejected.

use serde_json::Value;

use crate::{error::ApiError, reason::Reason};

/// Rejects `value` unless it is absent, empty, or one of `neutral`.
///
/// # Errors
/// [`ApiError::Unsupported`] naming `param`.
pub(crate) fn check(param: &str, value: Option<&Value>, neutral: &[&str]) -> Result<(), ApiError> {
    match value {
        Some(value)
            if !is_empty(value) && !value.as_str().is_some_and(|text| neutral.contains(&text)) =>
        {
            let mut accepted: Vec<_> = neutral.iter().map(|text| format!("`{text}`")).collect();
            accepted.push("null".into());
            Err(unsupported_value(param, value, &accepted.join(" or ")))
        }
        _ => Ok(()),
    }
}

/// Returns an error with the value found and the value expected.
pub(crate) fn unsupported_value(param: &str, found: &Value, expected: &str) -> ApiError {
    let found = match found {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        // A long string is truncated.
        Value::String(text) => format!("`{}`", text.chars().take(64).collect::<String>()),
        simple => format!("`{simple}`"),
    };
    let expected = expected.to_owned();
    ApiError::unsupported(param, Reason::Value { found, expected })
}

/// Checks a list of tools, or its older form `functions`, and the field that chooses among them. A
/// list is accepted if the request disables it with `none`. Returns true in that case.
///
/// # Errors
/// [`ApiError::Unsupported`] naming the list or the choice.
pub(crate) fn check_tools(
    (list_param, list): (&str, Option<&Value>),
    (choice_param, choice): (&str, Option<&Value>),
) -> Result<bool, ApiError> {
    let is_off = choice.and_then(Value::as_str) == Some("none");
    let has_tools = list.is_some_and(|list| !is_empty(list));
    if has_tools && !is_off {
        let choice = choice_param.to_owned();
        return Err(ApiError::unsupported(list_param, Reason::Tools { choice }));
    }
    check(choice_param, choice, &["none", "auto"])?;
    Ok(has_tools)
}

/// Returns true for a value without content: null, `false`, an empty string, list or object, a list
/// of nulls, and an object whose values are all empty. Some clients write an empty object as `[]`,
/// or send every possible field.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(Value::is_null),
        Value::Object(map) => map.values().all(is_empty),
    }
}
