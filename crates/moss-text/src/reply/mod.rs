//! One reply over one run of the model or several: what ends a run, what the next one is given, and
//! what all of them took. No I/O: the owner runs the model.

mod outcome;
mod stop;
mod text;

pub use self::{
    outcome::{Outcome, StopCause, Timings, Usage},
    text::{Piece, ReplyText, TextMode, TokenText},
};
use crate::{EMPTY_PART, Prompt, PromptBuilder, SegmentKind, TextError};

/// What a run of the model is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRun {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// What the run's text is.
    pub text: TextMode,
    /// Tokens that end the run.
    pub stop_ids: Vec<u32>,
    /// Tokens to generate at most; `None` for no limit.
    pub max_new_tokens: Option<usize>,
}

/// What follows a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The reply is complete, or has ended early.
    Done,
    /// The model has called plugins; [`Reply::results`] goes on with their results.
    NeedsResults {
        /// The calls.
        commands: String,
    },
    /// The model goes on by itself.
    Run(NextRun),
}

/// A reply in the making.
///
/// [`Reply::begin`] gives the first run; its tokens and text go in with [`Reply::push`] and its
/// outcome with [`Reply::end`], which tells what follows. A plugin model that calls no plugin is
/// told that there are no results, once, and goes on to its answer.
#[derive(Debug, Clone)]
pub struct Reply {
    builder: PromptBuilder,
    stop_ids: Vec<u32>,
    max_new_tokens: Option<usize>,
    /// Kept for plugin models alone: other replies are one run.
    prompt: Vec<u32>,
    ids: Vec<u32>,
    /// Text of the commands of this run.
    commands: String,
    /// The model has gone on by itself.
    has_gone_on: bool,
    outcome: Option<Outcome>,
}

impl Reply {
    /// A reply to `prompt` of at most `max_new_tokens` over all its runs, and its first run. `eos`
    /// is the end token of the model's config.
    pub fn begin(
        builder: &PromptBuilder,
        eos: Option<u32>,
        prompt: Prompt,
        max_new_tokens: Option<usize>,
    ) -> (Self, NextRun) {
        let Prompt {
            ids,
            next,
            continues,
            ..
        } = prompt;
        let has_plugins = builder.plugins().is_some();
        let stop_ids = builder.stop_ids(eos);
        let reply = Self {
            builder: builder.clone(),
            stop_ids: stop_ids.clone(),
            max_new_tokens,
            prompt: if has_plugins { ids.clone() } else { Vec::new() },
            ids: Vec::new(),
            commands: String::new(),
            has_gone_on: false,
            outcome: None,
        };
        let text = if has_plugins {
            TextMode::Plugin {
                first: next,
                continues,
            }
        } else {
            TextMode::Answer { continues }
        };
        let run = NextRun {
            prompt: ids,
            text,
            stop_ids,
            max_new_tokens,
        };
        (reply, run)
    }

    /// Adds a token, or text that was held back, of the part `kind`.
    pub fn push(&mut self, id: Option<u32>, kind: SegmentKind, text: &str) {
        self.ids.extend(id);
        if kind == SegmentKind::Commands {
            self.commands.push_str(text);
        }
    }

    /// Ends a run and tells what follows.
    pub fn end(&mut self, outcome: Outcome) -> Step {
        match &mut self.outcome {
            Some(before) => before.join(outcome),
            None => self.outcome = Some(outcome),
        }
        if !self.builder.ends_in_commands(&self.ids) {
            return Step::Done;
        }
        let commands = self.commands.trim().to_owned();
        if commands == EMPTY_PART
            && !self.has_gone_on
            && self.left() != Some(0)
            && let Ok(run) = self.results(EMPTY_PART)
        {
            self.has_gone_on = true;
            return Step::Run(run);
        }
        Step::NeedsResults { commands }
    }

    /// Goes on after the commands, with these results.
    ///
    /// # Errors
    /// As [`PromptBuilder::results`].
    pub fn results(&mut self, text: &str) -> Result<NextRun, TextError> {
        self.ids.extend(self.builder.results(text)?);
        self.commands.clear();
        Ok(NextRun {
            prompt: [&self.prompt[..], &self.ids].concat(),
            text: TextMode::Plugin {
                first: SegmentKind::Answer,
                continues: false,
            },
            stop_ids: self.stop_ids.clone(),
            max_new_tokens: self.left(),
        })
    }

    /// Returns the ids that followed the prompt: generated ones, and results between them.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Takes the outcome of all runs so far.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Tokens that may still be generated.
    fn left(&self) -> Option<usize> {
        let outcome = self.outcome.as_ref();
        let generated = outcome.map_or(0, |outcome| outcome.usage.generated_tokens);
        Some(self.max_new_tokens?.saturating_sub(generated))
    }
}
