//! The turns of a conversation, and their submission to the engine.

use std::sync::Arc;

use moss_text::{NextRun, PromptBuilder, Reply, Turn};

use super::ChatOptions;
use crate::{CancelHandle, Engine, EngineError, Request, Run};

/// A conversation. The engine's prefix cache keeps its keys and values between turns.
#[derive(Debug)]
pub(super) struct ChatState {
    pub(super) engine: Arc<Engine>,
    pub(super) builder: PromptBuilder,
    /// All turns, those before `first_shown` included.
    pub(super) turns: Vec<Turn>,
    /// The first turn that still fits the context length.
    first_shown: usize,
}

/// A turn whose reply is being generated.
pub(super) struct SubmittedTurn {
    pub(super) run: Run,
    pub(super) reply: Reply,
    /// Turns that this one removed from the prompt.
    pub(super) dropped: usize,
}

impl ChatState {
    pub(super) fn new(engine: Arc<Engine>, builder: PromptBuilder) -> Self {
        Self {
            engine,
            builder,
            turns: Vec::new(),
            first_shown: 0,
        }
    }

    /// Returns the turns that the model sees.
    pub(super) fn shown(&self) -> &[Turn] {
        self.turns.get(self.first_shown..).unwrap_or_default()
    }

    pub(super) fn pop(&mut self) -> Option<Turn> {
        let turn = self.turns.pop()?;
        self.first_shown = self.first_shown.min(self.turns.len());
        Some(turn)
    }

    pub(super) fn set_turns(&mut self, turns: Vec<Turn>) {
        self.turns = turns;
        self.first_shown = 0;
    }

    /// Submits a turn, which may have a reply to continue. Drops the oldest turns if the prompt
    /// would exceed the context length.
    pub(super) fn submit_turn(
        &mut self,
        turn: &Turn,
        options: &ChatOptions,
    ) -> Result<SubmittedTurn, EngineError> {
        let max_new_tokens = options.max_new_tokens;
        let layout = self.builder.layout(self.shown(), &turn.user, &turn.reply)?;
        let dropped = layout.fit(max_new_tokens, self.engine.context_length())?;
        let prompt = layout.into_prompt(dropped)?;
        let eos = self.engine.model_config().eos_token_id;
        let (reply, next) = Reply::begin(&self.builder, eos, prompt, max_new_tokens);
        let run = self.submit(next, options, CancelHandle::default(), None)?;
        self.first_shown += dropped;
        Ok(SubmittedTurn {
            run,
            reply,
            dropped,
        })
    }

    /// Submits one run of a reply.
    pub(super) fn submit(
        &self,
        next: NextRun,
        options: &ChatOptions,
        cancel: CancelHandle,
        seed: Option<u64>,
    ) -> Result<Run, EngineError> {
        let mut sampling = options.sampling.clone();
        sampling.seed = seed.or(sampling.seed);
        let mut request = Request::of(next, sampling);
        request.stop.time_limit = options.time_limit;
        self.engine.submit_with(request, cancel)
    }
}
