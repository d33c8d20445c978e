//! `doctor --selftest`: every kernel beside the CPU's, and the demo models' transcripts, on the
//! user's own devices.

use std::sync::Arc;

use moss::{Chat, ChatOptions, Event, SamplingParams, engine::EngineError, weights::KernelError};
use moss_bench::parity::{self, CaseReport};
use serde_json::{Value, json};

use crate::{
    args::{ActivationsArg, Cli, DemoArg, ModelArgs},
    open, source,
};

/// What the demo models answer at temperature 0, each in a conversation of its own: tests hold them
/// against transformers' answers.
const TRANSCRIPT: [(&str, &str); 4] = [
    (
        "你好",
        " 你好！我是 moss-rs 的小型演示模型。请问我一些简单的问题，或者输入 /help。",
    ),
    ("What is 3 + 4?", " 3 + 4 = 7."),
    ("7 × 8 等于几？", " 7 × 8 = 56。"),
    ("Send me an emoji", " Of course: 🌱 🚀 🌙 😀"),
];

/// Every kernel on one card.
pub(super) struct Kernels {
    pub(super) ordinal: usize,
    pub(super) compared: Vec<CaseReport>,
    /// What ended it early.
    pub(super) error: Option<KernelError>,
}

/// The transcript on one device.
pub(super) struct Transcript {
    pub(super) device: String,
    pub(super) format: &'static str,
    /// Question, and what was said instead of the answer.
    pub(super) wrong: Vec<(String, String)>,
}

pub(super) struct Selftest {
    pub(super) kernels: Vec<Kernels>,
    pub(super) transcripts: Vec<Transcript>,
}

impl Kernels {
    fn run(ordinal: usize, newest_code: Option<u32>, only: &str) -> Self {
        let mut compared = Vec::new();
        let ended = parity::run(ordinal, newest_code, only, &mut |comparison| {
            compared.push(comparison)
        });
        Self {
            ordinal,
            compared,
            error: ended.err(),
        }
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.compared
            .iter()
            .filter(|comparison| !comparison.passed())
    }

    pub(super) fn passed(&self) -> bool {
        self.error.is_none() && !self.compared.is_empty() && self.failed().next().is_none()
    }
}

impl Selftest {
    /// On the CPU, and on every card of `ordinals`, in one stage and in two; `only` kernels whose
    /// name contains it, and nothing else.
    pub(super) fn run(cli: &Cli, ordinals: &[usize], only: Option<&str>) -> Self {
        let kernels =
            |ordinal: &usize| Kernels::run(*ordinal, cli.model.gpu_code, only.unwrap_or_default());
        let kernels = ordinals.iter().map(kernels).collect();
        let mut devices = Vec::new();
        if only.is_none() {
            devices.push("cpu".to_owned());
            // On two stages, too: they hand over to each other, on one card as between two.
            devices.extend(
                ordinals
                    .iter()
                    .flat_map(|card| [format!("{card}"), format!("{card},{card}")]),
            );
        }
        let mut transcripts = Vec::new();
        for device in devices {
            for (format, demo) in [("int4", DemoArg::Int4), ("fp16", DemoArg::Fp16)] {
                let model = ModelArgs {
                    gpu: Some(device.clone()),
                    demo: Some(demo),
                    dtype: None,
                    activations: ActivationsArg::Exact,
                    ..cli.model.clone()
                };
                let wrong =
                    talk(&model).unwrap_or_else(|error| vec![("".into(), format!("{error:#}"))]);
                transcripts.push(Transcript {
                    device: device.clone(),
                    format,
                    wrong,
                });
            }
        }
        Self {
            kernels,
            transcripts,
        }
    }

    /// Not where there was nothing to do.
    pub(super) fn passed(&self) -> bool {
        (!self.kernels.is_empty() || !self.transcripts.is_empty())
            && self.kernels.iter().all(Kernels::passed)
            && self.transcripts.iter().all(|told| told.wrong.is_empty())
    }

    pub(super) fn json(&self) -> Value {
        let comparison = |found: &CaseReport| {
            json!({
                "kernel": found.kernel, "shape": found.shape, "repeats": found.repeats, "passed": found.passed(),
                // JSON has no infinity.
                "max_error": found.max_error.is_finite().then_some(found.max_error), "allowed": found.allowed,
                "reason": found.reason,
            })
        };
        let kernels = |kernels: &Kernels| {
            json!({
                "gpu": kernels.ordinal, "passed": kernels.passed(), "error": kernels.error.as_ref().map(ToString::to_string),
                "cases": kernels.compared.iter().map(comparison).collect::<Vec<_>>(),
            })
        };
        let transcript = |told: &Transcript| json!({ "device": told.device, "format": told.format, "passed": told.wrong.is_empty(), "wrong": told.wrong });
        json!({
            "passed": self.passed(), "kernels": self.kernels.iter().map(kernels).collect::<Vec<_>>(),
            "transcripts": self.transcripts.iter().map(transcript).collect::<Vec<_>>(),
        })
    }
}

/// The questions that were answered otherwise, with what was said.
fn talk(model: &ModelArgs) -> anyhow::Result<Vec<(String, String)>> {
    let found = open::placed(source::model(model), model)?.find()?;
    let prompts = found.prompts()?;
    let engine = Arc::new(found.engine()?);
    let options = ChatOptions {
        sampling: SamplingParams::greedy(),
        ..ChatOptions::default()
    };
    let mut wrong = Vec::new();
    for (question, expected) in TRANSCRIPT {
        let mut chat = Chat::new(engine.clone(), prompts.clone(), options.clone());
        let found = answer(&mut chat, question)?;
        if found != expected {
            wrong.push((question.to_owned(), found));
        }
    }
    Ok(wrong)
}

fn answer(chat: &mut Chat, question: &str) -> Result<String, EngineError> {
    for event in chat.ask(question)? {
        match event {
            Event::Finished(outcome) => return Ok(outcome.text),
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Ok(String::new())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_transcript_is_what_transformers_answers() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/demo/golden.json"
        );
        let goldens: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for (question, answer) in TRANSCRIPT {
            let asked =
                |case: &&Value| case["user"] == json!([question]) && case["system"] == "meta";
            let case = goldens["cases"]
                .as_array()
                .unwrap()
                .iter()
                .find(asked)
                .unwrap();
            let greedy = case["expected"].as_array().unwrap().iter();
            let greedy: Vec<_> = greedy
                .filter(|told| told["repetition_penalty"] == 1.0)
                .collect();
            assert_eq!(greedy.len(), 2, "both demo models");
            assert!(
                greedy.iter().all(|told| told["text"] == answer),
                "{question}"
            );
        }
    }

    #[test]
    fn a_kernel_that_is_off_or_a_card_that_ends_it_fails_the_test() {
        let comparison = |passed| CaseReport {
            kernel: "layer_norm",
            shape: "1 row".into(),
            max_error: if passed { 0.05 } else { 0.5 },
            allowed: 0.1,
            reason: "",
            repeats: true,
        };
        let kernels = |compared, error| Kernels {
            ordinal: 0,
            compared,
            error,
        };
        assert!(kernels(vec![comparison(true)], None).passed());
        assert!(!kernels(vec![comparison(true), comparison(false)], None).passed());
        let gone = KernelError::NotCompiled {
            op: "parity of kernels",
        };
        assert!(!kernels(vec![comparison(true)], Some(gone)).passed());
        assert!(!kernels(vec![], None).passed(), "nothing was compared");
        assert!(
            !Selftest {
                kernels: vec![],
                transcripts: vec![]
            }
            .passed()
        );
    }
}
