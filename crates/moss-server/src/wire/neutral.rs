//! Fields of OpenAI's API that this server knows and has no use for: values that change nothing are
//! accepted, all others are refused by name.

use serde_json::Value;

use crate::error::ApiError;

/// Refuses `value` unless it is absent, empty, or one of `neutral`.
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
            Err(refused(param, value, &accepted.join(" or ")))
        }
        _ => Ok(()),
    }
}

/// An error that names what was found and what was `expected`.
pub(crate) fn refused(param: &str, found: &Value, expected: &str) -> ApiError {
    let found = match found {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        // As much of a string as fits a message.
        Value::String(text) => format!("`{}`", text.chars().take(64).collect::<String>()),
        simple => format!("`{simple}`"),
    };
    ApiError::Unsupported {
        param: param.to_owned(),
        expected: format!(" as {found}, expected {expected}"),
    }
}

/// Checks a list of tools, or its older form `functions`, and the field that chooses among them. A
/// list that the request itself switches off with `none` is accepted; the result says whether that
/// is so.
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
        let expected =
            format!(": MOSS calls no tools; leave it out, or set `{choice_param}` to `none`");
        return Err(ApiError::Unsupported {
            param: list_param.to_owned(),
            expected,
        });
    }
    check(choice_param, choice, &["none", "auto"])?;
    Ok(has_tools)
}

/// Returns `true` for a value that says nothing: null, `false`, an empty string, list or object, a
/// list of nulls, and an object whose values all say nothing. Some languages write an empty object
/// as `[]`, and dump objects with every field that they could have.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(Value::is_null),
        Value::Object(map) => map.values().all(is_empty),
    }
}
