//! Unknown request fields, logged once each.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Names of ignored fields that were logged. Each is logged once, up to a maximum, so that clients
/// cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct IgnoredFields(Mutex<HashSet<String>>);

impl IgnoredFields {
    const MAX: usize = 256;

    /// Logs those of `fields` that were not logged before.
    pub(crate) fn log(&self, fields: &[String]) {
        for field in fields {
            // Indices are left out: a field of every message is one name.
            let name: String = field
                .split('[')
                .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
                .collect();
            let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if logged.len() < Self::MAX && logged.insert(name) {
                tracing::warn!(?field, "unknown request field ignored; logged once");
            }
        }
    }
}
