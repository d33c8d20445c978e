//! The two conventions of storing GPTQ's zero points.

/// A convention of storing zero points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroPoints {
    /// The zero point minus one, as in the published checkpoints (`gptq`).
    #[default]
    LessOne,
    /// The zero point (`gptq_v2`).
    Plain,
}

impl ZeroPoints {
    /// Returns the convention of this name, in upper or lower case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::LessOne, Self::Plain]
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// Returns the name of the convention in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::LessOne => "gptq",
            Self::Plain => "gptq_v2",
        }
    }
}

impl std::fmt::Display for ZeroPoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
