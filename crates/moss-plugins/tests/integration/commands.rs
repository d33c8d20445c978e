//! The calls in a commands segment, and citations in an answer.

use moss_plugins::{Citations, parse_calls};
use proptest::prelude::*;

fn calls(commands: &str) -> Vec<(String, Vec<String>)> {
    let calls = parse_calls(commands).into_iter();
    calls.map(|call| (call.name, call.arguments)).collect()
}

fn call(name: &str, arguments: &[&str]) -> (String, Vec<String>) {
    let arguments = arguments.iter().map(|argument| argument.to_string());
    (name.to_owned(), arguments.collect())
}

#[test]
fn quotes_of_both_kinds_and_escapes_are_read_as_in_python() {
    assert_eq!(calls("Search('a \"b\"')"), [call("Search", &["a \"b\""])]);
    assert_eq!(
        calls(r#"Search("a \"b\" \\ \d")"#),
        [call("Search", &[r#"a "b" \ \d"#])]
    );
    assert_eq!(calls("Search(“茶”)"), [call("Search", &["茶"])]);
}

#[test]
fn a_quote_within_an_argument_is_part_of_it() {
    assert_eq!(
        calls(r#"Search("the "old" town")"#),
        [call("Search", &[r#"the "old" town"#])]
    );
    let two = [call("Search", &["a"]), call("Calculate", &["1"])];
    assert_eq!(calls(r#"Search("a"), Calculate("1")"#), two);
}

#[test]
fn brackets_and_commas_in_an_argument_do_not_end_it() {
    assert_eq!(
        calls(r#"Calculate("max(1,(2))")"#),
        [call("Calculate", &["max(1,(2))"])]
    );
    assert_eq!(calls(r#"Solve("a", "b")"#), [call("Solve", &["a", "b"])]);
}

#[test]
fn text_that_is_not_a_call_is_ignored() {
    for text in [
        "",
        "None",
        "None.",
        "Search",
        "Search(",
        "Search(\"a",
        "Search()",
        "搜索(\"a\")",
    ] {
        assert_eq!(calls(text), [], "{text}");
    }
    assert_eq!(calls("Search(a, Calculate(\"1\"))"), []);
    assert_eq!(
        calls("Search(a)\nCalculate(\"1\")"),
        [call("Calculate", &["1"])]
    );
    assert_eq!(calls("Nonexistent(\"a\")"), [call("Nonexistent", &["a"])]);
    assert_eq!(calls("Search(\"a\nb\")"), []);
}

#[test]
fn a_call_keeps_its_text() {
    let found = parse_calls("1. Calculate( \"1+1\" ) # sum");
    assert_eq!(found[0].text, "Calculate( \"1+1\" )");
}

#[test]
fn tags_that_are_not_citations_are_text() {
    for text in [
        "a < b",
        "<sup>2</sup>",
        "<sup><|a|></sup>",
        "<sup><|1|>",
        "<sup><|1234|></sup>",
        "<",
    ] {
        let mut citations = Citations::default();
        let shown = citations.push(text) + &citations.finish();
        assert_eq!(shown, text);
        assert!(citations.numbers().is_empty());
    }
}

proptest! {
    #[test]
    fn any_division_of_an_answer_has_the_same_citations(text in "([a<|>]|<sup><\\|[1-3]{1,2}\\|></sup>){0,12}", cuts in prop::collection::vec(0usize..20, 0..30)) {
        let mut whole = Citations::default();
        let expected = whole.push(&text) + &whole.finish();
        let mut parts = Citations::default();
        let (mut shown, mut rest) = (String::new(), &text[..]);
        for cut in cuts {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            shown += &parts.push(piece);
            rest = tail;
        }
        shown += &parts.push(rest);
        shown += &parts.finish();
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(parts.numbers(), whole.numbers());
    }

    #[test]
    fn any_argument_is_read_back(argument in "[^\\x00-\\x1f]{0,40}") {
        let quoted = argument.replace('\\', "\\\\").replace('"', "\\\"");
        let found = parse_calls(&format!("Search(\"{quoted}\")"));
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].arguments[0], &argument);
    }

    #[test]
    fn any_text_gives_calls_that_are_part_of_it(text in "[A-c(\"', )\\n#\\\\1]{0,60}") {
        for call in parse_calls(&text) {
            prop_assert!(text.contains(&call.text));
        }
    }
}
