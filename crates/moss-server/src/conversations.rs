//! Conversations of the published API by name.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use moss_text::Turn;

use crate::Limits;

/// Conversations by name.
pub(crate) struct Conversations {
    kept: Mutex<HashMap<String, Kept>>,
    limit: usize,
    time: Duration,
}

struct Kept {
    conversation: Conversation,
    used: Instant,
}

#[derive(Clone, Default)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<Turn>,
    /// The visible answer of each turn.
    pub(crate) shown: Vec<String>,
}

impl Conversations {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            kept: Mutex::default(),
            limit: limits.conversations,
            time: limits.conversation_time,
        }
    }

    /// Returns a copy, so that two requests can continue one conversation at the same time. The
    /// later result is kept.
    pub(crate) fn find(&self, uid: &str) -> Option<Conversation> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.used.elapsed() < self.time);
        kept.get(uid).map(|kept| kept.conversation.clone())
    }

    /// Stores a conversation. It replaces its older version or, if the store is full, the least
    /// recently used one.
    pub(crate) fn keep(&self, uid: String, conversation: Conversation) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.used.elapsed() < self.time);
        if kept.len() >= self.limit && !kept.contains_key(&uid) {
            let oldest = kept
                .iter()
                .min_by_key(|(_, kept)| kept.used)
                .map(|(uid, _)| uid.clone());
            oldest.and_then(|uid| kept.remove(&uid));
        }
        kept.insert(
            uid,
            Kept {
                conversation,
                used: Instant::now(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_bounded_and_evicts_the_least_recently_used() {
        let limits = Limits {
            conversations: 2,
            ..Limits::default()
        };
        let store = Conversations::new(&limits);
        for uid in ["a", "b", "a", "c"] {
            store.keep(uid.into(), Conversation::default());
        }
        assert!(
            store.find("a").is_some() && store.find("c").is_some() && store.find("b").is_none()
        );
        let none = Limits {
            conversation_time: Duration::ZERO,
            ..Limits::default()
        };
        let store = Conversations::new(&none);
        store.keep("a".into(), Conversation::default());
        assert!(store.find("a").is_none());
    }
}
