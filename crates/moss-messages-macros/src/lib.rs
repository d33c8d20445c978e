//! The derive and the macro of `moss-messages`, which describes them.

mod derive;
mod locales;
mod msg;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Implements `Message` and `ToArg`.
///
/// The id is `Type-Variant`, or `Type` for a struct. Fields are the arguments; those of tuple
/// variants are `$value`, or `$first` and `$second`. Fields named `source` or marked `#[from]` are
/// left out. A variant with `#[error(transparent)]` is its field. Error types also get
/// `hint(&self)`, the English hint.
///
/// `#[message(…)]` on a field: `display` and `debug` pass it as that text, `lines` shows a list
/// line by line, `kind` passes the kind of an `io::Error`, `cause` makes its hint count, `skip`
/// leaves it out. `#[message(display)]` on the type implements `Display`.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as syn::DeriveInput);
    derive::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a `Text` of the crate's own catalogue: `msg!("id", name = expression, variable)`.
#[proc_macro]
pub fn msg(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as msg::Call);
    input
        .expand()
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
