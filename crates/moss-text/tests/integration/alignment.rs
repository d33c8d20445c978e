//! Every byte of a text belongs to one token, also where text is held back, skipped or truncated.

use moss_testing::fixture;
use moss_text::{Piece, ReplyText, SegmentKind, Specials, TextMode, TokenText, Tokenizer};
use proptest::prelude::*;

fn tokenizer() -> Tokenizer {
    Tokenizer::from_folder(fixture("tokenizer")).unwrap()
}

/// Returns the pieces of text of `ids`, up to the first stop string.
fn pieces(ids: &[u32], mode: TextMode, stop: &[String], align: bool) -> (Vec<Piece>, String) {
    let mut text = ReplyText::new(tokenizer(), mode, stop, align);
    let mut pieces = Vec::new();
    for id in ids {
        let (piece, found) = text.push(*id);
        pieces.push(piece);
        if found.is_some() {
            break;
        }
    }
    pieces.extend(text.finish());
    assert_eq!(text.finish(), None);
    (pieces, text.into_raw())
}

fn check(pieces: &[Piece], expected: &str) {
    let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    assert_eq!(whole, expected);
    for Piece { text, tokens, .. } in pieces {
        let joined: String = tokens.iter().map(|token| token.text.as_str()).collect();
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|token| token.bytes.clone())
            .collect();
        assert_eq!((&joined, bytes.as_slice()), (text, text.as_bytes()));
        assert!(tokens.iter().all(|token| !token.bytes.is_empty()));
    }
    let order: Vec<usize> = pieces
        .iter()
        .flat_map(|piece| piece.tokens.iter().map(|token| token.index))
        .collect();
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
}

#[test]
fn a_character_of_several_tokens_is_text_of_the_last_and_bytes_of_each() {
    let ids = tokenizer().encode("😀a").unwrap();
    assert!(ids.len() > 2, "the emoji is one token");
    let (pieces, _) = pieces(&ids, TextMode::Raw, &[], true);
    check(&pieces, "😀a");
    let tokens: Vec<&TokenText> = pieces.iter().flat_map(|piece| &piece.tokens).collect();
    assert_eq!(tokens.len(), ids.len());
    let texts: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(texts[ids.len() - 2..], ["😀", "a"]);
}

#[test]
fn a_truncated_token_has_its_remaining_text_and_one_without_text_is_left_out() {
    let ids = tokenizer().encode(" the the<eom>").unwrap();
    let mode = TextMode::Answer { continues: false };
    let (cut, raw) = pieces(&ids, mode, &["he".into()], true);
    check(&cut, "t");
    assert_eq!(raw, " t");
    let (whole, _) = pieces(&ids, mode, &[], true);
    check(&whole, "the the");
    let (continued, _) = pieces(&ids, TextMode::Answer { continues: true }, &[], true);
    check(&continued, " the the");
}

#[test]
fn text_that_is_held_back_comes_out_with_its_tokens() {
    let ids = tokenizer().encode("a <|Hum!").unwrap();
    let (pieces, _) = pieces(&ids, TextMode::Raw, &["<|Human|>".into()], true);
    check(&pieces, "a <|Hum!");
    let indices = pieces.iter().flat_map(|piece| &piece.tokens);
    assert!(indices.map(|token| token.index).eq(0..ids.len()));
}

#[test]
fn parts_have_their_own_tokens() {
    let text = "<|Inner Thoughts|>: 想<eot>\n<|Commands|>: None<eoc>\n<|MOSS|>: 好😀<eom>";
    let ids = tokenizer().encode(text).unwrap();
    let mode = TextMode::Plugin {
        first: SegmentKind::Thoughts,
        continues: false,
    };
    let (pieces, _) = pieces(&ids, mode, &[], true);
    check(&pieces, " 想 None好😀");
    for (kind, expected) in [
        (SegmentKind::Thoughts, " 想"),
        (SegmentKind::Commands, " None"),
        (SegmentKind::Answer, "好😀"),
    ] {
        let own = pieces.iter().filter(|piece| piece.kind == kind);
        assert_eq!(
            own.map(|piece| piece.text.as_str()).collect::<String>(),
            expected
        );
    }
}

proptest! {
    #[test]
    fn text_and_bytes_of_the_tokens_are_the_text_whatever_is_held_back(
        ids in prop::collection::vec(0u32..1512, 0..40),
        stop in prop::collection::vec("[a-z ]{1,3}", 0..2),
        continues: bool,
    ) {
        let tokenizer = tokenizer();
        let whole = tokenizer.decode(&ids, Specials::Skip);
        let first = stop.iter().filter_map(|string| whole.find(string.as_str())).min();
        let raw = &whole[..first.unwrap_or(whole.len())];
        let answer = if continues { raw } else { raw.trim_start() };
        for (mode, expected) in [(TextMode::Raw, raw), (TextMode::Answer { continues }, answer)] {
            for align in [false, true] {
                let (pieces, found) = pieces(&ids, mode, &stop, align);
                prop_assert_eq!(&found, raw);
                if align {
                    check(&pieces, expected);
                } else {
                    let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
                    prop_assert_eq!(text, expected);
                }
            }
        }
    }
}
