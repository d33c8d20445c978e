//! The keys of a running server.

use std::sync::{Arc, PoisonError, RwLock};

use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{ApiKey, ApiKeys};
use crate::ServerError;

/// Replaceable keys, each with its owner: its name, or `#1`, `#2`, … for keys without one.
pub(crate) struct KeyStore(RwLock<Numbered>);

#[derive(Default)]
struct Numbered {
    keys: Arc<[Owned]>,
    /// The largest number so far. A number is never given to a second key, because two keys with
    /// one owner would share cached prefixes.
    last: usize,
}

struct Owned {
    owner: Arc<str>,
    key: ApiKey,
}

impl KeyStore {
    pub(crate) fn new(keys: &ApiKeys) -> Self {
        Self(RwLock::new(Numbered::default().replaced(keys)))
    }

    /// Replaces all keys. Those that stay keep their owners.
    ///
    /// # Errors
    /// [`ServerError::NoKeys`] if there were keys and none are left, which would admit all clients.
    pub(crate) fn replace(&self, keys: &ApiKeys) -> Result<(), ServerError> {
        let mut stored = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() && !stored.keys.is_empty() {
            return Err(ServerError::NoKeys);
        }
        *stored = stored.replaced(keys);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    /// Returns the owner of a key. Compares with every key completely.
    pub(crate) fn owner(&self, given: &[u8]) -> Option<Arc<str>> {
        let keys = self.current();
        let mut found = u64::MAX;
        for (index, known) in (0..).zip(keys.iter()) {
            let is_equal = known.key.key.as_bytes().ct_eq(given);
            found = u64::conditional_select(&found, &index, is_equal);
        }
        let found = usize::try_from(found).ok()?;
        keys.get(found).map(|known| known.owner.clone())
    }

    fn current(&self) -> Arc<[Owned]> {
        let stored = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stored.keys.clone()
    }
}

impl Numbered {
    fn replaced(&self, keys: &ApiKeys) -> Self {
        let mut last = self.last;
        let owned = |key: &ApiKey| {
            let before = self.keys.iter().find(|known| known.key == *key);
            let owner = match (&key.name, before) {
                (Some(name), _) => name.clone(),
                (None, Some(known)) => known.owner.clone(),
                (None, None) => {
                    last += 1;
                    format!("#{last}").into()
                }
            };
            let key = key.clone();
            Owned { owner, key }
        };
        let keys = keys.keys.iter().map(owned).collect();
        Self { keys, last }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn keys(text: &str) -> ApiKeys {
        let mut keys = ApiKeys::default();
        keys.add_file(text).unwrap();
        keys
    }

    fn owners(store: &KeyStore, given: &[&str]) -> Vec<Option<String>> {
        let owner = |key: &&str| store.owner(key.as_bytes()).map(|owner| owner.to_string());
        given.iter().map(owner).collect()
    }

    #[test]
    fn every_key_has_its_owner_and_parts_of_keys_have_none() {
        let store = KeyStore::new(&keys("first\nalice second\nthird"));
        let found = owners(&store, &["first", "second", "third"]);
        let expected = ["#1", "alice", "#2"].map(|owner| Some(owner.to_owned()));
        assert_eq!(found, expected);
        assert_eq!(owners(&store, &["firs", "second2", ""]), [None, None, None]);
    }

    #[test]
    fn a_number_belongs_to_one_key_for_ever() {
        let store = KeyStore::new(&keys("one\ntwo"));
        store.replace(&keys("three\nalice four\ntwo")).unwrap();
        let found = owners(&store, &["one", "two", "three", "four"]);
        let expected = [None, Some("#2"), Some("#3"), Some("alice")];
        assert_eq!(found, expected.map(|owner| owner.map(str::to_owned)));
    }

    #[test]
    fn the_last_key_cannot_be_removed() {
        let store = KeyStore::new(&keys("one"));
        let refused = store.replace(&ApiKeys::default());
        assert!(matches!(refused, Err(ServerError::NoKeys)));
        assert!(store.owner(b"one").is_some());
        let open = KeyStore::new(&ApiKeys::default());
        open.replace(&ApiKeys::default()).unwrap();
        assert!(open.is_empty());
    }
}
