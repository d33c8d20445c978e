//! `generate`: generates one answer.

use std::{io::Read, process::ExitCode};

use moss::{
    Chat, Engine, Event, Found, Outcome, Request, StopCause, StopRules, Tokenizer,
    engine::{ChatRun, EngineError, Vocabulary},
    plugins::{Citations, Source},
    text::SegmentKind,
    unicode,
};
use serde_json::json;

use moss_messages::msg;

use crate::{
    args::{Cli, GenerateArgs},
    errors::{CliError, Context, build_failed},
    interrupt::{Interrupts, interrupted},
    messages::{Ending, ending_of_generate, last_answer},
    open,
    plugins::{Calls, MAX_ROUNDS, show_sources},
    printer::Printer,
    progress::PrefillBar,
};

pub(crate) fn run(args: &GenerateArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let calls = Calls::new(&cli.plugins)?;
    // An invalid message is reported before 10 GB of weights are read.
    let message = if args.ids.is_empty() {
        Some(message(args)?)
    } else {
        None
    };
    let found = open::find(cli, printer)?;
    let prints_ids = !Tokenizer::is_present(found.folder());
    let (outcome, interrupts);
    match message {
        Some(message) if args.is_turn() => {
            let (mut chat, stored) = open::chat(found, &cli.model, printer)?;
            interrupts = Interrupts::watch(printer)?;
            outcome = turn(&message, args, printer, &mut chat, &interrupts, &calls)?;
            if let Some(stored) = stored {
                stored.finish();
            }
        }
        message => {
            let prompt = prompt(message.as_deref(), args, &found)?;
            let engine = found.engine().map_err(build_failed)?;
            interrupts = Interrupts::watch(printer)?;
            let by_ids = message.is_none() || prints_ids;
            outcome = complete(prompt, by_ids, args, cli, printer, &engine, &interrupts)?;
        }
    }
    if args.json {
        printer.json(&to_json(&outcome))?;
    } else {
        printer.answer("\n")?;
    }
    match ending_of_generate(&outcome, prints_ids) {
        // An empty answer looks like a failure, so its reason is always shown.
        Some(Ending::NoText(why)) => printer.say(why),
        Some(Ending::Truncated(why)) => printer.detail(&printer.text(&why)),
        None => {}
    }
    printer.detail(&printer.text(&last_answer(&outcome)));
    Ok(if outcome.cause == StopCause::Cancelled {
        interrupted()
    } else {
        ExitCode::SUCCESS
    })
}

impl GenerateArgs {
    /// Returns true for one turn of a chat, false for a completion with other stop rules.
    fn is_turn(&self) -> bool {
        !self.raw && !self.ignore_eos && self.stop.is_empty()
    }
}

/// Generates one turn of a chat, and runs the plugin calls in it.
fn turn(
    message: &str,
    args: &GenerateArgs,
    printer: &Printer,
    chat: &mut Chat,
    interrupts: &Interrupts,
    calls: &Calls,
) -> anyhow::Result<Outcome> {
    let run = chat.ask(message)?;
    let mut outcome = answer(run, &[], args, printer, interrupts)?;
    for _ in 0..MAX_ROUNDS {
        let Some(commands) = chat.pending_commands() else {
            break;
        };
        if !args.json {
            printer.aside("\n");
        }
        let Some(results) = calls.run(&commands, printer, interrupts)? else {
            break;
        };
        let run = chat.results(&results.text)?;
        outcome.join(answer(run, &results.sources, args, printer, interrupts)?);
    }
    Ok(outcome)
}

/// Shows a run of an answer. Thoughts and commands of plugin models are not part of the answer.
fn answer(
    run: ChatRun<'_>,
    sources: &[Source],
    args: &GenerateArgs,
    printer: &Printer,
    interrupts: &Interrupts,
) -> anyhow::Result<Outcome> {
    let mut citations = Citations::default();
    let _guard = interrupts.stop_with(run.cancel_handle());
    let (prefill, mut has_output) = (PrefillBar::new(printer), false);
    for event in run {
        match event {
            Event::Started {
                prompt_tokens,
                reused_tokens,
            } => {
                prefill.start(prompt_tokens, reused_tokens);
            }
            Event::Prefill { done, .. } => prefill.advance(done),
            Event::Text { .. } if args.json => prefill.clear(),
            Event::Text { kind, piece, .. } => {
                prefill.clear();
                has_output = true;
                match kind {
                    SegmentKind::Answer if sources.is_empty() => printer.answer(&piece)?,
                    SegmentKind::Answer => printer.answer(&citations.push(&piece))?,
                    _ => printer.aside(&piece),
                }
            }
            Event::Finished(outcome) => {
                printer.answer(&citations.finish())?;
                if !citations.numbers().is_empty() {
                    printer.aside("\n");
                    show_sources(sources, citations.numbers(), printer);
                }
                return Ok(outcome);
            }
            Event::Failed(error) => return Err(failed(error, has_output, printer)),
            Event::TurnsDropped { .. } => {}
        }
    }
    Err(no_answer())
}

/// Returns the prompt of a completion.
fn prompt(message: Option<&str>, args: &GenerateArgs, found: &Found) -> anyhow::Result<Vec<u32>> {
    let Some(text) = message else {
        return Ok(args.ids.clone());
    };
    Ok(match args.raw {
        true => found.tokenizer().map_err(build_failed)?.encode(text)?,
        false => found.prompts().map_err(build_failed)?.prompt(&[], text)?,
    })
}

/// Continues ids or text with the stop rules of the flags.
fn complete(
    prompt: Vec<u32>,
    by_ids: bool,
    args: &GenerateArgs,
    cli: &Cli,
    printer: &Printer,
    engine: &Engine,
    interrupts: &Interrupts,
) -> anyhow::Result<Outcome> {
    // Embedding rows beyond the tokenizer's tokens are untrained.
    if by_ids && let Some(tokenizer) = engine.tokenizer() {
        tokenizer.check_ids(&prompt)?;
    }
    let stop = StopRules {
        max_new_tokens: cli.answer.max_new_tokens,
        stop_strings: args.stop.clone(),
        time_limit: cli.answer.max_time,
        ..if args.ignore_eos {
            StopRules::default()
        } else {
            StopRules::end_of_text(engine.model_config())
        }
    };
    let vocabulary = if by_ids {
        Vocabulary::EveryRow
    } else {
        Vocabulary::RealTokens
    };
    let sampling = open::sampling(&cli.answer);
    let run = engine.submit(Request {
        stop,
        vocabulary,
        ..Request::new(prompt, sampling)
    })?;
    let _guard = interrupts.stop_with(run.cancel_handle());
    let (prefill, mut has_output) = (PrefillBar::new(printer), false);
    for event in run {
        match event {
            Event::Started {
                prompt_tokens,
                reused_tokens,
            } => prefill.start(prompt_tokens, reused_tokens),
            Event::Prefill { done, .. } => prefill.advance(done),
            Event::Text { .. } if args.json => prefill.clear(),
            Event::Text { id: Some(id), .. } if engine.tokenizer().is_none() => {
                prefill.clear();
                has_output = true;
                printer.answer(&format!("{id} "))?;
            }
            Event::Text { piece, .. } => {
                prefill.clear();
                has_output = true;
                printer.answer(&piece)?;
            }
            Event::Finished(outcome) => return Ok(outcome),
            Event::Failed(error) => return Err(failed(error, has_output, printer)),
            Event::TurnsDropped { .. } => {}
        }
    }
    Err(no_answer())
}

/// Returns the error, after a line end if a part of the answer was printed.
fn failed(error: EngineError, has_output: bool, printer: &Printer) -> anyhow::Error {
    if has_output && let Err(error) = printer.answer("\n") {
        return error.into();
    }
    CliError::new(msg!("cannot-generate")).because(error).into()
}

fn no_answer() -> anyhow::Error {
    CliError::new(msg!("ended-without-answer")).into()
}

fn message(args: &GenerateArgs) -> anyhow::Result<String> {
    let text = match &args.message {
        Some(message) => message.clone(),
        None => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context(msg!("cannot-read-stdin"))?;
            unicode::decode_text(&bytes).context(msg!("stdin-not-text"))?
        }
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if text.is_empty() {
        return Err(CliError::new(msg!("no-message")).into());
    }
    Ok(text.to_owned())
}

fn to_json(outcome: &Outcome) -> serde_json::Value {
    let Outcome {
        cause,
        ids,
        text,
        usage,
        timings,
    } = outcome;
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
