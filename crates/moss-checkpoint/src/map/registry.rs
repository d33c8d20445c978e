//! The address ranges of mapped weight files. Lookups are lock-free, for use in a signal handler.

use std::{
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use moss_unicode::{Context, escape};

/// The entry of one mapping; free slots are reused. Slots form a list that only grows, and a slot
/// always belongs to the same path, so a reader never sees freed memory. Their number is bounded by
/// the number of paths times the concurrent mappings of a path.
#[derive(Debug)]
struct Slot {
    /// The path, escaped for display.
    file: Vec<u8>,
    /// Odd while a writer changes the range (seqlock).
    version: AtomicUsize,
    /// Addresses `start..end`; empty while no mapping uses the slot.
    start: AtomicUsize,
    end: AtomicUsize,
    next: OnceLock<&'static Slot>,
}

static FIRST: OnceLock<&'static Slot> = OnceLock::new();
/// Held while slots are changed.
static CHANGE: Mutex<()> = Mutex::new(());

/// Keeps a mapping in the registry.
#[derive(Debug)]
pub(super) struct Entry(&'static Slot);

impl Entry {
    /// Registers the addresses of `map`, which must stay mapped until the entry is dropped.
    pub(super) fn new(path: &Path, map: &[u8]) -> Self {
        let file = escape(&path.display().to_string(), Context::Line)
            .into_owned()
            .into_bytes();
        let range = map.as_ptr_range();
        let (start, end) = (range.start as usize, range.end as usize);
        let _guard = CHANGE.lock();
        let (mut link, mut found) = (&FIRST, None);
        while let Some(slot) = link.get() {
            if slot.file == file && slot.end.load(SeqCst) == 0 {
                found = Some(*slot);
            }
            link = &slot.next;
        }
        let slot = found.unwrap_or_else(|| {
            let slot = Slot {
                file,
                version: AtomicUsize::new(0),
                start: AtomicUsize::new(0),
                end: AtomicUsize::new(0),
                next: OnceLock::new(),
            };
            *link.get_or_init(|| &*Box::leak(Box::new(slot)))
        });
        slot.set(start, end);
        Self(slot)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _guard = CHANGE.lock();
        self.0.set(0, 0);
    }
}

impl Slot {
    fn set(&self, start: usize, end: usize) {
        self.version.fetch_add(1, SeqCst);
        self.start.store(start, SeqCst);
        self.end.store(end, SeqCst);
        self.version.fetch_add(1, SeqCst);
    }

    /// Returns `true` if the slot holds this address. A slot that changes meanwhile does not: the
    /// mapping of a fault is in use, so its slot does not change.
    fn holds(&self, address: usize) -> bool {
        let before = self.version.load(SeqCst);
        let held = (self.start.load(SeqCst)..self.end.load(SeqCst)).contains(&address);
        held && before.is_multiple_of(2) && self.version.load(SeqCst) == before
    }
}

/// Returns the path of the weight file that is mapped at this address. Async-signal-safe.
pub(super) fn file_at(address: usize) -> Option<&'static Vec<u8>> {
    let mut link = &FIRST;
    while let Some(slot) = link.get() {
        if slot.holds(address) {
            return Some(&slot.file);
        }
        link = &slot.next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(address: *const u8) -> Option<String> {
        file_at(address as usize).map(|file| String::from_utf8_lossy(file).into_owned())
    }

    #[test]
    fn addresses_are_found_while_their_entry_lives_and_slots_are_used_again() {
        let (a, b) = (vec![0u8; 64], vec![0u8; 64]);
        let first = Entry::new(Path::new("dir/a\u{1b}.bin"), &a);
        let second = Entry::new(Path::new("b"), &b);
        let third = Entry::new(Path::new("b"), &a[..0]);
        assert_eq!(found(a.as_ptr()).as_deref(), Some("dir/a\\u{1b}.bin"));
        assert_eq!(found(&b[63]).as_deref(), Some("b"));
        assert_eq!(
            found(a.as_ptr().wrapping_add(64)).filter(|name| name != "b"),
            None
        );
        let slot: *const Slot = second.0;
        drop((second, third));
        assert_eq!(found(b.as_ptr()), None);
        let again = [
            Entry::new(Path::new("b"), &b),
            Entry::new(Path::new("b"), &b),
        ];
        assert!(
            again.iter().any(|entry| std::ptr::eq(entry.0, slot)),
            "the list does not grow for a path"
        );
        drop((first, again));
        assert_eq!((found(a.as_ptr()), found(b.as_ptr())), (None, None));
    }
}
