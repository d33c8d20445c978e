//! Arguments of messages.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    path::{Display, Path, PathBuf},
};

use fluent_bundle::{FluentArgs, FluentValue};

use crate::Language;

/// Arguments with their names.
pub type Args = Vec<(&'static str, Arg)>;

/// The value of one argument, `$x` in the texts.
#[derive(Debug, Clone)]
pub enum Arg {
    /// Text that is the same in every language.
    Text(String),
    /// A number.
    Number(f64),
    /// A path; `$x_name` is the file's name without its folder.
    Path(PathBuf),
    /// A text in every language, in the order of [`Language::ALL`]; `$x_id` is the key.
    Texts {
        /// The texts.
        texts: [String; 2],
        /// The variant's name, for selectors.
        key: &'static str,
    },
    /// A list; `$x_count` is its length and `$x_first` its first item.
    List {
        /// The items.
        items: Vec<Arg>,
        /// True if each item is shown on a separate line.
        lines: bool,
    },
}

impl Arg {
    /// Shows each item of a list on a separate line.
    #[must_use]
    pub fn on_lines(self) -> Self {
        match self {
            Self::List { items, .. } => Self::List { items, lines: true },
            other => other,
        }
    }

    /// Returns the argument's text in a language.
    pub fn text(&self, language: Language) -> String {
        match self.shown(language) {
            FluentValue::String(text) => text.into_owned(),
            FluentValue::Number(number) => number.as_string().into_owned(),
            _ => String::new(),
        }
    }

    fn shown(&self, language: Language) -> FluentValue<'_> {
        match self {
            Self::Text(text) => FluentValue::from(text.as_str()),
            Self::Number(number) => FluentValue::from(*number),
            Self::Path(path) => FluentValue::String(path.to_string_lossy()),
            Self::Texts { texts, .. } => FluentValue::from(texts[language as usize].as_str()),
            Self::List { items, lines } => joined(items, *lines, language).into(),
        }
    }

    /// Adds the argument, and what is known about it, under a name.
    pub(crate) fn add<'a>(
        &'a self,
        name: &'static str,
        language: Language,
        args: &mut FluentArgs<'a>,
    ) {
        args.set(name, self.shown(language));
        match self {
            Self::Path(path) => {
                let file = path.file_name().unwrap_or_default();
                args.set(format!("{name}_name"), file.to_string_lossy());
            }
            Self::Texts { key, .. } => args.set(format!("{name}_id"), *key),
            Self::List { items, .. } => {
                args.set(format!("{name}_count"), items.len());
                if let Some(first) = items.first() {
                    args.set(format!("{name}_first"), first.shown(language));
                }
            }
            Self::Text(_) | Self::Number(_) => {}
        }
    }
}

/// Joins names in backquotes, numbers, or messages.
fn joined(items: &[Arg], lines: bool, language: Language) -> String {
    let texts = items.iter().map(|item| item.text(language));
    if lines {
        return texts.map(|text| format!("\n  {text}")).collect();
    }
    let [comma, semicolon] = language.separators();
    match items.first() {
        Some(Arg::Text(_) | Arg::Path(_)) => {
            let names: Vec<_> = texts.map(|name| format!("`{name}`")).collect();
            names.join(comma)
        }
        Some(Arg::Number(_)) => texts.collect::<Vec<_>>().join(", "),
        _ => texts.collect::<Vec<_>>().join(semicolon),
    }
}

/// A type whose values can be arguments of messages.
pub trait ToArg {
    /// Returns the argument.
    fn to_arg(&self) -> Arg;
}

impl ToArg for Arg {
    fn to_arg(&self) -> Arg {
        self.clone()
    }
}

impl<T: ToArg> ToArg for Vec<T> {
    fn to_arg(&self) -> Arg {
        self.as_slice().to_arg()
    }
}

impl<T: ToArg> ToArg for Option<T> {
    fn to_arg(&self) -> Arg {
        match self {
            Some(value) => value.to_arg(),
            None => Arg::Text("none".into()),
        }
    }
}

impl<T: ToArg> ToArg for [T] {
    fn to_arg(&self) -> Arg {
        Arg::List {
            items: self.iter().map(ToArg::to_arg).collect(),
            lines: false,
        }
    }
}

impl ToArg for Path {
    fn to_arg(&self) -> Arg {
        Arg::Path(self.to_owned())
    }
}

impl ToArg for f32 {
    fn to_arg(&self) -> Arg {
        // As an f64, 0.1_f32 would show as 0.10000000149011612.
        Arg::Number(self.to_string().parse().unwrap_or(f64::from(*self)))
    }
}

macro_rules! shown_as_text {
    ($($kind:ty),*) => {$(
        impl ToArg for $kind {
            fn to_arg(&self) -> Arg {
                Arg::Text(self.to_string())
            }
        }
    )*};
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl ToArg for $kind {
            fn to_arg(&self) -> Arg {
                Arg::Number(*self as f64)
            }
        }
    )*};
}

macro_rules! dereferenced {
    ($($kind:ty $(where $item:ident)?),*) => {$(
        impl$(<$item: ToArg + ?Sized>)? ToArg for $kind {
            fn to_arg(&self) -> Arg {
                (**self).to_arg()
            }
        }
    )*};
}

shown_as_text!(str, char, bool, IpAddr, SocketAddr, Display<'_>);
numbers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f64);
dereferenced!(String, PathBuf, Cow<'_, str>, &T where T, Box<T> where T);
