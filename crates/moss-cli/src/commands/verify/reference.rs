//! `verify --reference`: the native engine against the candle reference.

use std::process::ExitCode;

use moss::{
    Found, LoadOptions, Moss, Tokenizer,
    cpu::Activations,
    model::{ComputeDtype, KvCacheType, LanguageModel, Reference},
};
use moss_bench::verify::{Check, CompareOptions, compare};
use moss_messages::msg;

use super::lines::Lines;
use crate::{
    args::{Cli, EngineArg, ModelArgs, VerifyArgs},
    errors::{Context, build_failed},
    open,
    printer::Printer,
    source,
};

/// Messages that are tokenized as prompts.
const MESSAGES: [&str; 3] = ["What is 3 + 4?", "你好", "推荐五部科幻电影"];
/// Tokens of a prompt for a checkpoint without a tokenizer.
const IDS: usize = 40;
/// Decode steps after each prompt.
const STEPS: usize = 8;
/// Largest difference of logits, f32. The engines add in another order, and dequantized weights are
/// rounded once more than products with packed ones. Fixtures and demo models differ by 6e-5 at most.
const TOLERANCE: f32 = 1e-3;

pub(super) fn run(args: &VerifyArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let mut found = match &args.dir {
        Some(dir) => {
            let builder = open::builder(source::at(dir, &cli.model), cli, printer)?;
            open::find_local(builder, &cli.model)?
        }
        None => open::find(cli, printer)?,
    };
    // The reference copies the weights, whichever engine the flags name.
    let candle = ModelArgs {
        engine: EngineArg::Candle,
        ..cli.model.clone()
    };
    open::check_room(&found, &candle)?;
    let checkpoint = found.checkpoint().context(msg!("cannot-open-checkpoint"))?;
    let prompts = prompts(&found)?;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0) + STEPS;
    let options = found.load_options(longest).map_err(build_failed)?;
    let mut native = Moss::load(&checkpoint, &options, &mut |_| {})?;
    let plain = LoadOptions {
        dtype: options.dtype,
        rope_precision: options.rope_precision,
        devices: Reference::available()?,
        ..LoadOptions::cpu(longest)
    };
    let mut reference = Reference::load(&checkpoint, &plain, &mut |_| {})?;
    let options = CompareOptions {
        tolerance: args.tolerance.unwrap_or(tolerance(&options)),
        steps: STEPS,
    };
    let mut lines = Lines::new(printer);
    let mut each = |check: Check| lines.print(&check);
    let (native, reference): (&mut dyn LanguageModel, &mut dyn LanguageModel) =
        (&mut native, &mut reference);
    let pool = found.pool().map_err(build_failed)?;
    pool.install(|| compare(native, reference, &prompts, options, &mut each))?;
    lines.exit_code()
}

/// Returns the prompts: chat turns, or token ids from all over the vocabulary.
fn prompts(found: &Found) -> anyhow::Result<Vec<Vec<u32>>> {
    let config = found.config().map_err(build_failed)?;
    let (vocab, longest) = (
        config.vocab_size,
        config.context_length.saturating_sub(STEPS).max(1),
    );
    let mut prompts = Vec::new();
    if Tokenizer::is_present(found.folder()) {
        let builder = found.prompts().map_err(build_failed)?;
        for message in MESSAGES {
            prompts.push(builder.prompt(&[], message)?);
        }
    } else {
        let id = |index: usize| ((index + 1).wrapping_mul(2_654_435_761) % vocab) as u32;
        prompts.push((0..IDS).map(id).collect());
    }
    for prompt in &mut prompts {
        prompt.truncate(longest);
    }
    Ok(prompts)
}

/// Returns the default tolerance. With 16-bit types, in which the reference also rounds weights and
/// logits, it is more than twice the largest difference of fixtures and demo models.
fn tolerance(options: &LoadOptions) -> f32 {
    match options.dtype {
        _ if options.activations == Activations::Int8 => 1.0,
        _ if options.kv_cache == KvCacheType::Int8 => 1.0,
        ComputeDtype::F32 => TOLERANCE,
        ComputeDtype::F16 => 0.2,
        ComputeDtype::BF16 => 0.5,
    }
}
