//! `generate`: one answer.

use std::{
    io::Read,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::Context;
use clap::Args;
use moss::{
    Chat, ChatEvent, Event, Outcome, PromptBuilder, Request, StopRules, SystemText, Tokenizer,
    engine::{CancelHandle, Vocabulary},
    text::SegmentKind,
};
use serde_json::json;

use crate::{args::Cli, hints::Advised, open, printer::Printer};

/// Answer one message and leave
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The message; read from stdin where it is missing
    message: Option<String>,
    /// Token ids to go on from, as they are: no prompt is built around them
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "message")]
    ids: Vec<u32>,
    /// Go on from the message as it is: no prompt is built around it
    #[arg(long)]
    raw: bool,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Do not stop at the token that ends an answer
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object: ids, text, stop, usage, timings
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &GenerateArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let opened = open::engine(cli, printer)?;
    let cancel: Arc<Mutex<Option<CancelHandle>>> = Arc::default();
    let handler = cancel.clone();
    ctrlc::set_handler(move || match handler.lock().ok().and_then(|handle| handle.clone()) {
        Some(handle) => handle.cancel(),
        None => std::process::exit(130),
    })
    .context("cannot watch for Ctrl-C")?;

    let is_plain = args.raw || !args.ids.is_empty() || args.ignore_eos || !args.stop.is_empty();
    let outcome = if is_plain {
        let engine = &opened.engine;
        let prompt = match args.ids.is_empty() {
            false => args.ids.clone(),
            true => {
                let tokenizer = tokenizer(engine.tokenizer(), &opened.model.folder)?;
                let text = message(args)?;
                match args.raw {
                    true => tokenizer.encode(&text)?,
                    false => builder(cli, &opened, tokenizer)?.prompt(&[], &text)?,
                }
            }
        };
        let eos = engine.model_config().eos_token_id;
        let stop = StopRules {
            max_new_tokens: cli.answer.max_new_tokens,
            stop_ids: eos.filter(|_| !args.ignore_eos).into_iter().collect(),
            stop_strings: args.stop.clone(),
            time_limit: cli.answer.max_time,
        };
        let by_ids = !args.ids.is_empty() || engine.tokenizer().is_none();
        let vocabulary = if by_ids { Vocabulary::EveryRow } else { Vocabulary::RealTokens };
        let sampling = open::sampling(&cli.answer, stop.stop_ids.clone());
        let run = engine.submit(Request { stop, vocabulary, ..Request::new(prompt, sampling) })?;
        remember(&cancel, run.cancel_handle());
        let mut last = None;
        for event in run {
            match event {
                Event::Text { piece, .. } if !args.json => printer.answer(&piece)?,
                Event::Finished(outcome) => last = Some(outcome),
                Event::Failed(error) => return Err(error).context("cannot generate"),
                _ => {}
            }
        }
        last
    } else {
        let tokenizer = tokenizer(opened.engine.tokenizer(), &opened.model.folder)?;
        let stop_ids = vec![tokenizer.special()?.eom];
        let builder = builder(cli, &opened, tokenizer)?;
        let mut chat =
            Chat::new(Arc::new(opened.engine), builder, open::chat_options(&cli.answer, stop_ids)?);
        let run = chat.ask(&message(args)?)?;
        remember(&cancel, run.cancel_handle());
        let mut last = None;
        for event in run {
            match event {
                ChatEvent::Text { kind: SegmentKind::Answer, piece } if !args.json => {
                    printer.answer(&piece)?
                }
                ChatEvent::Text { piece, .. } if !args.json => printer.aside(&piece),
                ChatEvent::Finished(outcome) => last = Some(outcome),
                ChatEvent::Failed(error) => return Err(error).context("cannot generate"),
                _ => {}
            }
        }
        last
    };
    let outcome = outcome.context("the engine ended without an answer")?;
    if args.json {
        printer.answer(&format!("{}\n", to_json(&outcome)))?;
    } else {
        printer.answer("\n")?;
    }
    let interrupted = outcome.cause == moss::StopCause::Cancelled;
    Ok(if interrupted { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

fn remember(cancel: &Mutex<Option<CancelHandle>>, handle: CancelHandle) {
    if let Ok(mut cancel) = cancel.lock() {
        *cancel = Some(handle);
    }
}

fn builder(cli: &Cli, opened: &open::Opened, tokenizer: Tokenizer) -> anyhow::Result<PromptBuilder> {
    let system = cli.answer.system.clone().map_or(SystemText::Published, SystemText::Custom);
    Ok(PromptBuilder::new(tokenizer, system, open::plugins(&cli.answer, &opened.model)?)?)
}

pub(crate) fn tokenizer(found: Option<&Tokenizer>, folder: &std::path::Path) -> anyhow::Result<Tokenizer> {
    found.cloned().ok_or_else(|| {
        Advised {
            message: format!("`{}` holds no tokenizer (vocab.json, merges.txt)", folder.display()),
            hint: "put the published tokenizer files there, or work with `--ids`".into(),
        }
        .into()
    })
}

fn message(args: &GenerateArgs) -> anyhow::Result<String> {
    if let Some(message) = &args.message {
        return Ok(message.clone());
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    let text = String::from_utf8(bytes).map_err(|error| Advised {
        message: format!("stdin is not UTF-8 at offset {}", error.utf8_error().valid_up_to()),
        hint: "convert it: `iconv -f GBK -t UTF-8`".into(),
    })?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn to_json(outcome: &Outcome) -> serde_json::Value {
    let Outcome { cause, ids, text, usage, timings } = outcome;
    json!({
        "ids": ids,
        "text": text,
        "stop": cause,
        "usage": usage,
        "timings": {
            "queued_s": timings.queued.as_secs_f64(),
            "prefill_s": timings.prefill.as_secs_f64(),
            "decode_s": timings.decode.as_secs_f64(),
            "prefill_tokens_per_s": timings.prefill_rate(usage),
            "decode_tokens_per_s": timings.decode_rate(usage),
        },
    })
}
