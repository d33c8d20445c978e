//! Counters by the owner of an API key.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

/// The most owners that are counted on their own. Owners come from key files, which can be reloaded
/// with other names any number of times.
const MOST_OWNERS: usize = 1024;
/// The owner of all further counts. Names of keys do not begin with `#`.
const OTHERS: &str = "#others";

/// Counters by owner.
#[derive(Debug, Default)]
pub(crate) struct OwnerMetrics(Mutex<BTreeMap<Arc<str>, Arc<OwnerCounts>>>);

/// The counters of one owner.
#[derive(Debug, Default)]
pub(crate) struct OwnerCounts {
    pub(crate) requests: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) cached_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
}

impl OwnerMetrics {
    /// Returns the counters of an owner. Those of requests without a key, whose owner is empty, are
    /// not shown.
    pub(crate) fn of(&self, owner: &Arc<str>) -> Arc<OwnerCounts> {
        if owner.is_empty() {
            return Arc::default();
        }
        let mut all = self.lock();
        if let Some(counts) = all.get(owner) {
            return counts.clone();
        }
        let is_full = all.len() >= MOST_OWNERS;
        let owner = if is_full {
            OTHERS.into()
        } else {
            owner.clone()
        };
        all.entry(owner).or_default().clone()
    }

    /// Returns all owners in the order of their names.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Arc<OwnerCounts>)> {
        let all = self.lock();
        all.iter()
            .map(|(owner, counts)| (owner.clone(), counts.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<OwnerCounts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for OwnerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Count = fn(&OwnerCounts) -> &AtomicU64;
        let counters: [(&str, &str, Count); 4] = [
            ("key_requests", "Requests of a key", |of| &of.requests),
            ("key_prompt_tokens", "Tokens of a key's prompts", |of| {
                &of.prompt_tokens
            }),
            (
                "key_cached_tokens",
                "Tokens of a key's prompts found in the cache",
                |of| &of.cached_tokens,
            ),
            ("key_generated_tokens", "Tokens generated for a key", |of| {
                &of.generated_tokens
            }),
        ];
        let owners = self.all();
        for (name, help, count) in counters {
            if owners.is_empty() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (owner, counts) in &owners {
                let value = count(counts).load(Relaxed);
                let labels = [("key", &**owner)];
                let mut metric = metric.encode_family(&labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_owners_is_bounded_and_no_count_is_lost() {
        let metrics = OwnerMetrics::default();
        for _ in 0..2 {
            for index in 0..MOST_OWNERS + 5 {
                let counts = metrics.of(&Arc::from(format!("owner{index}")));
                counts.requests.fetch_add(1, Relaxed);
            }
        }
        metrics.of(&Arc::from("")).requests.fetch_add(1, Relaxed);
        let all = metrics.all();
        let requests = |name: &str| {
            let (_, counts) = all.iter().find(|(owner, _)| **owner == *name)?;
            Some(counts.requests.load(Relaxed))
        };
        assert_eq!(all.len(), MOST_OWNERS + 1);
        assert_eq!((requests("owner0"), requests(OTHERS)), (Some(2), Some(10)));
    }
}
