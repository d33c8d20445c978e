//! The language of messages. Answers are in whatever language MOSS chooses.

use moss_messages::Language;

/// Returns the language of a value of `--lang`.
pub(crate) fn language_named(name: &str) -> Option<Language> {
    match name {
        "en" => Some(Language::En),
        "zh" => Some(Language::Zh),
        _ => None,
    }
}

/// Returns the language of the locale.
pub(crate) fn language_of_locale() -> Language {
    match sys_locale::get_locale() {
        Some(locale) if locale.to_lowercase().starts_with("zh") => Language::Zh,
        _ => Language::En,
    }
}
