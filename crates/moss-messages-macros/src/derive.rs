//! The derive: one match arm per variant for the text, and one for the cause.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Field, Fields, Member, Result, spanned::Spanned};

use crate::locales;

/// The match arms of the two functions.
#[derive(Default)]
struct Arms {
    text: Vec<TokenStream>,
    cause: Vec<TokenStream>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let mut arms = Arms::default();
    let mut is_error = is_marked(&input.attrs, "error");
    match &input.data {
        Data::Enum(data) => {
            for variant in &data.variants {
                is_error |= is_marked(&variant.attrs, "error");
                let label = &variant.ident;
                let id = format!("{name}-{label}");
                let path = quote!(#name::#label);
                if is_transparent(&variant.attrs) {
                    arms.add_transparent(&path, &variant.fields);
                } else {
                    arms.add(&id, &path, &variant.fields, label.span())?;
                }
            }
        }
        Data::Struct(data) => {
            arms.add(&name.to_string(), &quote!(#name), &data.fields, name.span())?;
        }
        Data::Union(data) => {
            return Err(syn::Error::new(
                data.union_token.span(),
                "a union cannot be a message",
            ));
        }
    }
    Ok(arms.implementations(name, is_error, has_option(&input.attrs, "display")?))
}

impl Arms {
    fn add_transparent(&mut self, path: &TokenStream, fields: &Fields) {
        let member = fields.members();
        let arm = quote!(#path { #(#member: inner),* } => ::moss_messages::Message);
        self.text.push(quote!(#arm::to_text(inner),));
        self.cause.push(quote!(#arm::cause(inner),));
    }

    fn add(&mut self, id: &str, path: &TokenStream, fields: &Fields, at: Span) -> Result<()> {
        let (mut names, mut bindings, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut cause = None;
        for (field, member) in fields.iter().zip(fields.members()) {
            let argument = argument_name(&member, fields.len());
            let binding = format_ident!("field_{argument}");
            if has_option(&field.attrs, "cause")? {
                cause = Some((member.clone(), binding.clone()));
            }
            if let Some(value) = value(field, &binding)? {
                values.push(quote!((#argument, #value)));
                bindings.push(quote!(#member: #binding));
                names.push(argument);
            }
        }
        locales::check(id, &names, false, at)?;
        let text = locales::text(id, quote!(#(#values),*));
        self.text
            .push(quote!(#path { #(#bindings,)* .. } => #text,));
        if let Some((member, binding)) = cause {
            self.cause.push(
                quote!(#path { #member: #binding, .. } => ::std::option::Option::Some(#binding),),
            );
        }
        Ok(())
    }

    fn implementations(self, name: &Ident, is_error: bool, has_display: bool) -> TokenStream {
        let Self { text, cause } = self;
        let hint = is_error.then(|| {
            quote! {
                #[allow(dead_code, unreachable_pub)]
                impl #name {
                    /// Returns what the user can do about it, in English, if anything.
                    pub fn hint(&self) -> ::std::option::Option<::std::string::String> {
                        ::moss_messages::hint(::moss_messages::Language::En, self)
                    }
                }
            }
        });
        let display = has_display.then(|| {
            quote! {
                impl ::std::fmt::Display for #name {
                    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str(&::moss_messages::english(self))
                    }
                }
            }
        });
        quote! {
            impl ::moss_messages::Message for #name {
                fn to_text(&self) -> ::moss_messages::Text {
                    match self { #(#text)* }
                }

                fn cause(&self) -> ::std::option::Option<&dyn ::moss_messages::Message> {
                    #[allow(unreachable_patterns)]
                    match self {
                        #(#cause)*
                        _ => ::std::option::Option::None,
                    }
                }
            }

            impl ::moss_messages::ToArg for #name {
                fn to_arg(&self) -> ::moss_messages::Arg {
                    ::moss_messages::Arg::message(self)
                }
            }

            #hint
            #display
        }
    }
}

/// Returns the name of one of `count` fields in the texts.
fn argument_name(member: &Member, count: usize) -> String {
    match member {
        Member::Named(name) => name.to_string(),
        Member::Unnamed(_) if count == 1 => "value".to_owned(),
        Member::Unnamed(at) => ["first", "second", "third"][at.index as usize].to_owned(),
    }
}

/// Returns the expression of an argument, or `None` if the field is not one.
fn value(field: &Field, binding: &Ident) -> Result<Option<TokenStream>> {
    let span = field.ty.span();
    let has = |option| has_option(&field.attrs, option);
    let is_source = is_marked(&field.attrs, "from")
        || is_marked(&field.attrs, "source")
        || field.ident.as_ref().is_some_and(|ident| ident == "source");
    let text = |value| quote!(::moss_messages::Arg::Text(#value));
    Ok(Some(if has("skip")? {
        return Ok(None);
    } else if has("display")? {
        text(quote!(::std::string::ToString::to_string(#binding)))
    } else if has("debug")? {
        text(quote!(::std::format!("{:?}", #binding)))
    } else if has("kind")? {
        text(quote!(::std::format!("{:?}", #binding.kind())))
    } else if has("lines")? {
        quote!(::moss_messages::ToArg::to_arg(#binding).on_lines())
    } else if is_source || has("cause")? {
        return Ok(None);
    } else {
        quote_spanned!(span=> ::moss_messages::ToArg::to_arg(#binding))
    }))
}

fn is_marked(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

fn is_transparent(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("error")
            && attr
                .parse_args::<Ident>()
                .is_ok_and(|word| word == "transparent")
    })
}

/// Returns true if `#[message(…)]` names the option.
fn has_option(attrs: &[Attribute], option: &str) -> Result<bool> {
    let mut found = false;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("message")) {
        attr.parse_nested_meta(|meta| {
            const OPTIONS: [&str; 6] = ["cause", "debug", "display", "kind", "lines", "skip"];
            found |= meta.path.is_ident(option);
            match OPTIONS.iter().any(|known| meta.path.is_ident(known)) {
                true => Ok(()),
                false => Err(meta.error("unknown option")),
            }
        })?;
    }
    Ok(found)
}
