//! The texts of the crate that is compiled, and a check of a message against them.

use std::{
    collections::{BTreeSet, HashMap},
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use proc_macro2::{Span, TokenStream};
use quote::quote;

/// Suffixes that `Arg` of moss-messages adds to the name of an argument.
const DERIVED: [&str; 4] = ["_id", "_count", "_first", "_name"];

/// The variables of every message, its attributes included.
type Messages = HashMap<String, BTreeSet<String>>;

struct Locales {
    languages: [(PathBuf, Messages); 2],
    is_library: bool,
}

/// Returns the expression of a `Text` in the catalogue that has the message: that of the libraries, or
/// the crate's own.
pub(crate) fn text(id: &str, args: TokenStream) -> TokenStream {
    let path = if locales().is_library {
        "&::moss_messages::LIBRARY"
    } else {
        "&crate::messages::CATALOGUE"
    };
    let catalogue: TokenStream = path.parse().unwrap_or_default();
    quote!(::moss_messages::Text::new(#catalogue, #id, ::std::vec![#args]))
}

/// Checks that every language has the message, and that its placeholders are arguments. If
/// `uses_all`, every language must use all arguments.
pub(crate) fn check(id: &str, args: &[String], uses_all: bool, at: Span) -> syn::Result<()> {
    for (file, messages) in &locales().languages {
        let file = file.display();
        let error = |what: String| Err(syn::Error::new(at, what));
        let Some(variables) = messages.get(id) else {
            return error(format!("no message `{id}` in {file}"));
        };
        let is_argument = |name: &&String| args.iter().any(|arg| names(arg, name));
        if let Some(name) = variables.iter().find(|name| !is_argument(name)) {
            let args = args.join(", ");
            return error(format!(
                "`{id}` in {file} uses `${name}`, which is not among its arguments: {args}"
            ));
        }
        let is_used = |arg: &&String| !uses_all || variables.iter().any(|name| names(arg, name));
        if let Some(arg) = args.iter().find(|arg| !is_used(arg)) {
            return error(format!("`{id}` in {file} does not use `${arg}`"));
        }
    }
    Ok(())
}

/// Returns true if the variable is the argument or derived from it.
fn names(arg: &str, variable: &str) -> bool {
    let rest = variable.strip_prefix(arg);
    rest.is_some_and(|rest| rest.is_empty() || DERIVED.contains(&rest))
}

fn locales() -> &'static Locales {
    static LOCALES: OnceLock<Locales> = OnceLock::new();
    LOCALES.get_or_init(|| {
        let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
        let own = manifest.join("locales");
        let library = manifest.join("../moss-messages/locales");
        let is_library = !own.is_dir() || manifest.ends_with("moss-messages");
        let folder = if is_library { library } else { own };
        let languages = ["en.ftl", "zh.ftl"].map(|name| {
            let file = folder.join(name);
            let messages = read(&file);
            (file, messages)
        });
        Locales {
            languages,
            is_library,
        }
    })
}

/// Reads the ids and variables of a file. The test `languages.rs` parses the files completely.
fn read(file: &Path) -> Messages {
    let source = fs::read_to_string(file).unwrap_or_default();
    let mut messages = Messages::new();
    let mut id = "";
    for line in source.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()) {
            id = line.split_once(" =").map_or("", |(id, _)| id); // a term begins with `-`
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let after_dollars = line.split('$').skip(1);
        let names = after_dollars.filter_map(|rest| rest.split(|c| !is_name(c)).next());
        let variables = messages.entry(id.to_owned()).or_default();
        variables.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    messages
}
