//! Device-side top-k: the same candidates as [`TopKRequest::select`], with bit-identical scores.

use std::cell::RefCell;

use moss_cuda::DeviceTopK;
use moss_sampling::{TopKCandidates, TopKRequest};
use moss_weights::{KernelError, Rule, synthetic::noise};

use super::{
    harness::{Case, Prepared},
    tolerance::Tolerance,
};

const SAMPLED: TopKRequest<'static> = TopKRequest {
    history: &[],
    repetition_penalty: 1.02,
    temperature: 0.7,
    top_k: 40,
    allowed: usize::MAX,
};

pub(super) fn cases() -> Vec<Case> {
    let greedy = TopKRequest {
        temperature: 0.0,
        top_k: 1,
        ..SAMPLED
    };
    let most = TopKRequest {
        top_k: 400,
        temperature: 1.0,
        repetition_penalty: 1.3,
        allowed: 107_008 - 700,
        ..SAMPLED
    };
    let plain = TopKRequest {
        repetition_penalty: 1.0,
        ..SAMPLED
    };
    let mut cases = Vec::new();
    for vocab in [107_008, 131_072, 320, 1025, 41] {
        let ten = TopKRequest {
            top_k: 10,
            ..SAMPLED
        };
        for request in [SAMPLED, greedy, ten] {
            cases.push(select(vocab, vec![request], "of noise", |_| {}));
        }
        let what = "of noise without penalty";
        cases.push(select(vocab, vec![plain], what, |_| {}));
    }
    cases.push(select(
        107_008,
        vec![SAMPLED, greedy, most],
        "of noise",
        |_| {},
    ));
    cases.push(select(107_008, vec![most; 2], "that tie", |row| {
        row.iter_mut()
            .for_each(|value| *value = (*value * 64.0).round() / 64.0);
    }));
    cases.push(select(2048, vec![SAMPLED], "that are all equal", |row| {
        row.fill(0.5)
    }));
    cases.push(select(
        1024,
        vec![SAMPLED, greedy],
        "of which most are -inf",
        |row| {
            row[40..].fill(f32::NEG_INFINITY);
        },
    ));
    cases.push(select(107_008, vec![SAMPLED], "with one NaN", |row| {
        row[70_000] = f32::NAN
    }));
    cases.push(select(
        107_008,
        vec![SAMPLED, SAMPLED],
        "with infinity",
        |row| row[3] = f32::INFINITY,
    ));
    cases
}

/// One row of logits for each request, modified by `change`.
fn select(
    vocab: usize,
    requests: Vec<TopKRequest<'static>>,
    what: &str,
    change: fn(&mut [f32]),
) -> Case {
    let top_k: Vec<_> = requests
        .iter()
        .map(|request| request.top_k.to_string())
        .collect();
    let shape = format!("{vocab} logits {what}, the best {}", top_k.join(", "));
    Case::new("top_k", shape, Tolerance::NONE, move |harness| {
        let rows = requests.len();
        let mut logits = noise(rows * vocab, 6.0, 71);
        logits.chunks_exact_mut(vocab).for_each(change);
        // Some ids twice, some without a logit.
        let history: Vec<u32> = (0..600)
            .map(|i| i * 7919 % (vocab as u32 + 50))
            .chain([3, 3])
            .collect();
        let requests = requests.clone();
        let expected = requests.iter().zip(logits.chunks_exact(vocab));
        let expected = expected
            .flat_map(|(request, row)| listed(with_history(request, &history).select(row)))
            .collect();
        let none = KernelError::Argument {
            op: "top_k",
            arg: "vocab",
            found: vocab,
            rule: Rule::Fewer,
        };
        let gpu = harness.gpu;
        let top_k = DeviceTopK::new(gpu, rows, vocab, history.len())?.ok_or(none)?;
        let (top_k, logits) = (RefCell::new(top_k), gpu.upload(&logits)?);
        let run = move || {
            let mut top_k = top_k.borrow_mut();
            let requests = requests
                .iter()
                .map(|request| Some(with_history(request, &history)));
            top_k.stage(&requests.collect::<Vec<_>>())?;
            gpu.batched_memcpy(&top_k.upload(rows)?)?;
            gpu.top_k(logits.all(), rows, &top_k)?;
            gpu.batched_memcpy(&[top_k.download(rows)?])?;
            let rows = (0..rows).map(|row| Ok(listed(top_k.candidates(row)?)));
            Ok(rows.collect::<Result<Vec<_>, KernelError>>()?.concat())
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

fn with_history<'a>(request: &TopKRequest<'static>, history: &'a [u32]) -> TopKRequest<'a> {
    TopKRequest {
        history,
        ..*request
    }
}

/// Returns the candidates as numbers that compare: how many, then ids and scores by ascending id;
/// -1 for a row that is needed whole.
fn listed(candidates: Option<TopKCandidates>) -> Vec<f32> {
    let mut list = vec![
        candidates
            .as_ref()
            .map_or(-1.0, |TopKCandidates(kept)| kept.len() as f32),
    ];
    let mut kept = candidates.map_or_else(Vec::new, |TopKCandidates(kept)| kept);
    kept.sort_unstable_by_key(|(id, _)| *id);
    list.extend(kept.into_iter().flat_map(|(id, score)| [id as f32, score]));
    list.resize(1 + 2 * TopKRequest::MAX_CANDIDATES, 0.0);
    list
}
