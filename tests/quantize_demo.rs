//! The fp16 demo model after quantization keeps its answers, and stays close to the original on
//! dialogues outside the calibration data.

use std::path::Path;

use moss::{
    Builder, Checkpoint, LoadOptions, Moss, PromptBuilder, Request, SamplingParams, StopRules,
    SystemText, Tokenizer,
    checkpoint::WeightStorage,
    model::LanguageModel,
    quantize::{
        Agreement, Container, DeviceSpec, Method, QuantizeOptions, Sample, Windows, agreement,
        built_in_samples, quantize,
    },
    text::SavedTurn,
    weights::GptqBits,
};
use moss_testing::{demo, repository};
use serde_json::Value;

fn lines(name: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(repository("examples/demo/corpus").join(name)).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn builder() -> PromptBuilder {
    let tokenizer = Tokenizer::from_folder(demo("moss-demo")).unwrap();
    PromptBuilder::new(tokenizer, SystemText::Published, None).unwrap()
}

/// The 606 held-out dialogues: 13 755 tokens of replies.
fn held_out(builder: &PromptBuilder) -> Vec<Sample> {
    let sample = |line: Value| {
        let turns: Vec<SavedTurn> = serde_json::from_value(line["turns"].clone()).unwrap();
        Sample::dialogue(turns, builder).unwrap()
    };
    lines("held_out.jsonl").into_iter().map(sample).collect()
}

fn quantise(target: &Path, bits: GptqBits, method: Method) {
    let options = QuantizeOptions {
        bits,
        group_size: Some(128),
        method,
        device: DeviceSpec::Cpu,
        container: Container::Torch,
        max_shard_bytes: u64::MAX,
        storage: WeightStorage::Mapped,
        replace: false,
    };
    quantize(&demo("moss-demo"), target, &options, &|| false, &mut |_| {}).unwrap();
}

fn gptq(builder: &PromptBuilder, act_order: bool) -> Method {
    Method::Gptq {
        samples: built_in_samples(builder).unwrap(),
        act_order,
        dampening: 0.01,
    }
}

fn load(folder: &Path) -> Moss {
    let checkpoint = Checkpoint::open(folder).unwrap();
    Moss::load(&checkpoint, &LoadOptions::cpu(2048), &mut |_| {}).unwrap()
}

#[test]
fn gptq_is_nearer_to_fp16_than_rounding_to_the_nearest() {
    let (builder, folder) = (builder(), tempfile::tempdir().unwrap());
    let held_out = held_out(&builder);
    let measured = |name: &str, method| -> Agreement {
        let target = folder.path().join(name);
        quantise(&target, GptqBits::Four, method);
        let (mut reference, mut other) = (load(&demo("moss-demo")), load(&target));
        let windows = Windows::of(reference.config().context_length);
        agreement(&mut reference, &mut other, &held_out, windows, &|| false).unwrap()
    };
    let nearest = measured("nearest", Method::Nearest);
    let in_order = measured("gptq", gptq(&builder, false));
    let act_order = measured("act-order", gptq(&builder, true));
    // The limit. `moss-cli quantize`, with nine tenths of these texts, in order and by
    // act-order: 0.39 and 0.61 of 2.6e-4 nats on a CPU, 0.72 and 0.40 on an H100. The demo model
    // was trained to tolerate rounding to the nearest.
    for found in [in_order, act_order] {
        assert!(
            found.mean_kl <= 0.9 * nearest.mean_kl,
            "{found:?} against {nearest:?}"
        );
        assert!(found.top_1 >= 0.999, "{found:?}");
    }
}

/// Greedy answers to the first question of every 100th dialogue of the corpus, which the fp16 model
/// reproduces exactly.
#[test]
fn the_quantised_demo_keeps_its_answers() {
    let (builder, folder) = (builder(), tempfile::tempdir().unwrap());
    let eom = builder.tokenizer().special().unwrap().eom;
    let dialogues: Vec<Value> = ["arithmetic.jsonl", "en.jsonl", "facts.jsonl", "zh.jsonl"]
        .into_iter()
        .flat_map(lines)
        .collect();
    for (name, bits) in [("int4", GptqBits::Four), ("int8", GptqBits::Eight)] {
        let target = folder.path().join(name);
        quantise(&target, bits, gptq(&builder, false));
        let engine = Builder::folder(&target).engine().unwrap();
        let mut runs = Vec::new();
        for dialogue in dialogues.iter().step_by(100) {
            let turn = &dialogue["turns"][0];
            let prompt = builder.prompt(&[], turn["user"].as_str().unwrap()).unwrap();
            let sampling = SamplingParams {
                repetition_penalty: 1.02,
                ..SamplingParams::greedy()
            };
            let stop = StopRules {
                stop_ids: vec![eom],
                max_new_tokens: Some(200),
                ..StopRules::default()
            };
            let request = Request {
                stop,
                ..Request::new(prompt, sampling)
            };
            runs.push((turn, engine.submit(request).unwrap()));
        }
        assert_eq!(runs.len(), 32);
        for (turn, run) in runs {
            assert_eq!(
                run.wait().unwrap().text.trim(),
                turn["moss"].as_str().unwrap(),
                "{name}: {turn}"
            );
        }
    }
}
