//! `msg!`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Expr, Ident, LitStr, Result, Token,
    parse::{Parse, ParseStream},
};

use crate::locales;

/// The id and the arguments.
pub(crate) struct Call {
    id: LitStr,
    args: Vec<(Ident, Expr)>,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let id = input.parse()?;
        let mut args = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let name: Ident = input.parse()?;
            let value = if input.parse::<Option<Token![=]>>()?.is_some() {
                input.parse()?
            } else {
                syn::parse_quote!(#name)
            };
            args.push((name, value));
        }
        Ok(Self { id, args })
    }
}

impl Call {
    pub(crate) fn expand(&self) -> Result<TokenStream> {
        let Self { id, args } = self;
        let names: Vec<_> = args.iter().map(|(name, _)| name.to_string()).collect();
        locales::check(&id.value(), &names, true, id.span())?;
        let values = args.iter().map(|(_, value)| value);
        let args = quote!(#((#names, ::moss_messages::ToArg::to_arg(&(#values)))),*);
        Ok(locales::text(&id.value(), args))
    }
}
