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
    stage::{NonFinite, Stage},
    stored_blocks::StoredBlocks,
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
    /// A block of the cache.
    block: Vec<u8>,
    /// Micro-batch, layer and row of a non-finite value.
    report: Option<[usize; 3]>,
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

impl StoredBlocks for Recorded {
    fn code(&self) -> String {
        "recorded".to_owned()
    }

    fn block_bytes(&self) -> usize {
        self.block.len()
    }

    fn read_block(&mut self, _: usize, out: &mut Vec<u8>) -> Result<(), ModelError> {
        out.extend_from_slice(&self.block);
        Ok(())
    }

    fn write_block(&mut self, _: usize, bytes: &[u8]) -> Result<(), ModelError> {
        self.block = bytes.to_vec();
        Ok(())
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

    fn non_finite(&self) -> Result<Option<NonFinite>, ModelError> {
        Ok(self.report.map(|[batch, layer, row]| NonFinite {
            batch,
            layer,
            row,
            value: f32::NAN,
        }))
    }

    fn keeps_results(&self, batch: &MicroBatch<'_, '_>, _: &Hook<'_, '_>) -> bool {
        is_step(batch)
    }
}

/// Runs a plan over two stages.
fn forward(plan: &Plan<'_>, stages: [Recorded; 2]) -> Result<Vec<Logits>, ModelError> {
    let stages = stages.map(|stage| -> PlacedStage { (DeviceSpec::Cpu, Box::new(stage)) });
    let mut pipeline = Pipeline {
        stages: stages.into(),
        vocab_size: 1,
        clock: None,
    };
    pipeline.forward(plan, &|| false, &mut Hook(None))
}

/// Runs a plan over two stages. Returns the logits, and the calls of the last stage.
fn run(plan: &Plan<'_>) -> (Vec<Logits>, Vec<Call>) {
    let last = Recorded::default();
    let calls = last.calls.clone();
    let logits = forward(plan, [Recorded::default(), last]).unwrap();
    let calls = calls.lock().unwrap().clone();
    (logits, calls)
}

#[test]
fn the_first_report_of_a_token_is_the_error_and_one_of_a_padding_row_is_none() {
    const HEAD: usize = 1; // the layer after the last
    let parts = [
        part(TokenKind::Prompt, 4, LogitRows::Last),
        part(TokenKind::Generated, 3, LogitRows::All),
    ];
    // Micro-batch 0 has the three generated tokens, micro-batch 1 the prompt, of which lm_head
    // computes the last token.
    let error = |reports: [Option<[usize; 3]>; 2]| {
        let stages = reports.map(|report| Recorded {
            report,
            ..Recorded::default()
        });
        match with_plan(&parts, |plan| forward(plan, stages).map(drop)) {
            Ok(()) => None,
            Err(ModelError::NonFinite {
                layer,
                sequence,
                position,
                ..
            }) => Some((layer, sequence, position)),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(error([None, None]), None);
    assert_eq!(error([Some([0, 0, 2]), None]), Some((0, 1, 5)));
    assert_eq!(error([Some([0, 0, 3]), None]), None);
    assert_eq!(error([None, Some([0, HEAD, 3])]), None);
    assert_eq!(error([None, Some([1, HEAD, 0])]), Some((HEAD, 0, 6)));
    assert_eq!(error([None, Some([1, HEAD, 1])]), None);
    // Padding does not hide a value that another stage reports.
    let of_token = Some([1, 0, 2]);
    assert_eq!(error([Some([0, 0, 3]), of_token]), Some((0, 0, 5)));
    assert_eq!(error([of_token, Some([0, 0, 3])]), Some((0, 0, 5)));
    assert_eq!(error([of_token, Some([0, 0, 1])]), Some((0, 1, 4)));
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
