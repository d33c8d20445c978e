//! English and Chinese have the same messages, with the same placeholders.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use fluent_syntax::{ast, parser, serializer};

/// Returns the texts of a file by id, including attributes and terms, as they are written.
fn texts(file: &Path) -> BTreeMap<String, String> {
    let source = fs::read_to_string(file).unwrap();
    let resource = parser::parse(source.as_str()).unwrap_or_else(|(_, errors)| {
        panic!("{}: {errors:?}", file.display());
    });
    let mut texts = BTreeMap::new();
    let mut add = |id: String, pattern: &ast::Pattern<&str>| {
        let text = as_written(pattern);
        let twice = texts.insert(id.clone(), text);
        assert_eq!(twice, None, "`{id}` occurs twice in {}", file.display());
    };
    for entry in &resource.body {
        let (id, value, attributes) = match entry {
            ast::Entry::Message(message) => (
                message.id.name.to_owned(),
                message.value.as_ref(),
                &message.attributes,
            ),
            ast::Entry::Term(term) => (
                format!("-{}", term.id.name),
                Some(&term.value),
                &term.attributes,
            ),
            _ => continue,
        };
        if let Some(value) = value {
            add(id.clone(), value);
        }
        for attribute in attributes {
            add(format!("{id}.{}", attribute.id.name), &attribute.value);
        }
    }
    texts
}

fn as_written(pattern: &ast::Pattern<&str>) -> String {
    let message = ast::Message {
        id: ast::Identifier { name: "x" },
        value: Some(pattern.clone()),
        attributes: Vec::new(),
        comment: None,
    };
    let body = vec![ast::Entry::Message(message)];
    let text = serializer::serialize(&ast::Resource { body });
    text.trim_start_matches("x =").trim().to_owned()
}

/// Returns the parts that a translation must keep: placeholders, numbers and options of the command
/// line.
fn data(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '-' | '_');
    let words = text.split(|c| !is_part(c));
    let names = words.filter(|word| word.starts_with('$') || word.starts_with("--"));
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.filter(|run| !run.is_empty());
    names.chain(numbers).map(str::to_owned).collect()
}

fn has_chinese(text: &str) -> bool {
    let ranges = [
        '\u{3000}'..='\u{303f}',
        '\u{4e00}'..='\u{9fff}',
        '\u{ff00}'..='\u{ffef}',
    ];
    text.chars()
        .any(|c| ranges.iter().any(|range| range.contains(&c)))
}

fn folders() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["locales", "../moss-cli/locales"].map(|folder| here.join(folder));
    folders
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect()
}

#[test]
fn both_languages_have_the_same_messages_with_the_same_placeholders() {
    for folder in folders() {
        let [en, zh] = ["en.ftl", "zh.ftl"].map(|name| texts(&folder.join(name)));
        let ids = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<BTreeSet<_>>();
        let odd: Vec<_> = ids(&en).symmetric_difference(&ids(&zh)).cloned().collect();
        assert!(odd.is_empty(), "only in one language: {odd:?}");
        let faults: Vec<_> = en
            .iter()
            .filter_map(|(id, en)| Some(format!("`{id}` {}", fault(en, &zh[id])?)))
            .collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Returns the difference between a text and its translation that is an error.
fn fault(en: &str, zh: &str) -> Option<String> {
    // The space before Latin letters in Chinese text.
    let zh_words = zh.trim_start_matches("{ \" \" }");
    let is_translated =
        has_chinese(zh) || en.contains(zh_words) || !has_words(en) || !has_words(zh);
    if data(en) != data(zh) {
        return Some(format!(
            "has different placeholders, options or numbers in Chinese:\n  {en}\n  {zh}"
        ));
    }
    if has_chinese(en) {
        return Some(format!("has Chinese in English: {en}"));
    }
    (!is_translated).then(|| format!("is not translated: {zh}"))
}

/// Returns true if there are words outside placeholders.
fn has_words(text: &str) -> bool {
    text.split('{').any(|part| {
        let (_, words) = part.split_once('}').unwrap_or(("", part));
        words.chars().any(|c| c.is_ascii_alphabetic())
    })
}

#[test]
fn every_message_is_used() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for krate in fs::read_dir(here.join("..")).unwrap() {
        let krate = krate.unwrap();
        // A crate of tests has no messages, but enums of the same names.
        if krate.file_name() != "moss-testing" {
            add_sources(&krate.path().join("src"), &mut sources);
        }
    }
    for id in folders()
        .iter()
        .flat_map(|folder| texts(&folder.join("en.ftl")).into_keys())
    {
        let id = id.split('.').next().unwrap();
        match id.split_once('-') {
            Some(("", _)) => {} // a term
            Some((kind, variant)) if kind.starts_with(|c: char| c.is_ascii_uppercase()) => {
                let body = sources.split(&format!("enum {kind} {{")).nth(1);
                let body = body.unwrap_or_else(|| panic!("no enum `{kind}` for `{id}`"));
                let body = body.split("\n}").next().unwrap();
                let is_variant = |line: &str| {
                    let rest = line.trim_start().strip_prefix(variant);
                    rest.is_some_and(|rest| rest.starts_with([',', '(', ' ']))
                };
                assert!(body.lines().any(is_variant), "no variant for `{id}`");
            }
            _ => {
                let uses = [format!("\"{id}\""), format!("struct {id} ")];
                let is_used = uses.iter().any(|text| sources.contains(text));
                assert!(is_used, "`{id}` is not used");
            }
        }
    }
}

fn add_sources(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
