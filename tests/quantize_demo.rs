//! The fp16 demo model, quantised by this program: how near it stays to itself on dialogues that it was not calibrated with.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use moss::{
    Checkpoint, LoadOptions, Moss, PromptBuilder, SystemText, Tokenizer,
    kernels::GptqBits,
    model::LanguageModel,
    quantize::{
        Agreement, Container, Method, QuantizeOptions, Sample, Windows, agreement, built_in_samples, quantize,
    },
    text::SavedTurn,
};
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn builder() -> PromptBuilder {
    let tokenizer = Tokenizer::from_folder(repository("examples/demo/moss-demo")).unwrap();
    PromptBuilder::new(tokenizer, SystemText::Published, None).unwrap()
}

/// Every tenth held-out dialogue: sixty.
fn held_out(builder: &PromptBuilder) -> Vec<Sample> {
    let lines = std::fs::read_to_string(repository("examples/demo/corpus/held_out.jsonl")).unwrap();
    let sample = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let mut turns: Vec<SavedTurn> = serde_json::from_value(line["before"].clone()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        turns.push(SavedTurn { user: text(&line["user"]), moss: text(&line["answers"][0]), ids: vec![] });
        Sample::dialogue(turns, builder).unwrap()
    };
    lines.lines().step_by(10).map(sample).collect()
}

fn load(folder: &Path) -> Moss {
    let checkpoint = Checkpoint::open(folder).unwrap();
    Moss::load(&checkpoint, &LoadOptions::cpu(2048), &mut |_| {}).unwrap()
}

fn quantised(method: Method, held_out: &[Sample]) -> Agreement {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("int4");
    let options = QuantizeOptions {
        bits: GptqBits::Four,
        group_size: Some(128),
        method,
        container: Container::Torch,
        max_shard_bytes: u64::MAX,
    };
    let source = repository("examples/demo/moss-demo");
    quantize(&source, &target, &options, &|| false, &mut |_| {}).unwrap();
    let (mut reference, mut other) = (load(&source), load(&target));
    let windows = Windows::of(reference.config().context_length);
    agreement(&mut reference, &mut other, held_out, windows, &|| false).unwrap()
}

#[test]
fn gptq_is_nearer_to_fp16_than_rounding_to_the_nearest() {
    let builder = builder();
    let held_out = held_out(&builder);
    let samples: Vec<Sample> = built_in_samples(&builder).unwrap().into_iter().step_by(4).collect();
    let nearest = quantised(Method::Nearest, &held_out);
    println!("nearest {nearest:?}");
    for act_order in [false, true] {
        let gptq =
            quantised(Method::Gptq { samples: samples.clone(), act_order, dampening: 0.01 }, &held_out);
        println!("act_order {act_order} {gptq:?} ratio {}", gptq.mean_kl / nearest.mean_kl);
        assert!(gptq.mean_kl <= 0.9 * nearest.mean_kl, "{gptq:?} against {nearest:?}");
    }
}
