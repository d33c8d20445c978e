//! The message catalogue: every message has an id, and one text per language in a Fluent file.
//!
//! Error types derive [`Message`]; their id is `Type-Variant`, and the arguments of the text are
//! the fields. The derive reads `locales/en.ftl` and `locales/zh.ftl` and rejects a message without
//! a text in one of the languages, or with a placeholder that is not an argument. Other messages
//! are written as [`msg!`]`("id", argument = value)`, with the same checks.
//!
//! A hint, which tells the user what to do, is the attribute `.hint` of the message.
//!
//! Texts of this crate's `locales` belong to the libraries. A crate with a `locales` folder of its
//! own, such as the command line, keeps its texts there.

mod arg;
mod catalogue;
mod functions;

use std::sync::Arc;

pub use arg::{Arg, Args, ToArg};
pub use catalogue::{Catalogue, LIBRARY};
pub use moss_messages_macros::{Message, msg};

/// A language that messages exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Every language, in the order of [`Arg::Texts`].
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// Returns the text of a message in this language.
    pub fn text(self, message: &dyn Message) -> String {
        text(self, message)
    }
}

/// Something with a text in every language.
pub trait Message: std::fmt::Debug {
    /// Returns the id of the text.
    fn id(&self) -> &'static str;

    /// Returns the arguments of the text, by name.
    fn args(&self) -> Args;

    /// Returns the message whose hint counts if this one has none.
    fn cause(&self) -> Option<&dyn Message> {
        None
    }

    /// Returns the catalogue that has the text.
    fn catalogue(&self) -> &'static Catalogue {
        &LIBRARY
    }
}

macro_rules! delegate {
    ($($pointer:ident),*) => {$(
        impl<T: Message + ?Sized> Message for $pointer<T> {
            fn id(&self) -> &'static str {
                (**self).id()
            }
            fn args(&self) -> Args {
                (**self).args()
            }
            fn cause(&self) -> Option<&dyn Message> {
                (**self).cause()
            }
            fn catalogue(&self) -> &'static Catalogue {
                (**self).catalogue()
            }
        }
    )*};
}

delegate!(Arc, Box);

/// Returns the text of a message.
pub fn text(language: Language, message: &dyn Message) -> String {
    let text = message
        .catalogue()
        .format(language, message.id(), None, &message.args());
    text.unwrap_or_else(|| message.id().to_owned()) // the derive and `msg!` rule this out
}

/// Returns the English text of a message: what `Display` shows.
pub fn english(message: &dyn Message) -> String {
    text(Language::En, message)
}

/// Returns what the user can do about it, if anything: the message's `.hint`, or that of its cause.
pub fn hint(language: Language, message: &dyn Message) -> Option<String> {
    let catalogue = message.catalogue();
    catalogue
        .format(language, message.id(), Some("hint"), &message.args())
        .filter(|hint| !hint.is_empty())
        .or_else(|| hint(language, message.cause()?))
}

/// A message outside an error type; [`msg!`] makes it.
#[derive(Debug, Clone)]
pub struct Text {
    catalogue: &'static Catalogue,
    id: &'static str,
    args: Args,
}

impl Text {
    /// Creates a message from its parts. [`msg!`] also checks them.
    pub fn new(catalogue: &'static Catalogue, id: &'static str, args: Args) -> Self {
        Self {
            catalogue,
            id,
            args,
        }
    }
}

impl Message for Text {
    fn id(&self) -> &'static str {
        self.id
    }

    fn args(&self) -> Args {
        self.args.clone()
    }

    fn catalogue(&self) -> &'static Catalogue {
        self.catalogue
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

#[cfg(test)]
mod tests;
