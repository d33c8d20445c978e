//! A small network on the CPU: concurrent requests, with cache hits, preemptions and cancellations,
//! equal each request alone.

use std::sync::Arc;

use moss_engine::{Engine, EngineOptions, Event, Request, StopCause};
use moss_model::{LoadOptions, Moss, MossConfig, RandomWeights, WeightFormat};
use moss_sampling::SamplingParams;

use crate::support::tokenizer;

/// A network that runs in microseconds.
fn tiny() -> MossConfig {
    MossConfig {
        vocab_size: 1536,
        hidden_size: 64,
        inner_size: 128,
        num_layers: 2,
        num_heads: 4,
        head_dim: 16,
        rotary_dim: 8,
        context_length: 512,
        eos_token_id: None,
        ..MossConfig::moon_003()
    }
}

fn start(positions: usize, max_sequences: usize, deterministic: bool) -> Engine {
    let source = RandomWeights::new(tiny(), WeightFormat::F16);
    let model = Moss::load(&source, &LoadOptions::cpu(positions), &mut |_| {}).unwrap();
    let options = EngineOptions {
        max_sequences,
        deterministic,
        queue_limit: 256,
        prefill_chunk: Some(24),
        threads: Some(2),
        ..EngineOptions::default()
    };
    Engine::start(Box::new(model), Some(tokenizer()), options).unwrap()
}

const SYSTEMS: [&str; 3] = [
    "你是一个有帮助的助手。请用中文回答，语气友好，内容准确，不要编造事实。",
    "You are a helpful assistant 🤖. Answer briefly, politely, and in the language of the user.",
    "👩‍👩‍👧😀🎉",
];

/// Request `index`: one of a few instructions, a message, and settings that differ.
fn request(index: usize, past: &[u32]) -> Request {
    let text = format!(
        "{}第 {index} 个问题：why {}？😀",
        SYSTEMS[index % 3],
        "很".repeat(index % 7)
    );
    let mut prompt = past.to_vec();
    prompt.extend(tokenizer().encode(&text).unwrap());
    let sampling = SamplingParams {
        temperature: [0.0, 0.7, 1.0, 5.0][index % 4],
        repetition_penalty: [1.0, 1.02][index % 2],
        top_k: None,
        seed: Some(index as u64),
        ..SamplingParams::CHAT
    };
    let mut request = Request::new(prompt, sampling);
    request.stop.max_new_tokens = Some([0, 1, 30, 80, 160][index % 5]);
    request
}

/// Each request, and its reply alone: of an owner without other requests.
fn alone() -> Vec<(Request, Vec<u32>)> {
    let engine = start(512, 1, true);
    let mut all: Vec<(Request, Vec<u32>)> = Vec::new();
    for index in 0..128usize {
        // Half of the requests continue a conversation.
        let past = index.checked_sub(64).map(|earlier| &all[earlier]);
        let past = past.map(|(request, reply)| [&request.prompt[..], reply].concat());
        let past = past.filter(|past| past.len() < 150).unwrap_or_default();
        let owner: Arc<str> = Arc::from(format!("alone {index}"));
        let run = engine
            .submit(Request {
                owner,
                ..request(index, &past)
            })
            .unwrap();
        let outcome = run.wait().unwrap();
        assert_eq!(outcome.usage.reused_tokens, 0);
        all.push((request(index, &past), outcome.ids));
    }
    all
}

#[test]
fn mixed_requests_equal_each_request_alone() {
    let expected = alone();
    for deterministic in [true, false] {
        // 40 blocks, of up to 20 for each request.
        let engine = start(640, 24, deterministic);
        let owner = |index: usize| Arc::from(["a", "b"][index % 2]);
        let runs: Vec<_> = (0..128)
            .map(|index| {
                let past = expected[index].0.prompt.clone();
                let request = Request {
                    prompt: past,
                    owner: owner(index),
                    ..request(index, &[])
                };
                engine.submit(request).unwrap()
            })
            .collect();
        let mut cancelled = 0;
        for (index, (run, (_, reply))) in runs.into_iter().zip(&expected).enumerate() {
            let (cancel, mut outcome, mut tokens) = (run.cancel_handle(), None, 0);
            for event in run {
                match event {
                    Event::Text { id: Some(_), .. } => tokens += 1,
                    Event::Finished(last) => outcome = Some(last),
                    Event::Failed(error) => panic!("{error}"),
                    _ => {}
                }
                if index % 9 == 8 && tokens > index % 13 {
                    cancel.cancel();
                }
            }
            let outcome = outcome.unwrap();
            if outcome.cause == StopCause::Cancelled {
                cancelled += 1;
                assert_eq!(outcome.ids, reply[..outcome.ids.len()], "{index}");
            } else {
                assert_eq!(&outcome.ids, reply, "{index}");
            }
        }
        let metrics = engine.metrics();
        assert!(
            metrics.preemptions > 0 && metrics.reused_tokens > 0,
            "{metrics:?}, {cancelled} cancelled"
        );
        assert!(metrics.reused_requests < 128, "some requests miss");
    }
}
