//! Waiting work: one queue per owner, served in turn.
//!
//! An owner with many requests delays its own, not those of other owners. Each turn takes the oldest
//! item of one owner; work that was preempted goes to the head of its owner's queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The work of one owner. It exists while some is waiting or running.
#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    running: usize,
    /// The owner is part of [`FairQueue::turns`].
    has_turn: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: 0,
            has_turn: false,
        }
    }
}

/// Waiting items, by owner, and the number of running ones of each. Its size is bounded by the
/// callers: each item is a request that was accepted.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    /// Owners with waiting items that may run, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    max_per_owner: usize,
    len: usize,
}

impl<T> FairQueue<T> {
    /// Creates a queue that lets each owner run `max_per_owner` items at the same time, at least
    /// one; `None` for no limit.
    pub(crate) fn new(max_per_owner: Option<usize>) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            max_per_owner: max_per_owner.unwrap_or(usize::MAX).max(1),
            len: 0,
        }
    }

    /// Returns the number of waiting items.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a new item behind the others of its owner.
    pub(crate) fn push(&mut self, owner: &Arc<str>, item: T) {
        self.lane(owner).waiting.push_back(item);
        self.len += 1;
        self.update_turn(owner);
    }

    /// Returns a running item to the head of its owner's queue.
    pub(crate) fn push_preempted(&mut self, owner: &Arc<str>, item: T) {
        self.lane(owner).waiting.push_front(item);
        self.len += 1;
        self.end(owner);
    }

    /// Returns the item that runs next. `None` if nothing is waiting, or only owners with their
    /// maximum of running items have waiting ones.
    pub(crate) fn peek(&self) -> Option<&T> {
        let lane = self.lanes.get(self.turns.front()?)?;
        lane.waiting.front()
    }

    /// Removes the item of [`FairQueue::peek`], which is running from now on. The next turn is that
    /// of the next owner.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&owner)?;
        lane.has_turn = false;
        let item = lane.waiting.pop_front()?;
        lane.running += 1;
        self.len -= 1;
        self.update_turn(&owner);
        Some(item)
    }

    /// Counts the end of a running item.
    pub(crate) fn end(&mut self, owner: &Arc<str>) {
        let lane = self.lane(owner);
        lane.running = lane.running.saturating_sub(1);
        self.update_turn(owner);
    }

    /// Removes all items that meet `condition`, wherever they are.
    pub(crate) fn extract(&mut self, condition: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        let mut owners = Vec::new();
        for (owner, lane) in &mut self.lanes {
            if lane.waiting.iter().any(&condition) {
                let (met, kept): (Vec<_>, Vec<_>) =
                    lane.waiting.drain(..).partition(|item| condition(item));
                lane.waiting = VecDeque::from(kept);
                removed.extend(met);
                owners.push(owner.clone());
            }
        }
        self.len -= removed.len();
        for owner in owners {
            self.update_turn(&owner);
        }
        removed
    }

    fn lane(&mut self, owner: &Arc<str>) -> &mut Lane<T> {
        self.lanes.entry(owner.clone()).or_default()
    }

    /// Adds an owner to the end of the turns if it may run an item, and removes it if not. Removes
    /// the lane of an owner without items.
    fn update_turn(&mut self, owner: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(owner) else {
            return;
        };
        let may_run = !lane.waiting.is_empty() && lane.running < self.max_per_owner;
        if may_run && !lane.has_turn {
            self.turns.push_back(owner.clone());
        } else if !may_run && lane.has_turn {
            self.turns.retain(|other| other != owner);
        }
        lane.has_turn = may_run;
        if lane.waiting.is_empty() && lane.running == 0 {
            self.lanes.remove(owner);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
