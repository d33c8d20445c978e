//! A conversation over an engine: turns as ids, the window rule, plugin turns.

mod batch;
mod run;

use std::{sync::Arc, time::Duration};

use moss_sampling::SamplingParams;
use moss_text::{Conversation, NextRun, PromptBuilder, Reply, SystemText, Tokenizer, Turn};

pub use self::{batch::Batch, run::ChatRun};
use crate::{CancelHandle, Engine, EngineError, Request, Run, Session};

/// How a chat answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens of an answer at most; `None` for as many as the window holds.
    pub max_new_tokens: Option<usize>,
    /// Time of an answer at most, from its first token.
    pub time_limit: Option<Duration>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            sampling: SamplingParams::CHAT,
            max_new_tokens: None,
            time_limit: None,
        }
    }
}

/// One conversation. Its cache stays between turns: only what is new is run.
#[derive(Debug)]
pub struct Chat {
    engine: Arc<Engine>,
    session: Session,
    builder: PromptBuilder,
    turns: Vec<Turn>,
    /// Turns before this one no longer fit the window; they are kept for the record.
    first_shown: usize,
    /// How answers are made; changes apply from the next one on.
    pub options: ChatOptions,
}

impl Chat {
    /// An empty conversation.
    pub fn new(engine: Arc<Engine>, builder: PromptBuilder, options: ChatOptions) -> Self {
        let session = engine.session();
        Self {
            engine,
            session,
            builder,
            turns: Vec::new(),
            first_shown: 0,
            options,
        }
    }

    /// Answers `user`. A plugin model that commands nothing is told so and goes on by itself; see
    /// [`Chat::awaits_results`] for the others. Whatever becomes of the answer, the question is
    /// part of the conversation from now on.
    ///
    /// # Errors
    /// [`EngineError::Text`] when the message alone does not fit the window; errors of
    /// [`Engine::submit`].
    pub fn ask(&mut self, user: &str) -> Result<ChatRun<'_>, EngineError> {
        self.run(
            Turn {
                user: user.to_owned(),
                reply: Vec::new(),
            },
            None,
        )
    }

    /// Answers the last message once more. The old answer comes back if the new one is cancelled
    /// before it begins, or fails before it holds all that the old one did.
    ///
    /// # Errors
    /// [`EngineError::NothingToRegenerate`] in an empty conversation; as [`Chat::ask`].
    pub fn regenerate(&mut self) -> Result<ChatRun<'_>, EngineError> {
        let old = self.turns.pop().ok_or(EngineError::NothingToRegenerate)?;
        self.first_shown = self.first_shown.min(self.turns.len());
        self.run(
            Turn {
                user: old.user.clone(),
                reply: Vec::new(),
            },
            Some(old),
        )
    }

    /// Goes on after the last turn's commands, with these results.
    ///
    /// # Errors
    /// [`EngineError::NoPendingCommand`] when no turn waits for results; as [`Chat::ask`].
    pub fn results(&mut self, text: &str) -> Result<ChatRun<'_>, EngineError> {
        if !self.awaits_results() {
            return Err(EngineError::NoPendingCommand);
        }
        let results = self.builder.results(text)?;
        let old = self.turns.pop().ok_or(EngineError::NoPendingCommand)?;
        let mut turn = old.clone();
        turn.reply.extend(results);
        self.run(turn, Some(old))
    }

    /// Whether the last turn ended in commands whose results are to be given by [`Chat::results`].
    pub fn awaits_results(&self) -> bool {
        self.turns
            .last()
            .is_some_and(|turn| self.builder.ends_in_commands(&turn.reply))
    }

    /// Takes the last turn back and returns what the user had said.
    pub fn undo(&mut self) -> Option<String> {
        let turn = self.turns.pop()?;
        self.first_shown = self.first_shown.min(self.turns.len());
        Some(turn.user)
    }

    /// Forgets all turns.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.first_shown = 0;
    }

    /// What stands before the first turn.
    pub fn system(&self) -> &SystemText {
        self.builder.system()
    }

    /// Replaces what stands before the first turn; the turns stay.
    pub fn set_system(&mut self, system: SystemText) {
        self.builder.set_system(system);
    }

    /// All turns, those that no longer fit the window included.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The conversation, to be saved.
    pub fn conversation(&self) -> Conversation {
        Conversation::new(self.builder.system(), &self.turns, self.tokenizer())
    }

    /// Replaces the conversation by a saved one.
    ///
    /// # Errors
    /// [`EngineError::Text`] when it cannot be tokenised; the conversation is as it was then.
    pub fn load(&mut self, saved: &Conversation) -> Result<(), EngineError> {
        self.turns = saved.turns(self.builder.tokenizer())?;
        self.first_shown = 0;
        self.builder.set_system(saved.system());
        Ok(())
    }

    /// Tokens of the conversation as the model would see it now, and of the window.
    ///
    /// # Errors
    /// [`EngineError::Text`] when it cannot be tokenised.
    pub fn context(&self) -> Result<(usize, usize), EngineError> {
        let shown = self.turns.get(self.first_shown..).unwrap_or_default();
        let used = match shown.split_last() {
            Some((last, before)) => {
                let layout = self.builder.layout(before, &last.user, &last.reply)?;
                layout.tokens(0..before.len(), true)
            }
            None => 0,
        };
        Ok((used, self.engine.window()))
    }

    /// The engine underneath.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.builder.tokenizer()
    }

    fn run(&mut self, turn: Turn, old: Option<Turn>) -> Result<ChatRun<'_>, EngineError> {
        match self.begin(&turn) {
            Ok(begun) => Ok(ChatRun::new(self, begun, turn, old)),
            Err(error) => {
                self.turns.extend(old);
                Err(error)
            }
        }
    }

    /// Applies the window rule and submits a turn, which may have a reply to go on from.
    fn begin(&mut self, turn: &Turn) -> Result<Begun, EngineError> {
        let shown = self.turns.get(self.first_shown..).unwrap_or_default();
        let max_new_tokens = self.options.max_new_tokens;
        let layout = self.builder.layout(shown, &turn.user, &turn.reply)?;
        let dropped = layout.fit(max_new_tokens, self.engine.window())?;
        let prompt = layout.into_prompt(dropped)?;
        let eos = self.engine.model_config().eos_token_id;
        let (reply, next) = Reply::begin(&self.builder, eos, prompt, max_new_tokens);
        let run = self.submit(next, CancelHandle::default(), None)?;
        self.first_shown += dropped;
        Ok(Begun {
            run,
            reply,
            dropped,
        })
    }

    fn submit(
        &self,
        next: NextRun,
        cancel: CancelHandle,
        seed: Option<u64>,
    ) -> Result<Run, EngineError> {
        let mut sampling = self.options.sampling.clone();
        sampling.seed = seed.or(sampling.seed);
        let mut request = Request::of(next, sampling);
        request.stop.time_limit = self.options.time_limit;
        request.session = Some(self.session.id());
        self.engine.submit_with(request, cancel)
    }
}

/// A turn that was submitted.
struct Begun {
    run: Run,
    reply: Reply,
    /// Turns that no longer fit the window, as of now.
    dropped: usize,
}
