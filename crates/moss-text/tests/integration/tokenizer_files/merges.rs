//! `merges.txt` and `vocab.json`, against each other.

use moss_text::{Specials, TextError, Tokenizer};

use super::{Folder, TEXT, case};

/// Lines of merges.txt, without the header.
fn rules() -> Vec<String> {
    Folder::new()
        .text("merges.txt")
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect()
}

fn merged(lines: &[String]) -> Result<Tokenizer, TextError> {
    Folder::new()
        .with(
            "merges.txt",
            format!("#version: 0.2\n{}\n", lines.join("\n")),
        )
        .open()
}

#[test]
fn a_vocabulary_entry_that_no_merge_makes_is_reported_as_the_first_one() {
    let rules = rules();
    let count = rules.len();
    let missing = |content: &str, first: u32, missing: usize| {
        let error = Folder::new().with("merges.txt", content).error();
        let TextError::NoMerge { id, count, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((id, count), (first, missing));
    };
    let joined = rules.join("\n");
    missing(&case("merges-header-only.txt"), 256, count);
    missing("", 256, count);
    missing("\n\n\n", 256, count);
    let cut = rules[..count - 100].join("\n");
    missing(
        &format!("#version: 0.2\n{cut}\n"),
        256 + count as u32 - 100,
        100,
    );
    // A line in the middle that no other line uses.
    let used = |line: &String| {
        let token = line.replace(' ', "");
        rules
            .iter()
            .any(|other| other.split(' ').any(|part| part == token))
    };
    let unused = rules.iter().position(|line| !used(line)).unwrap();
    let others: Vec<&str> = rules
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != unused)
        .map(|(_, line)| line.as_str())
        .collect();
    missing(&others.join("\n"), 256 + unused as u32, 1);
    // Truncated in the middle of a line.
    let cut: String = joined
        .chars()
        .take(joined.chars().count() * 2 / 3)
        .collect();
    let error = Folder::new().with("merges.txt", cut).error();
    assert!(
        matches!(
            error,
            TextError::NoMerge { .. } | TextError::MergeToken { .. } | TextError::Merge { .. }
        ),
        "{error}"
    );
}

#[test]
fn merges_in_another_order_than_the_vocabulary_are_reported() {
    let rules = rules();
    assert!(merged(&rules).is_ok());
    let inconsistent = |lines: &[String], what: &str| {
        let error = merged(lines).unwrap_err();
        let is_order = matches!(
            error,
            TextError::MergePart { .. } | TextError::MergeOrder { .. }
        );
        assert!(is_order && error.hint().is_some(), "{what}: {error}");
    };
    let mut reversed = rules.clone();
    reversed.reverse();
    inconsistent(&reversed, "reversed");
    let mut rotated = rules.clone();
    rotated.rotate_left(rules.len() / 2);
    inconsistent(&rotated, "rotated");
    let mut shuffled = rules.clone();
    let mut state = 7u64;
    for index in (1..shuffled.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        shuffled.swap(index, (state >> 33) as usize % (index + 1));
    }
    inconsistent(&shuffled, "shuffled");
    let mut end = rules.clone();
    end[rules.len() - 100..].reverse();
    inconsistent(&end, "the last hundred reversed");
    let mut sorted = rules.clone();
    sorted.sort();
    inconsistent(&sorted, "sorted");
    for index in (0..rules.len() - 1).step_by(61) {
        let mut swapped = rules.clone();
        swapped.swap(index, index + 1);
        inconsistent(&swapped, "two neighbours swapped");
    }
    // Shuffled and still consistent: each part is made by an earlier line.
    let mut rest = shuffled;
    let mut made = std::collections::HashSet::new();
    let mut consistent = Vec::new();
    while !rest.is_empty() {
        let is_made = |part: &str| part.chars().count() == 1 || made.contains(part);
        let next = rest.iter().position(|line| line.split(' ').all(is_made));
        let line = rest.remove(next.unwrap());
        made.insert(line.replace(' ', ""));
        consistent.push(line);
    }
    inconsistent(&consistent, "shuffled, with every part made before");
    let mut pairs = rules.clone();
    for pair in pairs.chunks_exact_mut(2) {
        if !pair[1]
            .split(' ')
            .any(|part| part == pair[0].replace(' ', ""))
        {
            pair.swap(0, 1);
        }
    }
    inconsistent(&pairs, "every pair of neighbours swapped that can be");
    let twice = [&rules[..], &rules[..1]].concat();
    assert!(matches!(
        merged(&twice).unwrap_err(),
        TextError::MergeTwice { .. }
    ));
    let foreign = [&rules[..], &["Q Q".to_owned()]].concat();
    assert!(matches!(
        merged(&foreign).unwrap_err(),
        TextError::MergeToken { .. }
    ));
}

#[test]
fn a_vocabulary_that_is_not_numbered_by_its_merges_is_accepted() {
    // RoBERTa's ids are ordered by frequency.
    let folder = Folder::new();
    let vocab: std::collections::BTreeMap<String, u32> =
        serde_json::from_str(&folder.text("vocab.json")).unwrap();
    let count = vocab.len() as u32;
    let renumbered: std::collections::BTreeMap<_, _> = vocab
        .iter()
        .map(|(text, id)| (text.clone(), (id * 997 + 13) % count))
        .collect();
    assert!(!count.is_multiple_of(997));
    let folder = folder.without("tokenizer_config.json");
    let tokenizer = folder
        .with("vocab.json", serde_json::to_string(&renumbered).unwrap())
        .open()
        .unwrap();
    assert_eq!(
        tokenizer.decode(&tokenizer.encode(TEXT).unwrap(), Specials::Show),
        TEXT
    );
}

#[test]
fn a_vocabulary_that_lacks_a_byte_is_an_error() {
    let folder = Folder::new();
    let swapped = folder
        .text("vocab.json")
        .replacen("\"\\u00ff\"", "\"Q Q Q\"", 1)
        .replacen("\"ÿ\"", "\"Q Q Q\"", 1);
    let listed = r#"{"unk_token": "Q Q Q"}"#;
    let error = folder
        .with("vocab.json", swapped)
        .with("special_tokens_map.json", listed)
        .error();
    assert!(
        matches!(error, TextError::MissingByte { byte: 255, .. }),
        "{error}"
    );
}
