//! Blocks of the prefix cache that are moved to another engine.

use std::{sync::mpsc::channel, time::Duration};

use moss_engine::{Engine, EngineOptions, Outcome};
use moss_testing::model::{Fault, ScriptedModel};

use crate::support::{StartEngine, expected, greedy, mix, options};

const BLOCK: usize = 16;

fn engine() -> std::sync::Arc<Engine> {
    ScriptedModel::new(97, 256, mix).start(options(), None)
}

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|id| id * 7 % 97).collect()
}

fn run(engine: &Engine, prompt: &[u32]) -> Outcome {
    engine.submit(greedy(prompt, 3)).unwrap().wait().unwrap()
}

/// Reads the full blocks of a prompt, after `engine` has computed it.
fn computed(engine: &Engine, prompt: &[u32]) -> Vec<Vec<u8>> {
    run(engine, prompt);
    let blocks = engine.prefix_blocks().unwrap();
    let ends = (BLOCK..=prompt.len()).step_by(BLOCK);
    ends.map(|end| blocks.read(&prompt[..end]).unwrap().unwrap())
        .collect()
}

#[test]
fn blocks_of_another_engine_are_reused_and_give_the_same_tokens() {
    let prompt = prompt(50);
    let stored = computed(&engine(), &prompt);
    assert_eq!(stored.len(), 3);
    let other = engine();
    let blocks = other.prefix_blocks().unwrap();
    for (index, bytes) in stored.into_iter().enumerate() {
        assert_eq!(bytes.len(), blocks.format().bytes);
        assert!(blocks.write(&prompt[..(index + 1) * BLOCK], bytes).unwrap());
    }
    let outcome = run(&other, &prompt);
    assert_eq!(outcome.usage.reused_tokens, 48);
    assert_eq!(outcome.ids, expected(&prompt, 3));
}

#[test]
fn the_bytes_that_were_written_are_those_that_are_used() {
    // The second block of another prompt gives the tokens of that prompt.
    let (prompt, wrong) = (prompt(40), vec![5; 40]);
    let (stored, wrong) = (computed(&engine(), &prompt), computed(&engine(), &wrong));
    let other = engine();
    let blocks = other.prefix_blocks().unwrap();
    assert!(blocks.write(&prompt[..16], stored[0].clone()).unwrap());
    assert!(blocks.write(&prompt[..32], wrong[1].clone()).unwrap());
    let mixed = [&prompt[..16], &[5; 16], &prompt[32..]].concat();
    assert_eq!(run(&other, &prompt).ids, expected(&mixed, 3));
}

#[test]
fn a_block_needs_the_blocks_before_it() {
    let prompt = prompt(40);
    let stored = computed(&engine(), &prompt);
    let other = engine();
    let blocks = other.prefix_blocks().unwrap();
    assert!(!blocks.write(&prompt[..32], stored[1].clone()).unwrap());
    assert_eq!(blocks.read(&prompt[..16]).unwrap(), None);
    assert!(!blocks.write(&[], stored[0].clone()).unwrap());
    assert_eq!(blocks.read(&[]).unwrap(), None);
    assert_eq!(run(&other, &prompt).usage.reused_tokens, 0);
}

#[test]
fn a_block_of_another_size_is_an_error_and_adds_nothing() {
    let (prompt, engine) = (prompt(40), engine());
    let blocks = engine.prefix_blocks().unwrap();
    assert!(blocks.write(&prompt[..16], vec![0; 3]).is_err());
    let outcome = run(&engine, &prompt);
    assert_eq!(
        (outcome.usage.reused_tokens, outcome.ids),
        (0, expected(&prompt, 3))
    );
}

#[test]
fn a_full_cache_takes_no_block_and_loses_none() {
    let prompt = prompt(300);
    // Two blocks; the running request needs both.
    let small = || ScriptedModel::new(97, 2 * BLOCK, mix).start(options(), None);
    let stored = computed(&small(), &prompt[..20]);
    let engine = small();
    let blocks = engine.prefix_blocks().unwrap();
    for end in [16, 32, 48] {
        assert_eq!(
            blocks.write(&prompt[..end], stored[0].clone()).unwrap(),
            end < 48
        );
    }
    assert_eq!(run(&engine, &[1; 25]).ids, expected(&[1; 25], 3));
}

#[test]
fn the_wait_for_a_prefix_ends_when_it_has_been_computed() {
    let (prompt, engine) = (prompt(40), engine());
    let blocks = engine.prefix_blocks().unwrap();
    let (sender, calls) = channel();
    let wait = |count: u32| {
        let sender = sender.clone();
        let then = move || sender.send(count).unwrap();
        blocks.when_computed(&prompt, then).unwrap();
    };
    wait(1);
    run(&engine, &[3; 20]);
    assert!(calls.try_recv().is_err());
    run(&engine, &prompt);
    assert_eq!(
        calls.try_recv(),
        Ok(1),
        "before the last event of the request"
    );
    wait(2);
    assert_eq!(calls.recv(), Ok(2));
}

#[test]
fn generated_blocks_are_not_read() {
    let (prompt, engine) = (prompt(10), engine());
    let answer = engine.submit(greedy(&prompt, 30)).unwrap().wait().unwrap();
    let all = [&prompt[..], &answer.ids].concat();
    let blocks = engine.prefix_blocks().unwrap();
    assert_eq!(blocks.read(&all[..16]).unwrap(), None);
    assert_eq!(
        run(&engine, &all).usage.reused_tokens / BLOCK,
        2,
        "they are cached"
    );
}

#[test]
fn a_stalled_engine_ends_readers() {
    let (model, prompt) = (ScriptedModel::new(97, 256, mix), prompt(40));
    model.faults.after(0, Fault::Hangs);
    let stall_time = Some(Duration::from_millis(40));
    let stalls = EngineOptions {
        stall_time,
        ..options()
    };
    let engine = model.start(stalls, None);
    let blocks = engine.prefix_blocks().unwrap();
    assert!(engine.submit(greedy(&prompt, 3)).unwrap().wait().is_err());
    assert!(blocks.read(&prompt[..16]).unwrap_err().is_fatal());
}

#[test]
fn a_stopped_engine_ends_readers_and_waits() {
    let (model, prompt) = (ScriptedModel::new(97, 256, mix), prompt(40));
    model.faults.after(0, Fault::Panic);
    let engine = model.start(EngineOptions::default(), None);
    let blocks = engine.prefix_blocks().unwrap();
    let (sender, calls) = channel();
    blocks
        .when_computed(&prompt, move || sender.send(()).unwrap())
        .unwrap();
    assert!(engine.submit(greedy(&prompt, 3)).unwrap().wait().is_err());
    assert!(blocks.read(&prompt[..16]).unwrap_err().is_fatal());
    assert!(
        blocks
            .write(&prompt[..16], Vec::new())
            .unwrap_err()
            .is_fatal()
    );
    drop(engine);
    assert!(calls.recv().is_err(), "the function is dropped");
    assert!(blocks.read(&prompt[..16]).is_err());
}
