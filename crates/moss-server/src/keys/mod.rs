//! API keys and the names of their owners.

mod file;
mod store;

use std::sync::Arc;

use moss_messages::Message;
use moss_unicode::{Context, escape};

pub use self::file::KeyFileError;
pub(crate) use self::store::KeyStore;

/// API keys, with or without the names of their owners. No two have the same key or name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiKeys {
    keys: Vec<ApiKey>,
}

#[derive(Clone, PartialEq, Eq)]
struct ApiKey {
    name: Option<Arc<str>>,
    key: Box<str>,
}

/// Why a key or its name is not accepted. It contains no text of either: in a line whose words are
/// in the wrong order, the key is in the place of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum KeyFault {
    /// More words than a name and a key.
    Words {
        /// The number of words.
        found: usize,
    },
    /// A name above the maximum length, or without characters.
    NameLength {
        /// Its characters.
        found: usize,
        /// The maximum.
        most: usize,
    },
    /// A name that begins with `#`, or contains white space or characters that a log would escape.
    NameCharacters,
    /// A key above the maximum length, or without characters.
    KeyLength {
        /// Its bytes.
        found: usize,
        /// The maximum.
        most: usize,
    },
    /// A key with characters other than visible ASCII, which many HTTP clients cannot send.
    KeyCharacters,
    /// A name that an earlier line of the file has.
    RepeatedName {
        /// That line.
        first: usize,
    },
    /// A key that an earlier line of the file has.
    RepeatedKey {
        /// That line.
        first: usize,
    },
    /// A name that is known from elsewhere, such as another file.
    KnownName,
    /// A key that is known from elsewhere, such as another file.
    KnownKey,
}

impl ApiKeys {
    /// The most characters of a name. Most generated keys are longer, so a file whose lines have
    /// the key first is rejected.
    pub const NAME_CHARS: usize = 32;
    /// The most bytes of a key.
    pub const KEY_BYTES: usize = 1024;

    /// Adds a key without a name. A key that is known already changes nothing.
    ///
    /// # Errors
    /// [`KeyFault::KeyLength`], [`KeyFault::KeyCharacters`].
    pub fn add(&mut self, key: &str) -> Result<(), KeyFault> {
        check_key(key)?;
        if self.position_of_key(key).is_none() {
            self.push(None, key);
        }
        Ok(())
    }

    /// Adds a key with the name of its owner.
    ///
    /// # Errors
    /// [`KeyFault`], except for the faults of lines.
    pub fn add_named(&mut self, name: &str, key: &str) -> Result<(), KeyFault> {
        check_name(name)?;
        check_key(key)?;
        if self.position_of_name(name).is_some() {
            return Err(KeyFault::KnownName);
        }
        if self.position_of_key(key).is_some() {
            return Err(KeyFault::KnownKey);
        }
        self.push(Some(name), key);
        Ok(())
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns true if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn push(&mut self, name: Option<&str>, key: &str) {
        let (name, key) = (name.map(Arc::from), key.into());
        self.keys.push(ApiKey { name, key });
    }

    fn position_of_name(&self, name: &str) -> Option<usize> {
        let has_name = |key: &ApiKey| key.name.as_deref() == Some(name);
        self.keys.iter().position(has_name)
    }

    fn position_of_key(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|known| *known.key == *key)
    }
}

/// Prints the names only.
impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.keys.iter().map(|key| key.name.as_deref());
        f.debug_list().entries(names).finish()
    }
}

fn check_name(name: &str) -> Result<(), KeyFault> {
    let (found, most) = (name.chars().count(), ApiKeys::NAME_CHARS);
    if !(1..=most).contains(&found) {
        return Err(KeyFault::NameLength { found, most });
    }
    // `#1` is the owner of a key without a name.
    let is_plain = !name.starts_with('#') && !name.contains(char::is_whitespace);
    if !is_plain || escape(name, Context::Line) != name {
        return Err(KeyFault::NameCharacters);
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), KeyFault> {
    let (found, most) = (key.len(), ApiKeys::KEY_BYTES);
    if !(1..=most).contains(&found) {
        return Err(KeyFault::KeyLength { found, most });
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyFault::KeyCharacters);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_have_their_limits() {
        let most = ApiKeys::NAME_CHARS;
        for name in ["alice", "小红", "a\"b\\c", &"名".repeat(most)] {
            assert_eq!(ApiKeys::default().add_named(name, "key"), Ok(()), "{name}");
        }
        for name in ["#1", "a b", "a\u{3000}b", "a\u{1b}b", "a\u{202e}b"] {
            let found = ApiKeys::default().add_named(name, "key");
            assert_eq!(found, Err(KeyFault::NameCharacters), "{name:?}");
        }
        for found in [0, most + 1] {
            let name = "n".repeat(found);
            let fault = KeyFault::NameLength { found, most };
            assert_eq!(ApiKeys::default().add_named(&name, "key"), Err(fault));
        }
        for key in ["a b", "密钥", "a\u{7f}"] {
            let found = ApiKeys::default().add(key);
            assert_eq!(found, Err(KeyFault::KeyCharacters), "{key:?}");
        }
        let most = ApiKeys::KEY_BYTES;
        assert_eq!(ApiKeys::default().add(&"k".repeat(most)), Ok(()));
        for found in [0, most + 1] {
            let fault = KeyFault::KeyLength { found, most };
            assert_eq!(ApiKeys::default().add(&"k".repeat(found)), Err(fault));
        }
    }

    #[test]
    fn a_key_without_a_name_is_kept_once_and_a_named_one_must_be_new() {
        let mut keys = ApiKeys::default();
        keys.add_named("alice", "one").unwrap();
        keys.add("one").unwrap();
        keys.add("two").unwrap();
        keys.add("two").unwrap();
        assert_eq!(keys.len(), 2);
        let repeated = [("alice", "three"), ("bob", "two")]
            .map(|(name, key)| keys.clone().add_named(name, key).unwrap_err());
        assert_eq!(repeated, [KeyFault::KnownName, KeyFault::KnownKey]);
    }

    #[test]
    fn keys_are_not_printed() {
        let mut keys = ApiKeys::default();
        keys.add_named("alice", "secret").unwrap();
        keys.add("secret-too").unwrap();
        assert_eq!(format!("{keys:?}"), r#"[Some("alice"), None]"#);
    }
}
