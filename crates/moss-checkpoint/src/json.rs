//! Values of JSON configuration files, read by key.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    CheckpointError,
    error::{ConfigRule, FileRole},
    read,
};

/// Parses a JSON file whose top level is an object.
pub(crate) fn object(
    bytes: &[u8],
    file: &Path,
    what: FileRole,
) -> Result<Map<String, Value>, CheckpointError> {
    serde_json::from_str(read::text(bytes, file)?).map_err(|source| CheckpointError::Json {
        file: file.to_owned(),
        what,
        source,
    })
}

/// The values of a JSON object by key. Null counts as missing. A value of another type is an error
/// that names the key.
pub(crate) struct Keys<'a> {
    pub(crate) map: &'a Map<String, Value>,
    pub(crate) file: &'a Path,
    /// The path of the object, such as `meta.`: errors put it before the key.
    pub(crate) prefix: &'static str,
}

impl Keys<'_> {
    fn typed<T>(
        &self,
        key: &str,
        expected: ConfigRule,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        match self.map.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.wrong(key, Some(value), expected)),
        }
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        self.typed(key, ConfigRule::Size, |value| {
            value.as_u64().and_then(|value| usize::try_from(value).ok())
        })
    }

    pub(crate) fn token(&self, key: &str) -> Result<Option<u32>, CheckpointError> {
        self.typed(key, ConfigRule::TokenId, |value| {
            value.as_u64().and_then(|value| u32::try_from(value).ok())
        })
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, CheckpointError> {
        self.typed(key, ConfigRule::Integer, Value::as_i64)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, ConfigRule::Number, Value::as_f64)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(key, ConfigRule::Flag, Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, CheckpointError> {
        self.typed(key, ConfigRule::Text, |value| {
            value.as_str().map(str::to_owned)
        })
    }

    pub(crate) fn required<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: ConfigRule,
    ) -> Result<T, CheckpointError> {
        value.ok_or_else(|| self.wrong(key, self.map.get(key), expected))
    }

    /// Returns the error for a value that is not `expected`.
    pub(crate) fn wrong(
        &self,
        key: &str,
        found: Option<&Value>,
        expected: ConfigRule,
    ) -> CheckpointError {
        CheckpointError::ConfigValue {
            file: self.file.to_owned(),
            key: format!("{}{key}", self.prefix),
            found: found.map(brief),
            expected,
        }
    }
}

/// Formats a value as one line of JSON, truncated for error messages.
fn brief(value: &Value) -> String {
    const SHOWN: usize = 40;
    let text = value.to_string();
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .filter(|c| !c.is_control())
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
