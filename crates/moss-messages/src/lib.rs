//! The message catalogue: every message has an id, and one text per language in a Fluent file.
//!
//! Error types derive [`Message`]. The id is `Type-Variant`, and the arguments of the text are the
//! fields. The derive reads `locales/en.ftl` and `locales/zh.ftl`. It rejects a message without a
//! text in one of the languages, or with a placeholder that is not an argument. Other messages are
//! written as [`msg!`]`("id", argument = value)`, with the same checks.
//!
//! A hint, which tells the user what to do, is the attribute `.hint` of the message.
//!
//! `locales` of this crate contains the texts of the libraries. A crate with its own folder
//! `locales`, such as the command line, has its texts there.

mod arg;
mod catalogue;
mod functions;
mod language;
mod message;

pub use arg::{Arg, Args, ToArg};
pub use catalogue::{Catalogue, LIBRARY};
pub use language::Language;
pub use message::{Message, Text, english, hint};
pub use moss_messages_macros::{Message, msg};

#[cfg(test)]
mod tests;
