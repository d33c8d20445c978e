//! Key files.

use moss_messages::Message;

use super::{ApiKeys, KeyFault, check_key, check_name};

/// An invalid line of a key file. It contains no text of the line, which may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub struct KeyFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// The fault of it.
    pub fault: KeyFault,
}

impl ApiKeys {
    /// Adds the keys of a file. Each line is `NAME KEY` or `KEY`. Empty lines, and those that begin
    /// with `#`, are ignored. After an error, no key of the file has been added.
    ///
    /// # Errors
    /// [`KeyFileError`] for the first invalid line.
    pub fn add_file(&mut self, text: &str) -> Result<(), KeyFileError> {
        let mut all = self.clone();
        // The line of each key after those of `self`.
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let added = all.add_line(text, |key| {
                key.checked_sub(self.len())
                    .and_then(|key| lines.get(key))
                    .copied()
            });
            match added {
                Ok(true) => lines.push(line),
                Ok(false) => {}
                Err(fault) => return Err(KeyFileError { line, fault }),
            }
        }
        *self = all;
        Ok(())
    }

    /// Adds the key of a line. Returns false if the line has none. `line_of` returns the line of a
    /// key by its index, if it is in the same file.
    fn add_line(
        &mut self,
        text: &str,
        line_of: impl Fn(usize) -> Option<usize>,
    ) -> Result<bool, KeyFault> {
        if text.trim_start().starts_with('#') {
            return Ok(false);
        }
        let words: Vec<_> = text.split_whitespace().collect();
        let (name, key) = match words[..] {
            [] => return Ok(false),
            [key] => (None, key),
            [name, key] => (Some(name), key),
            _ => return Err(KeyFault::Words { found: words.len() }),
        };
        name.map_or(Ok(()), check_name)?;
        check_key(key)?;
        if let Some(index) = name.and_then(|name| self.position_of_name(name)) {
            let repeated = line_of(index).map(|first| KeyFault::RepeatedName { first });
            return Err(repeated.unwrap_or(KeyFault::KnownName));
        }
        if let Some(index) = self.position_of_key(key) {
            let repeated = line_of(index).map(|first| KeyFault::RepeatedKey { first });
            return Err(repeated.unwrap_or(KeyFault::KnownKey));
        }
        self.push(name, key);
        Ok(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use moss_messages::Language;

    use super::*;

    fn read(text: &str) -> Result<ApiKeys, (usize, KeyFault)> {
        let mut keys = ApiKeys::default();
        match keys.add_file(text) {
            Ok(()) => Ok(keys),
            Err(KeyFileError { line, fault }) => Err((line, fault)),
        }
    }

    #[test]
    fn lines_are_a_key_or_a_name_and_a_key() {
        let text = "# keys\n\nalice  one\n \t two \r\n小红\u{3000}three\n  # bob four\n";
        let mut expected = ApiKeys::default();
        expected.add_named("alice", "one").unwrap();
        expected.add("two").unwrap();
        expected.add_named("小红", "three").unwrap();
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read(""), Ok(ApiKeys::default()));
    }

    #[test]
    fn an_error_names_the_line_and_the_fault() {
        let cases = [
            ("a b c", (1, KeyFault::Words { found: 3 })),
            ("a b # c", (1, KeyFault::Words { found: 4 })),
            ("\na 密钥", (2, KeyFault::KeyCharacters)),
            ("a\u{1b} b", (1, KeyFault::NameCharacters)),
            ("# x\na k\n\na l", (4, KeyFault::RepeatedName { first: 2 })),
            ("a k\nb k", (2, KeyFault::RepeatedKey { first: 1 })),
            ("k\n\nk", (3, KeyFault::RepeatedKey { first: 1 })),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_second_file_may_repeat_nothing_and_an_invalid_one_adds_nothing() {
        let mut keys = read("one\nalice two").unwrap();
        let before = keys.clone();
        for (text, line, fault) in [
            ("bob one", 1, KeyFault::KnownKey),
            ("three\nalice four", 2, KeyFault::KnownName),
            ("three\nthree", 2, KeyFault::RepeatedKey { first: 1 }),
        ] {
            assert_eq!(keys.add_file(text), Err(KeyFileError { line, fault }));
            assert_eq!(keys, before);
        }
        keys.add_file("bob three").unwrap();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn no_message_contains_text_of_the_line() {
        let secret = "s3cret";
        let long = secret.repeat(200);
        for text in [
            format!("{secret} {secret} {secret}"),
            format!("{long} alice"),
            format!("alice {long}"),
            format!("alice {secret}\u{1b}"),
            format!("{secret}\u{1b} alice"),
            format!("{secret} a\n{secret} b"),
            format!("a {secret}\nb {secret}"),
        ] {
            let error = ApiKeys::default().add_file(&text).unwrap_err();
            let shown = Language::ALL.map(|language| language.text(&error)).concat();
            assert!(!format!("{shown}{error:?}").contains(secret), "{shown}");
        }
    }
}
