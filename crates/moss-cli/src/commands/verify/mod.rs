//! `verify`: a folder that carries expected values against what this engine computes.

mod expected;

use std::{collections::HashMap, process::ExitCode};

use crate::{
    args::{Cli, RopeArg, VerifyArgs},
    errors::{Failed, OrFail, build_failed},
    fold::left,
    messages::Words,
    open,
    printer::Printer,
    source,
};
use moss::{
    LoadOptions, Moss, SamplingParams,
    cpu::Activations,
    model::{
        BlockPool, BlockTable, ComputeDtype, HiddenPoint, LanguageModel, LogitRows, SequenceChunk,
    },
    sampling::Sampler,
};

use expected::{
    Expected, Floats, Greedy, Ids, Prompt, missing, read_json, read_tensors, values_of,
};

/// Places of what is compared, on a terminal.
const LABEL: usize = 28;
/// Penalty of the greedy path that the sampling cases go on from.
const CONTEXT_PENALTY: f32 = 1.02;
/// Probabilities are compared this closely at f32; their logits are off by up to the tolerance.
const PROBABILITY_PER_LOGIT: f32 = 2.0;

struct Run<'a> {
    model: Moss,
    expected: Expected,
    floats: Floats,
    ids: Ids,
    tolerance: f32,
    printer: &'a Printer,
    failed: usize,
}

pub(crate) fn run(args: &VerifyArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::at(&args.dir, &cli.model), cli, printer)?;
    let mut found = open::find_local(builder, &cli.model)?;
    let checkpoint = found
        .checkpoint()
        .or_fail("cannot open the checkpoint", "无法打开检查点")?;
    let stem = if cli.model.rope_precision == RopeArg::F16 {
        "expected_fp16_rope"
    } else {
        "expected"
    };
    let folder = args
        .expected
        .clone()
        .unwrap_or_else(|| values_of(&args.dir, stem));
    let expected = read_json(&folder, stem)?;
    let (floats, ids) = read_tensors(&folder, stem)?;
    let window = checkpoint.config().context_length;
    let options = LoadOptions {
        many_rows_from: args.many_rows_from,
        ..found.load_options(window).map_err(build_failed)?
    };
    let model = Moss::load(&checkpoint, &options, &mut |_| {})?;
    let exact = if checkpoint.quantization().is_some() {
        1e-3
    } else {
        1e-4
    };
    let by_type = match options.dtype {
        // Four bits fewer than f16, of the largest input of each group.
        _ if options.activations == Activations::Int8 => {
            32.0 * expected.max_abs_logit_diff_of_fp16_run.unwrap_or(0.03)
        }
        ComputeDtype::F32 => exact,
        ComputeDtype::F16 => 2.0 * expected.max_abs_logit_diff_of_fp16_run.unwrap_or(0.03),
        ComputeDtype::BF16 => 16.0 * expected.max_abs_logit_diff_of_fp16_run.unwrap_or(0.03),
    };
    let tolerance = args.tolerance.unwrap_or(by_type);
    let mut run = Run {
        model,
        expected,
        floats,
        ids,
        tolerance,
        printer,
        failed: 0,
    };
    let pool = found.pool().map_err(build_failed)?;
    pool.install(|| -> anyhow::Result<()> {
        run.logits()?;
        run.hidden()?;
        // Rounded activations may leave the oracle's path where two scores are close; on a GPU
        // there is no other rounding.
        if options.dtype == ComputeDtype::F32 || open::any_gpu(&options.devices) {
            run.greedy()?;
        }
        if options.dtype == ComputeDtype::F32 {
            run.sampling()?;
        }
        Ok(())
    })?;
    Ok(if run.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Run<'_> {
    /// Logits of every position, and the hidden states on the way.
    fn forward(&mut self, ids: &[u32], rows: LogitRows) -> anyhow::Result<(Vec<f32>, Floats)> {
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, ids.len())?;
        let chunk = SequenceChunk {
            token_ids: ids,
            start_pos: 0,
            blocks: &blocks,
            logits: rows,
        };
        let mut hidden = HashMap::new();
        let mut tap = |point: HiddenPoint, values: &[f32]| {
            let name = match point {
                HiddenPoint::Embedding => "hidden.embedding".to_owned(),
                HiddenPoint::Block(layer) => format!("hidden.block.{layer}"),
                HiddenPoint::FinalNorm => "hidden.ln_f".to_owned(),
            };
            hidden.insert(name, values.to_vec());
        };
        let logits = self
            .model
            .forward_traced(&[chunk], &|| false, Some(&mut tap))?;
        Ok((
            logits
                .into_iter()
                .flat_map(|logits| logits.into_values())
                .collect(),
            hidden,
        ))
    }

    fn report(
        &mut self,
        what: impl Into<Words>,
        difference: f32,
        allowed: f32,
    ) -> anyhow::Result<()> {
        let pass = difference <= allowed; // NaN fails
        let found = (
            format!("largest difference {difference:.2e}, allowed {allowed:.0e}"),
            format!("最大差异 {difference:.2e}，允许 {allowed:.0e}"),
        );
        self.verdict(pass, what, found)
    }

    fn verdict(
        &mut self,
        pass: bool,
        what: impl Into<Words>,
        found: impl Into<Words>,
    ) -> anyhow::Result<()> {
        self.failed += usize::from(!pass);
        let (what, found, language) = (what.into(), found.into(), self.printer.language);
        let (what, found) = (left(what.of(language), LABEL), found.of(language));
        let verdict = if pass { "PASS" } else { "FAIL" };
        Ok(self
            .printer
            .report(&format!("{verdict} {what} {found}\n"))?)
    }

    fn tensor(&self, name: &str) -> anyhow::Result<Vec<f32>> {
        Ok(self
            .floats
            .get(name)
            .cloned()
            .ok_or_else(|| missing(name))?)
    }

    fn prompt(&self, index: usize) -> Result<Vec<u32>, Failed> {
        let prompt = self.expected.prompts.get(index);
        let prompt = prompt.or_fail(
            format!("the expected values name prompt {index}, which is not there"),
            format!("期望值引用了提示 {index}，但没有这个提示"),
        )?;
        Ok(prompt.ids.clone())
    }

    fn logits(&mut self) -> anyhow::Result<()> {
        let vocab = self.model.config().vocab_size;
        let (mut rows_off, mut max_off, mut sum_off, mut argmax_off) = (0f32, 0f32, 0f32, 0usize);
        for index in 0..self.expected.prompts.len() {
            let Prompt { ids, logit_rows } = &self.expected.prompts[index];
            let (ids, rows) = (ids.clone(), logit_rows.clone());
            let (logits, _) = self.forward(&ids, LogitRows::All)?;
            let picked: Vec<f32> = rows
                .iter()
                .flat_map(|row| logits.chunks_exact(vocab).nth(*row).unwrap_or(&[]))
                .copied()
                .collect();
            rows_off = rows_off.max(difference(
                &picked,
                &self.tensor(&format!("prompt.{index}.logits"))?,
            ));
            let best = |row: &[f32]| {
                (0..row.len())
                    .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                    .unwrap_or(0)
            };
            let each =
                |f: &dyn Fn(&[f32]) -> f32| logits.chunks_exact(vocab).map(f).collect::<Vec<_>>();
            max_off = max_off.max(difference(
                &each(&|row| row[best(row)]),
                &self.tensor(&format!("prompt.{index}.max"))?,
            ));
            let sum = self.tensor(&format!("prompt.{index}.logsumexp"))?;
            sum_off = sum_off.max(difference(&each(&log_sum_exp), &sum));
            let name = format!("prompt.{index}.argmax");
            let winners = self.ids.get(&name).ok_or_else(|| missing(&name))?;
            if winners.len() != ids.len() {
                let (found, expected) = (winners.len(), ids.len());
                return Err(Failed::new((
                    format!("tensor `{name}` has {found} positions, expected {expected}"),
                    format!("张量 `{name}` 有 {found} 个位置，应为 {expected} 个"),
                ))
                .into());
            }
            // Where two scores are closer than the tolerance either may win.
            let is_off = |row: &[f32], winner: usize| {
                row.get(winner)
                    .is_none_or(|score| row[best(row)] - score > self.tolerance)
            };
            argmax_off += logits
                .chunks_exact(vocab)
                .zip(winners)
                .filter(|(row, id)| is_off(row, **id))
                .count();
        }
        self.report(("logits", "logits"), rows_off, self.tolerance)?;
        self.report(
            ("best logit of each position", "各位置最高的 logit"),
            max_off,
            self.tolerance,
        )?;
        self.report(
            ("logsumexp of each position", "各位置的 logsumexp"),
            sum_off,
            self.tolerance,
        )?;
        let found = (
            format!("{argmax_off} position(s) off"),
            format!("{argmax_off} 个位置不符"),
        );
        self.verdict(argmax_off == 0, ("best token", "首选词元"), found)
    }

    fn hidden(&mut self) -> anyhow::Result<()> {
        let Some(index) = self.expected.hidden_prompt else {
            return Ok(());
        };
        let ids = self.prompt(index)?;
        let (_, found) = self.forward(&ids, LogitRows::All)?;
        let mut names: Vec<_> = self
            .floats
            .keys()
            .filter(|name| name.starts_with("hidden."))
            .cloned()
            .collect();
        names.sort();
        let mut worst = (0f32, Words::from(("none", "无")));
        for name in names {
            let expected = self.tensor(&name)?;
            let scale = expected
                .iter()
                .fold(1f32, |max, value| max.max(value.abs()));
            let off = difference(found.get(&name).map_or(&[], Vec::as_slice), &expected) / scale;
            if off >= worst.0 || off.is_nan() {
                worst = (off, Words::same(name));
            }
        }
        let (off, Words { en, zh }) = worst;
        self.report(
            (format!("hidden states ({en})"), format!("隐藏状态（{zh}）")),
            off,
            self.tolerance,
        )
    }

    /// The best token after `ids`, with this penalty.
    fn path(&mut self, prompt: &[u32], penalty: f32, steps: usize) -> anyhow::Result<Vec<u32>> {
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
            let chunk = SequenceChunk {
                token_ids: &ids[start_pos..],
                start_pos,
                blocks: &blocks,
                logits: LogitRows::Last,
            };
            let mut logits = self.model.forward(&[chunk], &|| false)?;
            start_pos = ids.len();
            let row = logits
                .first_mut()
                .and_then(|logits| logits.last_mut())
                .or_fail("the model gave no logits", "模型没有给出 logits")?;
            let id = sampler.sample(row, &ids, step, usize::MAX)?;
            ids.push(id);
        }
        Ok(ids.split_off(prompt.len()))
    }

    fn greedy(&mut self) -> anyhow::Result<()> {
        let (mut right, total) = (0, self.expected.greedy.len());
        for index in 0..total {
            let Greedy {
                prompt,
                repetition_penalty,
                tokens,
            } = &self.expected.greedy[index];
            let (prompt, penalty, tokens) = (*prompt, *repetition_penalty, tokens.clone());
            let ids = self.prompt(prompt)?;
            right += usize::from(self.path(&ids, penalty, tokens.len())? == tokens);
        }
        let found = (
            format!("{right} of {total} token for token"),
            format!("{total} 条中 {right} 条逐词元一致"),
        );
        self.verdict(right == total, ("greedy paths", "贪心路径"), found)
    }

    fn sampling(&mut self) -> anyhow::Result<()> {
        let (mut right, mut worst, total) = (0, 0f32, self.expected.sampling.len());
        let mut paths: HashMap<usize, Vec<u32>> = HashMap::new();
        for index in 0..total {
            let case = &self.expected.sampling[index];
            let (prompt, generated) = (case.prompt, case.generated);
            let mut ids = self.prompt(prompt)?;
            if generated > 0 && paths.get(&prompt).is_none_or(|path| path.len() < generated) {
                let path = self.path(&ids, CONTEXT_PENALTY, generated)?;
                paths.insert(prompt, path);
            }
            ids.extend(paths.get(&prompt).into_iter().flatten().take(generated));
            let (mut row, _) = self.forward(&ids, LogitRows::Last)?;
            let case = &self.expected.sampling[index];
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
            right += usize::from(same);
            for (id, probability) in &case.kept {
                worst = worst.max((found.get(id).copied().unwrap_or(0.0) - probability).abs());
            }
        }
        let found = (
            format!("{right} of {total} with the same tokens"),
            format!("{total} 个中 {right} 个词元相同"),
        );
        self.verdict(right == total, ("sampling sets", "采样候选集"), found)?;
        let allowed = PROBABILITY_PER_LOGIT * self.tolerance;
        self.report(("sampling probabilities", "采样概率"), worst, allowed)
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(
            0.0,
            |max, off| if off.is_nan() { off } else { max.max(off) },
        )
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|value| f64::from(value - max).exp()).sum();
    (f64::from(max) + sum.ln()) as f32
}
