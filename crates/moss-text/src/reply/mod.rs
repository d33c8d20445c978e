//! The state machine of a reply, which takes one or more runs of the model. It has no I/O: the
//! caller runs the model.

mod outcome;
mod stop;
mod text;

pub use self::{
    outcome::{Outcome, StopCause, Timings, Usage},
    text::{Piece, ReplyText, TextMode, TokenText},
};
use crate::{EMPTY_PART, Prompt, PromptBuilder, SegmentKind, TextError};

/// The input of a run of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRun {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// The format of the run's text.
    pub text: TextMode,
    /// Tokens that end the run.
    pub stop_ids: Vec<u32>,
    /// The most tokens to generate; `None` for no limit.
    pub max_new_tokens: Option<usize>,
    /// Is true for every run of a reply except the first.
    pub is_follow_up: bool,
}

/// The step after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The reply is complete, or has ended early.
    Done,
    /// The model has called plugins; [`Reply::results`] takes their results.
    NeedsResults {
        /// The calls.
        commands: String,
    },
    /// The reply continues with another run.
    Run(NextRun),
}

/// A reply that is being generated.
///
/// [`Reply::begin`] returns the first run. [`Reply::push`] takes its tokens and text, and
/// [`Reply::end`] its outcome, and returns the next step. If a plugin model calls no plugin, it gets
/// [`EMPTY_PART`] as results, once, and continues with its answer.
#[derive(Debug, Clone)]
pub struct Reply {
    builder: PromptBuilder,
    stop_ids: Vec<u32>,
    max_new_tokens: Option<usize>,
    /// Only for plugin models: other replies have one run.
    prompt: Vec<u32>,
    ids: Vec<u32>,
    /// Text of the commands of this run.
    commands: String,
    /// Is true after the run that follows empty commands has started.
    is_continued: bool,
    outcome: Option<Outcome>,
}

impl Reply {
    /// Begins a reply to `prompt` of at most `max_new_tokens` over all its runs, and returns its
    /// first run. `eos` is the end-of-text token of the model's configuration.
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
            is_continued: false,
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
            is_follow_up: false,
        };
        (reply, run)
    }

    /// Adds a token, or text that was held back, of the segment `kind`.
    pub fn push(&mut self, id: Option<u32>, kind: SegmentKind, text: &str) {
        self.ids.extend(id);
        if kind == SegmentKind::Commands {
            self.commands.push_str(text);
        }
    }

    /// Ends a run and returns the next step.
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
            && !self.is_continued
            && self.may_continue()
            && let Ok(run) = self.results(EMPTY_PART)
        {
            self.is_continued = true;
            return Step::Run(run);
        }
        Step::NeedsResults { commands }
    }

    /// Continues after the commands, with these results.
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
            is_follow_up: true,
        })
    }

    /// Returns true if tokens are left for a run after [`Reply::results`].
    pub fn may_continue(&self) -> bool {
        self.left() != Some(0)
    }

    /// Returns the ids that followed the prompt: generated ones, and results between them.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Takes the combined outcome of all runs so far.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Returns the number of tokens that may still be generated.
    fn left(&self) -> Option<usize> {
        let outcome = self.outcome.as_ref();
        let generated = outcome.map_or(0, |outcome| outcome.usage.generated_tokens);
        Some(self.max_new_tokens?.saturating_sub(generated))
    }
}
