//! The languages of messages.

/// A language that messages exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Every language, in the order of [`Arg::Texts`](crate::Arg::Texts).
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// Returns the language tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// Returns the language with this tag.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// Returns the punctuation between the names and between the sentences of a list.
    pub(crate) fn separators(self) -> [&'static str; 2] {
        match self {
            Self::En => [", ", "; "],
            Self::Zh => ["、", "；"],
        }
    }
}
