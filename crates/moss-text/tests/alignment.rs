//! Every byte of a text belongs to one token, however the text is held back, skipped and cut.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use moss_text::{AlignedToken, Specials, TextStream, TokenAlignment, Tokenizer};
use proptest::prelude::*;

fn tokenizer() -> Tokenizer {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenizer");
    Tokenizer::from_folder(folder).unwrap()
}

fn check(parts: &[(String, Vec<AlignedToken<usize>>)], expected: &str) {
    let whole: String = parts.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(whole, expected);
    for (text, tokens) in parts {
        let told: String = tokens.iter().map(|token| token.text.as_str()).collect();
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|token| token.bytes.clone())
            .collect();
        assert_eq!((&told, bytes.as_slice()), (text, text.as_bytes()));
    }
    let order: Vec<usize> = parts
        .iter()
        .flat_map(|(_, tokens)| tokens.iter().map(|token| token.value))
        .collect();
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
}

#[test]
fn a_character_over_several_tokens_is_told_by_the_last_and_its_bytes_by_each() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("😀a").unwrap();
    assert!(ids.len() > 2, "the emoji is one token");
    let mut alignment = TokenAlignment::new(tokenizer);
    for (index, id) in ids.iter().enumerate() {
        alignment.push(*id, index);
    }
    alignment.release("😀a");
    let (text, tokens) = alignment.complete();
    assert_eq!((text.as_str(), tokens.len()), ("😀a", ids.len()));
    let texts: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(texts[ids.len() - 2..], ["😀", "a"]);
    assert!(tokens.iter().all(|token| !token.bytes.is_empty()));
}

#[test]
fn a_token_that_is_cut_tells_what_is_left_of_it_and_one_without_text_nothing() {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let mut alignment = TokenAlignment::new(tokenizer.clone());
    let ids = tokenizer.encode(" the the").unwrap();
    for (index, id) in ids.iter().chain([&special.eom]).enumerate() {
        alignment.push(*id, index);
    }
    alignment.skip(1);
    alignment.release("the t");
    let parts = [alignment.complete(), alignment.finish()];
    check(&parts, "the t");
    assert!(alignment.finish().1.is_empty());
}

proptest! {
    #[test]
    fn text_and_bytes_of_the_tokens_are_the_text_whatever_is_held_back(
        ids in prop::collection::vec(0u32..1512, 0..40),
        holds in prop::collection::vec(0usize..6, 40),
        lead in 0usize..6,
        cut in 0usize..200,
    ) {
        let tokenizer = tokenizer();
        let mut stream = TextStream::new(tokenizer.clone(), Specials::Skip);
        let mut alignment = TokenAlignment::new(tokenizer.clone());
        let (mut held, mut parts, mut left, mut skipped) = (String::new(), Vec::new(), cut, String::new());
        let whole = tokenizer.decode(&ids, Specials::Skip);
        let mut release = |alignment: &mut TokenAlignment<usize>, text: String| {
            // The first characters are skipped, those past the cut never come.
            for character in text.chars() {
                if skipped.chars().count() < lead {
                    skipped.push(character);
                    alignment.skip(character.len_utf8());
                } else if left > 0 {
                    left -= 1;
                    alignment.release(&character.to_string());
                }
            }
        };
        for (index, id) in ids.iter().enumerate() {
            alignment.push(*id, index);
            held.push_str(&stream.push(*id));
            let count = held.chars().count().saturating_sub(holds[index]);
            let at = held.char_indices().nth(count).map_or(held.len(), |(at, _)| at);
            let rest = held.split_off(at);
            release(&mut alignment, std::mem::replace(&mut held, rest));
            parts.push(alignment.complete());
        }
        held.push_str(&stream.finish());
        release(&mut alignment, held);
        parts.push(alignment.complete());
        parts.push(alignment.finish());
        let expected: String = whole.chars().skip(lead).take(cut).collect();
        check(&parts, &expected);
    }
}
