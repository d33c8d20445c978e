//! Comparison of a model with the expected values of a folder.

mod expected;
mod reference;

use std::{collections::HashMap, path::Path};

use moss_model::{
    BlockPool, BlockTable, HiddenPoint, LanguageModel, LogitRows, Moss, SequenceChunk, TokenKind,
};
use moss_sampling::{Sampler, SamplingParams};

use crate::BenchError;
use expected::{Floats, Greedy, Ids, Listed, Prompt, missing, read_json, read_tensors};

pub use expected::values_of;
pub use reference::{CompareOptions, compare};

/// Repetition penalty of the greedy path that the sampling cases continue.
const CONTEXT_PENALTY: f32 = 1.02;
/// Allowed difference of a probability, per allowed difference of a logit.
const PROBABILITY_PER_LOGIT: f32 = 2.0;

/// The expected values of a folder.
#[derive(Debug)]
pub struct ExpectedValues {
    listed: Listed,
    floats: Floats,
    ids: Ids,
}

impl ExpectedValues {
    /// Reads `{stem}.json` and `{stem}.safetensors`.
    ///
    /// # Errors
    /// [`BenchError`] for files that cannot be read.
    pub fn read(folder: &Path, stem: &str) -> Result<Self, BenchError> {
        let listed = read_json(folder, stem)?;
        let (floats, ids) = read_tensors(folder, stem)?;
        Ok(Self {
            listed,
            floats,
            ids,
        })
    }

    fn tensor(&self, name: &str) -> Result<&[f32], BenchError> {
        let values = self.floats.get(name);
        values.map(Vec::as_slice).ok_or_else(|| missing(name))
    }

    /// Returns the largest difference of a logit between f32 and f16 in the reference, if known.
    pub fn max_f16_difference(&self) -> Option<f32> {
        self.listed.max_abs_logit_diff_of_fp16_run
    }
}

/// The options of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions {
    /// Allowed difference of a logit.
    pub tolerance: f32,
    /// Compares greedy paths.
    pub greedy: bool,
    /// Compares sampling sets and probabilities.
    pub sampling: bool,
}

/// The result of one comparison.
#[derive(Debug, Clone)]
pub struct Check {
    /// The compared values.
    pub kind: CheckKind,
    /// Their difference.
    pub outcome: Outcome,
}

/// The values of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CheckKind {
    Logits,
    BestLogit,
    LogSumExp,
    BestToken,
    /// The most likely token of both models.
    TopToken,
    /// With the name of the hidden state that differs most, if there are any.
    HiddenStates {
        worst: Option<String>,
    },
    GreedyPaths,
    SamplingSets,
    SamplingProbabilities,
}

/// A difference of values, or a count of mismatches.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Outcome {
    Difference { largest: f32, allowed: f32 },
    Mismatches { count: usize, total: usize },
}

impl Check {
    /// Returns true if the model is within the tolerance.
    pub fn passed(&self) -> bool {
        match self.outcome {
            Outcome::Difference { largest, allowed } => largest <= allowed, // NaN fails
            Outcome::Mismatches { count, .. } => count == 0,
        }
    }
}

/// Compares `model` with the expected values and passes each result to `each`.
///
/// # Errors
/// [`BenchError`] for missing values, and for errors of the model.
pub fn run(
    model: &mut Moss,
    expected: &ExpectedValues,
    options: VerifyOptions,
    each: &mut dyn FnMut(Check),
) -> Result<(), BenchError> {
    let mut run = Run {
        model,
        expected,
        tolerance: options.tolerance,
        each,
    };
    run.logits()?;
    run.hidden()?;
    if options.greedy {
        run.greedy()?;
    }
    if options.sampling {
        run.sampling()?;
    }
    Ok(())
}

struct Run<'a> {
    model: &'a mut Moss,
    expected: &'a ExpectedValues,
    tolerance: f32,
    each: &'a mut dyn FnMut(Check),
}

impl<'a> Run<'a> {
    /// Returns the logits of `rows`, and the hidden states.
    fn forward(&mut self, ids: &[u32], rows: LogitRows) -> Result<(Vec<f32>, Floats), BenchError> {
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, ids.len())?;
        let chunk = SequenceChunk {
            token_ids: ids,
            kind: TokenKind::Prompt,
            start_pos: 0,
            blocks: &blocks,
            logits: rows,
        };
        let mut hidden = HashMap::new();
        let mut hook = |point: HiddenPoint, values: &[f32]| {
            let name = match point {
                HiddenPoint::Embedding => "hidden.embedding".to_owned(),
                HiddenPoint::Block(layer) => format!("hidden.block.{layer}"),
                HiddenPoint::FinalNorm => "hidden.ln_f".to_owned(),
            };
            hidden.insert(name, values.to_vec());
        };
        let logits = self
            .model
            .forward_traced(&[chunk], &|| false, Some(&mut hook))?;
        Ok((
            logits
                .into_iter()
                .flat_map(|logits| logits.into_values())
                .collect(),
            hidden,
        ))
    }

    fn report(&mut self, kind: CheckKind, largest: f32, allowed: f32) {
        let outcome = Outcome::Difference { largest, allowed };
        (self.each)(Check { kind, outcome });
    }

    fn count(&mut self, kind: CheckKind, count: usize, total: usize) {
        let outcome = Outcome::Mismatches { count, total };
        (self.each)(Check { kind, outcome });
    }

    fn prompt(&self, index: usize) -> Result<&'a [u32], BenchError> {
        let expected: &'a ExpectedValues = self.expected;
        let prompt = expected.listed.prompts.get(index);
        let prompt = prompt.ok_or(BenchError::MissingPrompt { index })?;
        Ok(&prompt.ids)
    }

    fn logits(&mut self) -> Result<(), BenchError> {
        let (expected, vocab) = (self.expected, self.model.config().vocab_size);
        let (mut rows_off, mut max_off, mut sum_off, mut argmax_off) = (0f32, 0f32, 0f32, 0usize);
        let mut positions = 0;
        for (index, Prompt { ids, logit_rows }) in expected.listed.prompts.iter().enumerate() {
            let (logits, _) = self.forward(ids, LogitRows::All)?;
            let picked: Vec<f32> = logit_rows
                .iter()
                .flat_map(|row| logits.chunks_exact(vocab).nth(*row).unwrap_or(&[]))
                .copied()
                .collect();
            let tensor = |tail: &str| expected.tensor(&format!("prompt.{index}.{tail}"));
            rows_off = rows_off.max(difference(&picked, tensor("logits")?));
            let best = |row: &[f32]| {
                (0..row.len())
                    .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                    .unwrap_or(0)
            };
            let each =
                |f: &dyn Fn(&[f32]) -> f32| logits.chunks_exact(vocab).map(f).collect::<Vec<_>>();
            max_off = max_off.max(difference(&each(&|row| row[best(row)]), tensor("max")?));
            sum_off = sum_off.max(difference(&each(&log_sum_exp), tensor("logsumexp")?));
            let name = format!("prompt.{index}.argmax");
            let winners = expected.ids.get(&name).ok_or_else(|| missing(&name))?;
            if winners.len() != ids.len() {
                return Err(BenchError::Positions {
                    name,
                    found: winners.len(),
                    expected: ids.len(),
                });
            }
            // If two logits are closer than the tolerance, either may be the largest.
            let is_off = |row: &[f32], winner: usize| {
                row.get(winner)
                    .is_none_or(|score| row[best(row)] - score > self.tolerance)
            };
            argmax_off += logits
                .chunks_exact(vocab)
                .zip(winners)
                .filter(|(row, id)| is_off(row, **id))
                .count();
            positions += winners.len();
        }
        self.report(CheckKind::Logits, rows_off, self.tolerance);
        self.report(CheckKind::BestLogit, max_off, self.tolerance);
        self.report(CheckKind::LogSumExp, sum_off, self.tolerance);
        self.count(CheckKind::BestToken, argmax_off, positions);
        Ok(())
    }

    fn hidden(&mut self) -> Result<(), BenchError> {
        let expected = self.expected;
        let Some(index) = expected.listed.hidden_prompt else {
            return Ok(());
        };
        let ids = self.prompt(index)?;
        let (_, found) = self.forward(ids, LogitRows::All)?;
        let names = expected.floats.keys();
        let mut names: Vec<&String> = names.filter(|name| name.starts_with("hidden.")).collect();
        names.sort();
        let (mut largest, mut worst) = (0f32, None);
        for name in names {
            let values = expected.tensor(name)?;
            let scale = values.iter().fold(1f32, |max, value| max.max(value.abs()));
            let off = difference(found.get(name).map_or(&[], Vec::as_slice), values) / scale;
            if off >= largest || off.is_nan() {
                (largest, worst) = (off, Some(name.clone()));
            }
        }
        self.report(CheckKind::HiddenStates { worst }, largest, self.tolerance);
        Ok(())
    }

    /// Returns `steps` tokens of greedy decoding after `prompt`, with a repetition penalty.
    fn path(&mut self, prompt: &[u32], penalty: f32, steps: usize) -> Result<Vec<u32>, BenchError> {
        let params = SamplingParams {
            repetition_penalty: penalty,
            ..SamplingParams::greedy()
        };
        let mut sampler = Sampler::new(params)?;
        let mut ids = prompt.to_vec();
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, ids.len() + steps)?;
        let mut start_pos = 0;
        for step in 0..steps {
            let kind = if step == 0 {
                TokenKind::Prompt
            } else {
                TokenKind::Generated
            };
            let chunk = SequenceChunk {
                token_ids: &ids[start_pos..],
                kind,
                start_pos,
                blocks: &blocks,
                logits: LogitRows::Last,
            };
            let mut logits = self.model.forward(&[chunk], &|| false)?;
            start_pos = ids.len();
            let row = logits
                .first_mut()
                .and_then(|logits| logits.last_mut())
                .ok_or(BenchError::NoLogits)?;
            let id = sampler.sample(row, &ids, step, usize::MAX)?;
            ids.push(id);
        }
        Ok(ids.split_off(prompt.len()))
    }

    fn greedy(&mut self) -> Result<(), BenchError> {
        let cases = &self.expected.listed.greedy;
        let mut off = 0;
        for case in cases {
            let Greedy {
                prompt,
                repetition_penalty,
                tokens,
            } = case;
            let ids = self.prompt(*prompt)?;
            let found = self.path(ids, *repetition_penalty, tokens.len())?;
            off += usize::from(found != *tokens);
        }
        self.count(CheckKind::GreedyPaths, off, cases.len());
        Ok(())
    }

    fn sampling(&mut self) -> Result<(), BenchError> {
        let cases = &self.expected.listed.sampling;
        let (mut off, mut worst) = (0, 0f32);
        let mut paths: HashMap<usize, Vec<u32>> = HashMap::new();
        for case in cases {
            let (prompt, generated) = (case.prompt, case.generated);
            let mut ids = self.prompt(prompt)?.to_vec();
            if generated > 0 && paths.get(&prompt).is_none_or(|path| path.len() < generated) {
                let path = self.path(&ids, CONTEXT_PENALTY, generated)?;
                paths.insert(prompt, path);
            }
            ids.extend(paths.get(&prompt).into_iter().flatten().take(generated));
            let (mut row, _) = self.forward(&ids, LogitRows::Last)?;
            let params = SamplingParams {
                temperature: case.temperature,
                top_k: case.top_k,
                top_p: case.top_p,
                repetition_penalty: case.repetition_penalty,
                ..SamplingParams::greedy()
            };
            let found: HashMap<u32, f32> = Sampler::new(params)?
                .kept(&mut row, &ids, generated, usize::MAX)?
                .into_iter()
                .collect();
            let same = found.len() == case.kept.len()
                && case.kept.iter().all(|(id, _)| found.contains_key(id));
            off += usize::from(!same);
            for (id, probability) in &case.kept {
                worst = worst.max((found.get(id).copied().unwrap_or(0.0) - probability).abs());
            }
        }
        self.count(CheckKind::SamplingSets, off, cases.len());
        let allowed = PROBABILITY_PER_LOGIT * self.tolerance;
        self.report(CheckKind::SamplingProbabilities, worst, allowed);
        Ok(())
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |max: f32, off| {
            if off.is_nan() || max.is_nan() {
                f32::NAN
            } else {
                max.max(off)
            }
        })
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
    (f64::from(max) + sum.ln()) as f32
}
