//! The order in which the pipeline runs micro-batches and collects their results.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::*;
use crate::{
    DeviceSpec, LogitRows, TokenKind,
    micro_batch::tests::{part, parts, wanted, with_plan},
    stage::Stage,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Run(usize),
    Logits(usize),
}

/// A stage whose head, as a GPU's, has one buffer: a decode step fills it as the layers run, and
/// other micro-batches when their logits are collected. The logit of a token is its id.
#[derive(Debug, Default)]
struct Recorded {
    calls: Arc<Mutex<Vec<Call>>>,
    head: Vec<f32>,
}

fn is_step(batch: &MicroBatch<'_, '_>) -> bool {
    batch.kind == TokenKind::Generated && batch.index == 0
}

impl Recorded {
    fn run_head(&mut self, batch: &MicroBatch<'_, '_>) {
        let wanted = batch.wanted.iter();
        let ids = wanted.map(|row| batch.token_ids()[*row as usize] as f32);
        self.head = ids.collect();
    }
}

impl Stage for Recorded {
    fn layers(&self) -> Range<usize> {
        0..1
    }

    fn weight_bytes(&self) -> u64 {
        0
    }

    fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        Ok(1.0)
    }

    fn run(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        _: StageInput<'_>,
        _: &mut RunContext<'_, '_, '_>,
    ) -> Result<(), ModelError> {
        self.calls.lock().unwrap().push(Call::Run(batch.index));
        if is_step(batch) {
            self.run_head(batch);
        }
        Ok(())
    }

    fn output(&mut self, _: usize, _: bool) -> Result<StageInput<'_>, ModelError> {
        let x = Tensor::new(&[0f32], &Device::Cpu).unwrap();
        Ok(StageInput::Host(x))
    }

    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        _: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        self.calls.lock().unwrap().push(Call::Logits(batch.index));
        if batch.wanted.is_empty() {
            return Ok(());
        }
        if !is_step(batch) {
            self.run_head(batch);
        }
        output.extend(batch.wanted.len(), self.head.clone());
        Ok(())
    }

    fn keeps_results(&self, batch: &MicroBatch<'_, '_>, _: &Hook<'_, '_>) -> bool {
        is_step(batch)
    }
}

/// Runs a plan over two stages. Returns the logits, and the calls of the last stage.
fn run(plan: &Plan<'_>) -> (Vec<Logits>, Vec<Call>) {
    let last = Recorded::default();
    let calls = last.calls.clone();
    let stages: Vec<PlacedStage> = vec![
        (DeviceSpec::Cpu, Box::new(Recorded::default())),
        (DeviceSpec::Cpu, Box::new(last)),
    ];
    let mut pipeline = Pipeline {
        stages,
        vocab_size: 1,
        clock: None,
    };
    let logits = pipeline.forward(plan, &|| false, &mut Hook(None)).unwrap();
    let calls = calls.lock().unwrap().clone();
    (logits, calls)
}

#[test]
fn a_prompt_is_enqueued_before_the_results_of_the_step_before_it_are_collected() {
    use {Call::Logits as Collected, Call::Run as Enqueued};
    let step = part(TokenKind::Generated, 1, LogitRows::Last);
    let calls = |logits| {
        let prompt = part(TokenKind::Prompt, 600, logits);
        with_plan(&[prompt, step], |plan| run(plan).1)
    };
    assert_eq!(
        calls(LogitRows::Last),
        [
            Enqueued(0),
            Enqueued(1),
            Collected(1),
            Enqueued(2),
            Collected(0),
            Collected(2)
        ]
    );
    assert_eq!(
        calls(LogitRows::None),
        [
            Enqueued(0),
            Enqueued(1),
            Collected(1),
            Enqueued(2),
            Collected(2),
            Collected(0)
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_chunk_gets_its_own_logits(parts in parts()) {
        with_plan(&parts, |plan| {
            let (found, _) = run(plan);
            prop_assert_eq!(found.len(), parts.len());
            for (sequence, (part, found)) in parts.iter().zip(found).enumerate() {
                let expected = wanted(sequence, part);
                let expected: Vec<_> = expected.iter().map(|id| *id as f32).collect();
                prop_assert_eq!(found.values(), expected);
            }
            Ok(())
        })?;
    }
}
