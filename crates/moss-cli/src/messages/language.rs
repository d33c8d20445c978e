//! The language of messages. MOSS itself answers in the language of the user's message.

use moss_messages::Language;

/// Returns the language of the locale.
pub(crate) fn language_of_locale() -> Language {
    match sys_locale::get_locale() {
        Some(locale) if locale.to_lowercase().starts_with("zh") => Language::Zh,
        _ => Language::En,
    }
}
