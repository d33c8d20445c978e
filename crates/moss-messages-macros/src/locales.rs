//! The texts of the crate that is compiled, and whether they fit a message.

use std::{
    collections::{BTreeSet, HashMap},
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use fluent_syntax::{
    ast::{CallArguments, Entry, Expression, InlineExpression, Pattern, PatternElement},
    parser,
};
use proc_macro2::Span;

/// What `Arg` of moss-messages adds to the name of an argument.
const DERIVED: [&str; 4] = ["_id", "_count", "_first", "_name"];

/// The variables of every message, its attributes included, by language.
struct Locales {
    languages: Vec<(PathBuf, HashMap<String, BTreeSet<String>>)>,
    is_library: bool,
}

/// Returns true if the texts are in `moss-messages`, and not in the crate's own `locales`.
pub(crate) fn is_library() -> bool {
    locales().is_library
}

/// Checks that every language has the message, and that its placeholders are arguments.
pub(crate) fn check(id: &str, args: &[String], at: Span) -> syn::Result<()> {
    for (file, messages) in &locales().languages {
        let fail = |what: String| Err(syn::Error::new(at, what));
        let file = file.display();
        let Some(variables) = messages.get(id) else {
            return fail(format!("no message `{id}` in {file}"));
        };
        let is_known = |name: &str| args.iter().any(|arg| arg == name);
        let is_argument = |name: &str| {
            let mut stems = DERIVED.iter().filter_map(|end| name.strip_suffix(end));
            is_known(name) || stems.any(is_known)
        };
        if let Some(name) = variables.iter().find(|name| !is_argument(name)) {
            return fail(format!(
                "`{id}` in {file} uses `${name}`, which is not among its arguments: {}",
                args.join(", ")
            ));
        }
    }
    Ok(())
}

/// Checks that every language uses all arguments.
pub(crate) fn check_all_used(id: &str, args: &[String], at: Span) -> syn::Result<()> {
    for (file, messages) in &locales().languages {
        let variables = messages.get(id);
        let is_used = |arg: &String| {
            let derived = DERIVED.map(|end| format!("{arg}{end}"));
            variables.is_some_and(|names| {
                names.contains(arg) || derived.iter().any(|name| names.contains(name))
            })
        };
        if let Some(arg) = args.iter().find(|arg| !is_used(arg)) {
            let file = file.display();
            return Err(syn::Error::new(
                at,
                format!("`{id}` in {file} does not use `${arg}`"),
            ));
        }
    }
    Ok(())
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
            languages: languages.into(),
            is_library,
        }
    })
}

fn read(file: &Path) -> HashMap<String, BTreeSet<String>> {
    let source = fs::read_to_string(file).unwrap_or_default();
    let resource = parser::parse(source.as_str()).unwrap_or_else(|(valid_part, _)| valid_part);
    let messages = resource.body.iter().filter_map(|entry| match entry {
        Entry::Message(message) => Some(message),
        _ => None,
    });
    messages
        .map(|message| {
            let mut names = BTreeSet::new();
            let values = message.attributes.iter().map(|attribute| &attribute.value);
            for pattern in message.value.iter().chain(values) {
                add_pattern(pattern, &mut names);
            }
            (message.id.name.to_owned(), names)
        })
        .collect()
}

fn add_pattern(pattern: &Pattern<&str>, names: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            add_expression(expression, names);
        }
    }
}

fn add_expression(expression: &Expression<&str>, names: &mut BTreeSet<String>) {
    match expression {
        Expression::Inline(inline) => add_inline(inline, names),
        Expression::Select { selector, variants } => {
            add_inline(selector, names);
            for variant in variants {
                add_pattern(&variant.value, names);
            }
        }
    }
}

fn add_inline(inline: &InlineExpression<&str>, names: &mut BTreeSet<String>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            names.insert(id.name.to_owned());
        }
        InlineExpression::FunctionReference { arguments, .. }
        | InlineExpression::TermReference {
            arguments: Some(arguments),
            ..
        } => add_arguments(arguments, names),
        InlineExpression::Placeable { expression } => add_expression(expression, names),
        _ => {}
    }
}

fn add_arguments(arguments: &CallArguments<&str>, names: &mut BTreeSet<String>) {
    for argument in &arguments.positional {
        add_inline(argument, names);
    }
    for argument in &arguments.named {
        add_inline(&argument.value, names);
    }
}
