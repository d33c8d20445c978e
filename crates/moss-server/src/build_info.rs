//! The program that a server is part of.

/// Version and build of a program, for `/metrics` and `/stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, if known.
    pub commit: Option<String>,
    /// Optional features that were compiled, such as `cuda`.
    pub features: Vec<String>,
}

impl Default for BuildInfo {
    /// Returns the version of this crate.
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: None,
            features: Vec::new(),
        }
    }
}
