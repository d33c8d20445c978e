//! The texts of one crate. A language is parsed at its first use.

use std::sync::OnceLock;

use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use crate::{Arg, Language, functions};

/// The texts of the libraries.
pub static LIBRARY: Catalogue = Catalogue::new(
    &[include_str!("../locales/en.ftl")],
    &[include_str!("../locales/zh.ftl")],
);

/// Texts in both languages.
pub struct Catalogue {
    sources: [&'static [&'static str]; 2],
    bundles: [OnceLock<FluentBundle<FluentResource>>; 2],
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalogue")
    }
}

impl Catalogue {
    /// Creates a catalogue of Fluent files, English and Chinese.
    pub const fn new(en: &'static [&'static str], zh: &'static [&'static str]) -> Self {
        Self {
            sources: [en, zh],
            bundles: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// Formats a message, or one of its attributes. Returns `None` if there is no such text.
    pub fn format(
        &self,
        language: Language,
        id: &str,
        attribute: Option<&str>,
        args: &[(&'static str, Arg)],
    ) -> Option<String> {
        let bundle = self.bundles[language as usize].get_or_init(|| self.parse(language));
        let message = bundle.get_message(id)?;
        let pattern = match attribute {
            Some(attribute) => message.get_attribute(attribute)?.value(),
            None => message.value()?,
        };
        let mut values = FluentArgs::with_capacity(2 * args.len());
        for (name, arg) in args {
            arg.add(name, language, &mut values);
        }
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern, Some(&values), &mut errors);
        debug_assert!(errors.is_empty(), "{id}: {errors:?}");
        Some(text.into_owned())
    }

    fn parse(&self, language: Language) -> FluentBundle<FluentResource> {
        let locale = LanguageIdentifier::from_bytes(language.tag().as_bytes());
        let locale = locale.unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![locale]);
        // Isolation marks around arguments are for text of mixed direction. A user who copies a
        // file name would copy them too.
        bundle.set_use_isolating(false);
        functions::add_to(&mut bundle);
        for source in self.sources[language as usize] {
            let resource = FluentResource::try_new((*source).to_owned());
            let resource = resource.unwrap_or_else(|(valid_part, errors)| {
                debug_assert!(errors.is_empty(), "{errors:?}");
                valid_part
            });
            let added = bundle.add_resource(resource);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        bundle
    }
}
