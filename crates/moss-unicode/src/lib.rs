//! Text at the edges of the program: bytes that users wrote become UTF-8 text, and text from
//! elsewhere is escaped before a terminal or a log shows it.
//!
//! Every crate that reads a file which a user may have written decodes it with [`decode`] or
//! [`decode_text`]. Every crate that shows text which it did not write itself escapes it with
//! [`escape`].

mod decode;
mod escape;

pub use decode::{DecodeError, decode, decode_start, decode_text};
pub use escape::{Context, escape};
