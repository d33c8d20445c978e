//! Files as Windows and Unix programs write them.
#![allow(clippy::unwrap_used)]

use moss_unicode::{DecodeError, decode, decode_start, decode_text};

fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(encode).collect()
}

#[test]
fn a_utf8_byte_order_mark_is_skipped_once() {
    for text in ["", "stop\n", "你好\r\n", "\u{feff}second"] {
        let marked = format!("\u{feff}{text}");
        assert_eq!(decode(marked.as_bytes()), Ok(text));
        assert_eq!(decode_start(marked.as_bytes()), Ok(text.as_bytes()));
        assert_eq!(
            decode(text.trim_start_matches('\u{feff}').as_bytes()),
            Ok(text.trim_start_matches('\u{feff}'))
        );
    }
    assert_eq!(
        decode_text("\u{feff}a\r\nb\rc\n".as_bytes()).unwrap(),
        "a\nb\rc\n"
    );
}

#[test]
fn utf16_and_utf32_are_named_with_and_without_a_mark() {
    for text in [
        "{\"vocab_size\": 7}",
        "sk-1\r\n",
        "一, 二 and 三 in a prompt",
        "你好\n",
    ] {
        for (encoding, encode) in [
            ("UTF-16LE", u16::to_le_bytes as fn(u16) -> [u8; 2]),
            ("UTF-16BE", u16::to_be_bytes),
        ] {
            let error = Err(DecodeError::Wide { encoding });
            assert_eq!(
                decode(&utf16(&format!("\u{feff}{text}"), encode)),
                error,
                "{text}"
            );
            assert_eq!(decode(&utf16(text, encode)), error, "{text}");
        }
        let utf32: Vec<u8> = "\u{feff}"
            .chars()
            .chain(text.chars())
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        assert_eq!(
            decode(&utf32),
            Err(DecodeError::Wide {
                encoding: "UTF-32LE"
            })
        );
    }
}

#[test]
fn other_encodings_are_named_by_offset_line_and_byte() {
    assert_eq!(
        decode(b"\xef\xbb\xbfhi\n\xc4\xe3"),
        Err(DecodeError::NotUtf8 {
            offset: 6,
            line: 2,
            byte: 0xc4
        })
    );
    let error = decode(b"\xff").unwrap_err();
    for language in moss_messages::Language::ALL {
        assert!(
            moss_messages::hint(language, &error)
                .unwrap()
                .contains("iconv")
        );
    }
}

#[test]
fn utf8_with_a_few_nul_bytes_is_still_utf8() {
    for text in [
        "\0",
        "a\0",
        "\0\u{1b}[2J",
        "a\0b\0 and then a long line of text without any",
        "\0\0\0\0",
    ] {
        assert_eq!(decode(text.as_bytes()), Ok(text), "{text:?}");
    }
}
