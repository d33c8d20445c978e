//! `doctor --selftest`: compares every kernel with the CPU's, and the demo models' answers with a
//! transcript, on the devices of this machine.

use std::sync::Arc;

use moss::{Chat, ChatOptions, Event, SamplingParams, engine::EngineError, weights::KernelError};
use moss_bench::parity::{self, CaseReport};
use serde_json::{Value, json};

use crate::{
    args::{ActivationsArg, Cli, DemoArg, ModelArgs},
    open, source,
};

/// The demo models' answers at temperature 0, each in a new conversation. A test compares them with
/// the answers of transformers.
const TRANSCRIPT: [(&str, &str); 4] = [
    (
        "你好",
        " 你好！我是 moss-rs 的小型演示模型。请问我一些简单的问题，或者输入 /help。",
    ),
    ("What is 3 + 4?", " 3 + 4 = 7."),
    ("7 × 8 等于几？", " 7 × 8 = 56。"),
    ("Send me an emoji", " Of course: 🌱 🚀 🌙 😀"),
];

/// The kernels on one GPU.
pub(super) struct Kernels {
    pub(super) ordinal: usize,
    pub(super) compared: Vec<CaseReport>,
    /// The error that ended the comparison.
    pub(super) error: Option<KernelError>,
}

/// The transcript on one device.
pub(super) struct Transcript {
    pub(super) device: String,
    pub(super) format: &'static str,
    /// Questions with wrong answers, or an empty question with the error.
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
    /// Runs on the CPU, and on every GPU of `ordinals` with one stage and with two. `only`
    /// restricts it to kernels whose name contains this text, without transcripts.
    pub(super) fn run(cli: &Cli, ordinals: &[usize], only: Option<&str>) -> Self {
        let kernels =
            |ordinal: &usize| Kernels::run(*ordinal, cli.model.gpu_code, only.unwrap_or_default());
        let kernels = ordinals.iter().map(kernels).collect();
        let mut devices = Vec::new();
        if only.is_none() {
            devices.push("cpu".to_owned());
            // Two stages on one GPU test the stage transfer.
            devices.extend(
                ordinals
                    .iter()
                    .flat_map(|gpu| [format!("{gpu}"), format!("{gpu},{gpu}")]),
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
                let wrong = wrong_answers(&model)
                    .unwrap_or_else(|error| vec![("".into(), format!("{error:#}"))]);
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

    /// Returns true if all parts passed. An empty self-test fails.
    pub(super) fn passed(&self) -> bool {
        (!self.kernels.is_empty() || !self.transcripts.is_empty())
            && self.kernels.iter().all(Kernels::passed)
            && self.transcripts.iter().all(|run| run.wrong.is_empty())
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
        let transcript = |run: &Transcript| json!({ "device": run.device, "format": run.format, "passed": run.wrong.is_empty(), "wrong": run.wrong });
        json!({
            "passed": self.passed(), "kernels": self.kernels.iter().map(kernels).collect::<Vec<_>>(),
            "transcripts": self.transcripts.iter().map(transcript).collect::<Vec<_>>(),
        })
    }
}

/// Returns the questions whose answers differ from the transcript, with the answers.
fn wrong_answers(model: &ModelArgs) -> anyhow::Result<Vec<(String, String)>> {
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
                .filter(|run| run["repetition_penalty"] == 1.0)
                .collect();
            assert_eq!(greedy.len(), 2, "both demo models");
            assert!(greedy.iter().all(|run| run["text"] == answer), "{question}");
        }
    }

    #[test]
    fn a_wrong_result_or_an_error_fails_the_test() {
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
