use std::path::PathBuf;

use super::*;

static TEXTS: Catalogue = Catalogue::new(
    &["
plain = `{ $file }` ({ $file_name }) is { $kind }, not { $names }
    .hint = { $kind_id ->
        [Broken] repair it
       *[other] {\"\"}
    }
numbers = { FIXED($a, digits: 2) } { SIZE($b, unit: \"MiB\", digits: 0) } { HEX($c, digits: 8) } { SIGNED($d) } { VERSION($e) } { $f }
list = { $names_count }, { $names_first }: { $names }
"],
    &["
plain = `{ $file }`（{ $file_name }）是{ $kind }，不是 { $names }
numbers = { $f }
list = { $names_count }、{ $names_first }：{ $names }
"],
);

fn of(id: &'static str, args: Args) -> Text {
    Text::new(&TEXTS, id, args)
}

fn kind(key: &'static str) -> Arg {
    Arg::Texts {
        texts: ["a link".into(), "链接".into()],
        key,
    }
}

#[test]
fn texts_and_hints_take_the_arguments_in_both_languages() {
    let names = vec!["a".to_owned(), "b".to_owned()].to_arg();
    let file = PathBuf::from("x/y").to_arg();
    let message = of(
        "plain",
        vec![("file", file), ("kind", kind("Broken")), ("names", names)],
    );
    assert_eq!(english(&message), "`x/y` (y) is a link, not `a`, `b`");
    assert_eq!(
        Language::Zh.text(&message),
        "`x/y`（y）是链接，不是 `a`、`b`"
    );
    assert_eq!(hint(Language::En, &message).as_deref(), Some("repair it"));
    assert_eq!(hint(Language::Zh, &message), None);
}

#[test]
fn an_empty_hint_is_none() {
    let args = ["file", "names"].map(|name| (name, Arg::Text(String::new())));
    let args = [&args[..], &[("kind", kind("Whole"))]].concat();
    assert_eq!(hint(Language::En, &of("plain", args)), None);
}

#[test]
fn numbers_are_shown_as_the_text_asks() {
    let args = vec![
        ("a", 1.0_f64.to_arg()),
        ("b", (3_u64 << 20).to_arg()),
        ("c", 42_u32.to_arg()),
        ("d", 7_i64.to_arg()),
        ("e", 12_020.to_arg()),
        ("f", 0.1_f32.to_arg()),
    ];
    let message = of("numbers", args);
    assert_eq!(english(&message), "1.00 3 MiB 0x0000002a +7 12.2 0.1");
}

#[test]
fn a_list_has_a_length_and_a_first_item() {
    let names = vec![PathBuf::from("a"), PathBuf::from("b")].to_arg();
    let message = of("list", vec![("names", names.clone())]);
    assert_eq!(english(&message), "2, a: `a`, `b`");
    let message = of("list", vec![("names", names.on_lines())]);
    assert_eq!(english(&message), "2, a: \n  a\n  b");
}
