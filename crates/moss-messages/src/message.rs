//! Messages, their texts and their hints.

use std::sync::Arc;

use crate::{Arg, Args, Catalogue, Language, ToArg};

/// Something with a text in every language.
pub trait Message: std::fmt::Debug {
    /// Returns the message's catalogue, id and arguments.
    fn to_text(&self) -> Text;

    /// Returns the message whose hint is used if this one has none.
    fn cause(&self) -> Option<&dyn Message> {
        None
    }
}

macro_rules! delegate {
    ($($pointer:ident),*) => {$(
        impl<T: Message + ?Sized> Message for $pointer<T> {
            fn to_text(&self) -> Text {
                (**self).to_text()
            }
            fn cause(&self) -> Option<&dyn Message> {
                (**self).cause()
            }
        }
    )*};
}

delegate!(Arc, Box);

/// Returns the English text of a message, which is its `Display`.
pub fn english(message: &dyn Message) -> String {
    Language::En.text(message)
}

/// Returns the message's `.hint`, or that of its cause.
pub fn hint(language: Language, message: &dyn Message) -> Option<String> {
    let found = message.to_text().format(language, Some("hint"));
    found
        .filter(|hint| !hint.is_empty())
        .or_else(|| hint(language, message.cause()?))
}

/// A message that is not a variant of an error type; [`msg!`](crate::msg) creates it.
#[derive(Debug, Clone)]
pub struct Text {
    catalogue: &'static Catalogue,
    id: &'static str,
    args: Args,
}

impl Text {
    /// Creates a message from its parts. [`msg!`](crate::msg) also checks them.
    pub fn new(catalogue: &'static Catalogue, id: &'static str, args: Args) -> Self {
        Self {
            catalogue,
            id,
            args,
        }
    }

    fn format(&self, language: Language, attribute: Option<&str>) -> Option<String> {
        self.catalogue
            .format(language, self.id, attribute, &self.args)
    }
}

impl Message for Text {
    fn to_text(&self) -> Text {
        self.clone()
    }
}

impl ToArg for Text {
    fn to_arg(&self) -> Arg {
        Arg::message(self)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&english(self))
    }
}

impl Language {
    /// Returns the text of a message in this language.
    pub fn text(self, message: &dyn Message) -> String {
        let text = message.to_text();
        let found = text.format(self, None);
        found.unwrap_or_else(|| text.id.to_owned()) // the derive and `msg!` rule this out
    }
}

impl Arg {
    /// Translates a message into every language.
    pub fn message(message: &dyn Message) -> Self {
        let id = message.to_text().id;
        Self::Texts {
            texts: Language::ALL.map(|language| language.text(message)),
            key: id.rsplit_once('-').map_or(id, |(_, variant)| variant),
        }
    }
}
