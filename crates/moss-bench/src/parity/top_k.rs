//! `sample_score` and `sample_cut`: the same candidates as by sorting the whole row, to the last
//! bit of every score.

use std::cell::RefCell;

use moss_cuda::{CutRow, SampleCut};
use moss_weights::{KernelError, synthetic::noise};

use super::harness::{Case, Prepared, Tolerance};

/// Candidates of an answer at most.
const MOST: usize = 508;

#[derive(Debug, Clone, Copy)]
struct Wish {
    repetition_penalty: f32,
    temperature: f32,
    top_k: usize,
    /// Ids beyond the last so many are not candidates.
    withheld: usize,
}

const CHAT: Wish = Wish {
    repetition_penalty: 1.02,
    temperature: 0.7,
    top_k: 40,
    withheld: 0,
};

pub(super) fn cases() -> Vec<Case> {
    let greedy = Wish {
        temperature: 0.0,
        top_k: 1,
        ..CHAT
    };
    let most = Wish {
        top_k: 400,
        temperature: 1.0,
        repetition_penalty: 1.3,
        withheld: 700,
    };
    let plain = Wish {
        repetition_penalty: 1.0,
        ..CHAT
    };
    let mut cases = Vec::new();
    for vocab in [107_008, 131_072, 320, 1025, 41] {
        for wish in [CHAT, greedy, plain, Wish { top_k: 10, ..CHAT }] {
            cases.push(cut(vocab, vec![wish], "of noise", |_| {}));
        }
    }
    cases.push(cut(107_008, vec![CHAT, greedy, most], "of noise", |_| {}));
    cases.push(cut(107_008, vec![most; 2], "that tie", |row| {
        row.iter_mut()
            .for_each(|value| *value = (*value * 64.0).round() / 64.0);
    }));
    cases.push(cut(2048, vec![CHAT], "that are all one", |row| {
        row.fill(0.5)
    }));
    cases.push(cut(
        1024,
        vec![CHAT, greedy],
        "of which most are ruled out",
        |row| {
            row[40..].fill(f32::NEG_INFINITY);
        },
    ));
    cases.push(cut(
        107_008,
        vec![CHAT],
        "with one that is no number",
        |row| row[70_000] = f32::NAN,
    ));
    cases.push(cut(107_008, vec![CHAT, CHAT], "with infinity", |row| {
        row[3] = f32::INFINITY
    }));
    cases
}

/// One row for each wish, changed by `change`.
fn cut(vocab: usize, wishes: Vec<Wish>, what: &str, change: fn(&mut [f32])) -> Case {
    let asked: Vec<_> = wishes.iter().map(|wish| wish.top_k.to_string()).collect();
    let shape = format!("{vocab} logits {what}, the best {}", asked.join(", "));
    Case::new(
        "sample_score, sample_cut",
        shape,
        Tolerance::NONE,
        move |harness| {
            let mut logits = noise(wishes.len() * vocab, 6.0, 71);
            logits.chunks_exact_mut(vocab).for_each(change);
            // Some twice, some without a logit.
            let history: Vec<u32> = (0..600)
                .map(|i| i * 7919 % (vocab as u32 + 50))
                .chain([3, 3])
                .collect();
            let wishes = wishes.clone();
            let expected = wishes.iter().zip(logits.chunks_exact(vocab));
            let expected = expected
                .flat_map(|(wish, row)| listed(by_sorting(*wish, row, &history)))
                .collect();
            let none = KernelError::Argument {
                op: "sample_cut",
                arg: "vocab",
                found: vocab,
                rule: "fewer".into(),
            };
            let sample =
                SampleCut::new(harness.gpu, wishes.len(), vocab, history.len())?.ok_or(none)?;
            let (gpu, sample, on_card) = (
                harness.gpu,
                RefCell::new(sample),
                harness.gpu.upload(&logits)?,
            );
            let run = move || {
                let mut sample = sample.borrow_mut();
                let wish = |wish: &Wish| {
                    Some(CutRow {
                        history: &history,
                        repetition_penalty: wish.repetition_penalty,
                        temperature: wish.temperature,
                        top_k: wish.top_k,
                        allowed: vocab.saturating_sub(wish.withheld),
                    })
                };
                sample.put(&wishes.iter().map(wish).collect::<Vec<_>>())?;
                gpu.copy_runs(&sample.wishes(wishes.len())?)?;
                gpu.sample_cut(on_card.all(), wishes.len(), &sample)?;
                gpu.copy_runs(&[sample.answers(wishes.len())?])?;
                let rows = (0..wishes.len()).map(|row| Ok(listed(sample.candidates(row)?)));
                Ok(rows.collect::<Result<Vec<_>, KernelError>>()?.concat())
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

/// The candidates by the plain definition, as in moss-sampling's `CutParams::candidates`; `None`
/// where the whole row is needed.
fn by_sorting(wish: Wish, row: &[f32], history: &[u32]) -> Option<Vec<(u32, f32)>> {
    let mut scores = row[..row.len().saturating_sub(wish.withheld)].to_vec();
    if scores
        .iter()
        .any(|score| score.is_nan() || *score == f32::INFINITY)
    {
        return None;
    }
    for (id, score) in (0..).zip(&mut scores) {
        if wish.repetition_penalty != 1.0 && history.contains(&id) {
            *score = if *score < 0.0 {
                *score * wish.repetition_penalty
            } else {
                *score / wish.repetition_penalty
            };
        }
        if wish.temperature != 0.0 {
            *score /= wish.temperature;
        }
    }
    let mut ranked = scores.clone();
    ranked.sort_unstable_by(|a, b| b.total_cmp(a));
    let last = *ranked.get(wish.top_k.min(ranked.len()) - 1)?;
    let kept = (0..)
        .zip(scores)
        .filter(|(_, score)| *score >= last && *score > f32::NEG_INFINITY);
    let kept: Vec<_> = kept.collect();
    (kept.len() <= MOST).then_some(kept)
}

/// As numbers that compare: how many, then ids and scores by ascending id; -1 for a row that is
/// needed whole.
fn listed(candidates: Option<Vec<(u32, f32)>>) -> Vec<f32> {
    let mut list = vec![candidates.as_ref().map_or(-1.0, |kept| kept.len() as f32)];
    let mut kept = candidates.unwrap_or_default();
    kept.sort_unstable_by_key(|(id, _)| *id);
    list.extend(kept.into_iter().flat_map(|(id, score)| [id as f32, score]));
    list.resize(1 + 2 * MOST, 0.0);
    list
}
