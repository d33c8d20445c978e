//! A small network on the CPU: concurrent requests, with cache hits, drafts, preemptions and
//! cancellations, equal each request alone.

use std::sync::Arc;

use moss_engine::{
    Engine, EngineOptions, Event, Request,
    Speculation::{self, Auto, Drafts, Off},
    StopCause,
};
use moss_model::{KvCacheType, LoadOptions, Moss, MossConfig, RandomWeights, WeightFormat};
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

fn start(positions: usize, kv_cache: KvCacheType, options: EngineOptions) -> Engine {
    let source = RandomWeights::new(tiny(), WeightFormat::F16);
    let load = LoadOptions {
        kv_cache,
        ..LoadOptions::cpu(positions)
    };
    let model = Moss::load(&source, &load, &mut |_| {}).unwrap();
    let options = EngineOptions {
        queue_limit: 256,
        prefill_chunk: Some(24),
        threads: Some(2),
        ..options
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
        top_k: [None, Some(40)][index / 4 % 2],
        seed: Some(index as u64),
        ..SamplingParams::CHAT
    };
    let mut request = Request::new(prompt, sampling);
    request.stop.max_new_tokens = Some([0, 1, 30, 80, 160][index % 5]);
    request
}

/// Each request, and its reply alone: of an owner without other requests.
fn alone(kv_cache: KvCacheType) -> Vec<(Request, Vec<u32>)> {
    let one = EngineOptions {
        max_sequences: 1,
        deterministic: true,
        speculation: Off,
        ..EngineOptions::default()
    };
    let engine = start(512, kv_cache, one);
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

/// Sends all requests at the same time, of two owners, and cancels some of them.
fn compare(engine: &Engine, expected: &[(Request, Vec<u32>)]) {
    let runs = expected.iter().enumerate().map(|(index, (alone, _))| {
        let request = Request {
            prompt: alone.prompt.clone(),
            owner: Arc::from(["a", "b"][index % 2]),
            ..request(index, &[])
        };
        engine.submit(request).unwrap()
    });
    let runs: Vec<_> = runs.collect();
    for (index, (run, (_, reply))) in runs.into_iter().zip(expected).enumerate() {
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
            assert_eq!(outcome.ids, reply[..outcome.ids.len()], "{index}");
        } else {
            assert_eq!(&outcome.ids, reply, "{index}");
        }
    }
}

fn check(kv_cache: KvCacheType, cases: &[(bool, usize, Speculation)]) {
    let expected = alone(kv_cache);
    for &(deterministic, max_sequences, speculation) in cases {
        let options = EngineOptions {
            max_sequences,
            deterministic,
            speculation,
            ..EngineOptions::default()
        };
        // 40 or 32 blocks, of up to 20 for each request.
        let positions = if max_sequences > 4 { 640 } else { 512 };
        let engine = start(positions, kv_cache, options);
        compare(&engine, &expected);
        let metrics = engine.metrics();
        assert!(
            metrics.preemptions > 0 && metrics.reused_tokens > 0,
            "{metrics:?}"
        );
        assert!(metrics.reused_requests < 128, "some requests miss");
        if speculation != Auto {
            assert!(metrics.accepted_tokens > 0, "{metrics:?}");
        }
    }
}

#[test]
fn mixed_requests_equal_each_request_alone() {
    let cases = [
        (true, 24, Auto),
        (false, 24, Auto),
        (true, 4, Drafts(7)),
        (false, 4, Drafts(1)),
    ];
    check(KvCacheType::Native, &cases);
}

#[test]
fn mixed_requests_equal_each_request_alone_with_an_8_bit_cache() {
    check(
        KvCacheType::Int8,
        &[(true, 24, Auto), (false, 4, Drafts(7))],
    );
}
