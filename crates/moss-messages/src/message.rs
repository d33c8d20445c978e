//! Messages, their texts and their hints.

use std::sync::Arc;

use crate::{Arg, Args, Catalogue, LIBRARY, Language, ToArg};

/// Something with a text in every language.
pub trait Message: std::fmt::Debug {
    /// Returns the id of the text.
    fn id(&self) -> &'static str;

    /// Returns the arguments of the text, by name.
    fn args(&self) -> Args;

    /// Returns the message whose hint is used if this one has none.
    fn cause(&self) -> Option<&dyn Message> {
        None
    }

    /// Returns the catalogue that contains the text.
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

/// Returns the English text of a message, which is its `Display`.
pub fn english(message: &dyn Message) -> String {
    text(Language::En, message)
}

/// Returns the message's `.hint`, or that of its cause.
pub fn hint(language: Language, message: &dyn Message) -> Option<String> {
    let catalogue = message.catalogue();
    catalogue
        .format(language, message.id(), Some("hint"), &message.args())
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

impl Language {
    /// Returns the text of a message in this language.
    pub fn text(self, message: &dyn Message) -> String {
        text(self, message)
    }
}

impl Arg {
    /// Translates a message into every language.
    pub fn message(message: &dyn Message) -> Self {
        let id = message.id();
        Self::Texts {
            texts: Language::ALL.map(|language| text(language, message)),
            key: id.rsplit_once('-').map_or(id, |(_, variant)| variant),
        }
    }
}
