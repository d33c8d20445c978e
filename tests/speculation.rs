//! Speculative decoding with real networks: the replies are those of plain decoding, in every
//! format, alone and in a batch, greedy and sampled.

#[cfg(feature = "candle")]
use moss::Backend;
use moss::{
    Builder, Engine, EngineOptions, Outcome, Request, SamplingParams, StopRules,
    engine::Speculation::{self, Auto, Drafts, Off},
};
use moss_testing::fixture;

/// A question that the demo answers, and a text that it is led to repeat.
const PROMPTS: [&str; 4] = [
    "推荐五部科幻电影",
    "What is 3 + 4?",
    "😀 你好 😀 你好 😀 你好",
    "a b c d, a b c d, a b c d, a b",
];

fn engine(builder: &dyn Fn() -> Builder, speculation: Speculation, sequences: usize) -> Engine {
    let options = EngineOptions {
        max_sequences: sequences,
        cache_tokens: Some(2048),
        ..EngineOptions::default()
    };
    let builder = builder().engine_options(options).speculation(speculation);
    builder.engine().unwrap()
}

fn settings() -> [SamplingParams; 4] {
    let chat = SamplingParams {
        seed: Some(5),
        ..SamplingParams::CHAT
    };
    [
        SamplingParams::greedy(),
        SamplingParams {
            repetition_penalty: 1.1,
            ..SamplingParams::greedy()
        },
        chat.clone(),
        SamplingParams {
            temperature: 1.3,
            top_k: Some(200),
            top_p: 1.0,
            repetition_penalty: 1.0,
            ..chat
        },
    ]
}

/// Returns the replies to all prompts with all settings, submitted together.
fn replies(engine: &Engine, prompts: &[Vec<u32>], new: usize) -> Vec<Outcome> {
    let requests = prompts.iter().flat_map(|prompt| {
        let request = |params| Request {
            stop: StopRules {
                max_new_tokens: Some(new),
                ..StopRules::default()
            },
            ..Request::new(prompt.clone(), params)
        };
        settings().map(request)
    });
    let runs: Vec<_> = requests
        .map(|request| engine.submit(request).unwrap())
        .collect();
    runs.into_iter().map(|run| run.wait().unwrap()).collect()
}

fn check(name: &str, builder: &dyn Fn() -> Builder, prompts: &[Vec<u32>], new: usize) {
    let shown = |outcome: &Outcome| {
        (
            outcome.ids.clone(),
            outcome.text.clone(),
            outcome.cause.clone(),
        )
    };
    let plain = replies(&engine(builder, Off, 1), prompts, new);
    let expected: Vec<_> = plain.iter().map(shown).collect();
    let mut accepted = 0;
    for (speculation, sequences) in [(Auto, 1), (Drafts(7), 1), (Drafts(3), 2), (Drafts(1), 4)] {
        let found = replies(&engine(builder, speculation, sequences), prompts, new);
        accepted += found.iter().map(|o| o.usage.accepted_tokens).sum::<usize>();
        let found: Vec<_> = found.iter().map(shown).collect();
        assert!(
            found == expected,
            "{name}, {speculation:?}, {sequences} sequences"
        );
    }
    assert!(accepted > 0, "{name}");
}

#[test]
fn the_demo_replies_as_without_drafts() {
    for model in ["moss-demo", "moss-demo-int4"] {
        let builder = || Builder::folder(moss_testing::demo(model));
        let tokenizer = builder().find().unwrap().tokenizer().unwrap();
        let encode = |text: &str| tokenizer.encode(text).unwrap();
        let prompts = PROMPTS.map(|text| encode(&format!("<|Human|>: {text}<eoh>\n<|MOSS|>:")));
        check(model, &builder, &prompts, 60);
    }
}

#[test]
fn every_format_replies_as_without_drafts() {
    let prompt = |seed: u32| (0..24).map(|i| (i % 6 * 7 + seed) % 90).collect();
    let prompts: Vec<Vec<u32>> = (0..2).map(prompt).collect();
    for model in [
        "tiny-fp16-safetensors",
        "mini-fp16-safetensors",
        "mini-int8",
        "mini-int8-act-order",
        "mini-int4-act-order",
        "tiny-int4",
    ] {
        check(model, &|| Builder::folder(fixture(model)), &prompts, 40);
    }
}

#[test]
#[cfg(feature = "candle")]
fn the_reference_replies_with_drafts() {
    let builder = || Builder::folder(moss_testing::demo("moss-demo-int4")).backend(Backend::Candle);
    let engine = engine(&builder, Drafts(7), 1);
    let outcome = replies(&engine, &[(0..24).map(|i| i % 6).collect()], 20);
    assert!(
        outcome
            .iter()
            .any(|outcome| outcome.usage.accepted_tokens > 0)
    );
}
