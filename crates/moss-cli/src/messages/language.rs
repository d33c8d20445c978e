//! The languages of messages.

use clap::ValueEnum;

/// Language of messages. Answers are in whatever language MOSS chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    En,
    Zh,
}

impl Language {
    pub(crate) fn of_locale() -> Self {
        match sys_locale::get_locale() {
            Some(locale) if locale.to_lowercase().starts_with("zh") => Self::Zh,
            _ => Self::En,
        }
    }

    /// What this language has of the two.
    pub(crate) fn pick<T>(self, en: T, zh: T) -> T {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }
}

/// The same said in both languages.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) en: String,
    pub(crate) zh: String,
}

impl Words {
    /// A name, which is the same in every language.
    pub(crate) fn same(name: impl Into<String>) -> Self {
        let en = name.into();
        Self { zh: en.clone(), en }
    }

    pub(crate) fn of(&self, language: Language) -> &str {
        language.pick(&self.en, &self.zh)
    }
}

impl<E: Into<String>, Z: Into<String>> From<(E, Z)> for Words {
    fn from((en, zh): (E, Z)) -> Self {
        Self {
            en: en.into(),
            zh: zh.into(),
        }
    }
}
