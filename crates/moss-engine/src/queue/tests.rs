use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn owner(name: impl ToString) -> Arc<str> {
    Arc::from(name.to_string())
}

fn filled(max_per_owner: Option<usize>, items: &[(&str, u32)]) -> FairQueue<u32> {
    let mut queue = FairQueue::new(max_per_owner);
    for (name, item) in items {
        queue.push(&owner(name), *item);
    }
    queue
}

fn drain(queue: &mut FairQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn owners_take_turns_and_keep_their_order() {
    let items = [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)];
    let mut queue = filled(None, &items);
    assert_eq!((queue.len(), queue.peek()), (6, Some(&1)));
    assert_eq!(drain(&mut queue), [1, 4, 5, 2, 6, 3]);
    assert!(queue.is_empty());
}

#[test]
fn an_owner_with_its_maximum_of_running_items_waits_for_one_to_end() {
    let mut queue = filled(Some(2), &[("a", 1), ("a", 2), ("a", 3), ("b", 4)]);
    assert_eq!(drain(&mut queue), [1, 4, 2]);
    assert_eq!((queue.len(), queue.peek()), (1, None));
    queue.end(&owner("b"));
    assert_eq!(queue.peek(), None);
    queue.end(&owner("a"));
    assert_eq!(drain(&mut queue), [3]);
}

#[test]
fn preempted_work_is_the_next_of_its_owner() {
    let mut queue = filled(Some(1), &[("a", 1), ("a", 2), ("b", 3)]);
    assert_eq!(queue.pop(), Some(1));
    queue.push_preempted(&owner("a"), 1);
    // The turn of the other owner comes first.
    assert_eq!(drain(&mut queue), [3, 1]);
    queue.end(&owner("a"));
    assert_eq!(drain(&mut queue), [2]);
}

#[test]
fn cancelled_items_are_removed_anywhere() {
    let items = [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)];
    let mut queue = filled(None, &items);
    let mut removed = queue.extract(|item| [2, 3].contains(item));
    removed.sort_unstable();
    assert_eq!((removed, queue.len()), (vec![2, 3], 3));
    assert_eq!(drain(&mut queue), [1, 4, 5]);
}

#[test]
fn owners_without_items_are_forgotten() {
    let mut queue = filled(Some(1), &[("a", 1), ("b", 2)]);
    queue.pop();
    queue.extract(|item| *item == 2);
    assert_eq!((queue.lanes.len(), queue.turns.len()), (1, 0));
    queue.end(&owner("a"));
    assert_eq!((queue.lanes.len(), queue.turns.len()), (0, 0));
}

/// A change of the queue.
#[derive(Debug, Clone)]
enum QueueStep {
    Push(usize),
    Pop,
    /// Ends the running item of this rank.
    End(usize),
    Preempt(usize),
    /// Cancels items whose number has this remainder.
    Cancel(u32),
}

fn change() -> impl Strategy<Value = QueueStep> {
    prop_oneof![
        4 => (0usize..5).prop_map(QueueStep::Push),
        4 => Just(QueueStep::Pop),
        2 => (0usize..8).prop_map(QueueStep::End),
        1 => (0usize..8).prop_map(QueueStep::Preempt),
        1 => (0u32..7).prop_map(QueueStep::Cancel),
    ]
}

proptest! {
    /// Compares the queue with one list per owner, and checks that no owner is overtaken twice by
    /// another one while it may run.
    #[test]
    fn any_history_keeps_order_fairness_and_every_item(
        changes in prop::collection::vec(change(), 1..200), max_per_owner in 1usize..4,
    ) {
        let mut queue = FairQueue::new(Some(max_per_owner));
        let mut waiting: Vec<VecDeque<u32>> = vec![VecDeque::new(); 5];
        let mut running: Vec<(usize, u32)> = Vec::new();
        // By pairs: turns of the second owner since the first one last ran or could not run.
        let mut overtaken: HashMap<(usize, usize), usize> = HashMap::new();
        let mut next = 0;
        let name = |number: usize| owner(number);
        for change in changes {
            match change {
                QueueStep::Push(number) => {
                    queue.push(&name(number), next);
                    waiting[number].push_back(next);
                    next += 1;
                }
                QueueStep::Pop => {
                    let peeked = queue.peek().copied();
                    let popped = queue.pop();
                    prop_assert_eq!(peeked, popped);
                    let may_run = |number: usize, running: &[(usize, u32)]| {
                        let count = running.iter().filter(|(other, _)| *other == number).count();
                        !waiting[number].is_empty() && count < max_per_owner
                    };
                    let ready: Vec<_> = (0..5).filter(|number| may_run(*number, &running)).collect();
                    prop_assert_eq!(popped.is_some(), !ready.is_empty());
                    let Some(item) = popped else { continue };
                    let number = (0..5).find(|number| waiting[*number].front() == Some(&item));
                    let number = number.expect("the first item of an owner");
                    prop_assert!(ready.contains(&number));
                    for other in 0..5 {
                        overtaken.remove(&(number, other));
                        if other == number { continue; }
                        let count = overtaken.entry((other, number)).or_default();
                        *count += 1;
                        if !ready.contains(&other) { *count = 0; }
                        prop_assert!(*count <= 1, "{} was overtaken", other);
                    }
                    waiting[number].pop_front();
                    running.push((number, item));
                }
                QueueStep::End(rank) if rank < running.len() => {
                    let (number, _) = running.remove(rank);
                    queue.end(&name(number));
                }
                QueueStep::Preempt(rank) if rank < running.len() => {
                    let (number, item) = running.remove(rank);
                    queue.push_preempted(&name(number), item);
                    waiting[number].push_front(item);
                }
                QueueStep::Cancel(remainder) => {
                    let removed = queue.extract(|item| item % 7 == remainder);
                    let before: usize = waiting.iter().map(VecDeque::len).sum();
                    for items in &mut waiting {
                        items.retain(|item| item % 7 != remainder);
                    }
                    let after: usize = waiting.iter().map(VecDeque::len).sum();
                    prop_assert_eq!(removed.len(), before - after);
                    overtaken.clear();
                }
                QueueStep::End(_) | QueueStep::Preempt(_) => {}
            }
            let left: usize = waiting.iter().map(VecDeque::len).sum();
            prop_assert_eq!((queue.len(), queue.is_empty()), (left, left == 0));
        }
    }
}
