//! Conversations: turns as token ids, the context length, and turns with plugins.

mod batch;
mod options;
mod run;
mod state;

use std::sync::Arc;

use moss_text::{Conversation, PromptBuilder, SystemText, Turn};

use self::state::ChatState;
pub use self::{batch::Batch, options::ChatOptions, run::ChatRun};
use crate::{Engine, EngineError};

/// A conversation. Its KV cache is kept between turns, so only new tokens are prefilled.
#[derive(Debug)]
pub struct Chat {
    state: ChatState,
    /// Settings of replies. Changes apply to the next one.
    pub options: ChatOptions,
}

impl Chat {
    /// Creates an empty conversation.
    pub fn new(engine: Arc<Engine>, builder: PromptBuilder, options: ChatOptions) -> Self {
        Self {
            state: ChatState::new(engine, builder),
            options,
        }
    }

    /// Generates a reply to `user`. If a plugin model calls no plugin, its reply continues without
    /// results; see [`Chat::awaits_results`] for the other case. The message stays in the
    /// conversation even if the reply fails.
    ///
    /// # Errors
    /// [`EngineError::Text`] if the message alone exceeds the context length; errors of
    /// [`Engine::submit`].
    pub fn ask(&mut self, user: &str) -> Result<ChatRun<'_>, EngineError> {
        let turn = Turn {
            user: user.to_owned(),
            reply: Vec::new(),
        };
        self.run(turn, None)
    }

    /// Generates another reply to the last message. The old reply is restored if the new one is
    /// cancelled before its first token, or fails before it contains the old one.
    ///
    /// # Errors
    /// [`EngineError::NothingToRegenerate`] in an empty conversation; as [`Chat::ask`].
    pub fn regenerate(&mut self) -> Result<ChatRun<'_>, EngineError> {
        let old = self.state.pop().ok_or(EngineError::NothingToRegenerate)?;
        let turn = Turn {
            user: old.user.clone(),
            reply: Vec::new(),
        };
        self.run(turn, Some(old))
    }

    /// Continues the last reply after its plugin calls, with these results.
    ///
    /// # Errors
    /// [`EngineError::NoPendingCommand`] if no turn waits for results; as [`Chat::ask`].
    pub fn results(&mut self, text: &str) -> Result<ChatRun<'_>, EngineError> {
        if !self.awaits_results() {
            return Err(EngineError::NoPendingCommand);
        }
        let results = self.state.builder.results(text)?;
        let old = self.state.turns.pop();
        let old = old.ok_or(EngineError::NoPendingCommand)?;
        let mut turn = old.clone();
        turn.reply.extend(results);
        self.run(turn, Some(old))
    }

    /// Returns `true` if the last turn ended in plugin calls whose results [`Chat::results`] takes.
    pub fn awaits_results(&self) -> bool {
        let last = self.state.turns.last();
        last.is_some_and(|turn| self.state.builder.ends_in_commands(&turn.reply))
    }

    /// Returns the plugin calls whose results [`Chat::results`] takes, as the model wrote them;
    /// `None` if the last turn did not end in plugin calls.
    pub fn pending_commands(&self) -> Option<String> {
        let last = self.state.turns.last()?;
        self.state.builder.pending_commands(&last.reply)
    }

    /// Removes the last turn and returns the user's message.
    pub fn undo(&mut self) -> Option<String> {
        Some(self.state.pop()?.user)
    }

    /// Removes all turns.
    pub fn clear(&mut self) {
        self.state.set_turns(Vec::new());
    }

    /// Returns the system prompt.
    pub fn system(&self) -> &SystemText {
        self.state.builder.system()
    }

    /// Replaces the system prompt and keeps the turns.
    pub fn set_system(&mut self, system: SystemText) {
        self.state.builder.set_system(system);
    }

    /// Returns all turns, including those that no longer fit the context length.
    pub fn turns(&self) -> &[Turn] {
        &self.state.turns
    }

    /// Returns the conversation in the form that is saved.
    pub fn conversation(&self) -> Conversation {
        let builder = &self.state.builder;
        Conversation::new(builder.system(), &self.state.turns, builder.tokenizer())
    }

    /// Replaces the conversation by a saved one.
    ///
    /// # Errors
    /// [`EngineError::Text`] if it cannot be tokenized; the conversation is unchanged then.
    pub fn load(&mut self, saved: &Conversation) -> Result<(), EngineError> {
        let turns = saved.turns(self.state.builder.tokenizer())?;
        self.state.set_turns(turns);
        self.state.builder.set_system(saved.system());
        Ok(())
    }

    /// Returns the number of tokens that the model would see now, and the context length.
    ///
    /// # Errors
    /// [`EngineError::Text`] if the conversation cannot be tokenized.
    pub fn context(&self) -> Result<(usize, usize), EngineError> {
        let used = match self.state.shown().split_last() {
            Some((last, before)) => {
                let builder = &self.state.builder;
                let layout = builder.layout(before, &last.user, &last.reply)?;
                layout.tokens(0..before.len(), true)
            }
            None => 0,
        };
        Ok((used, self.state.engine.context_length()))
    }

    /// Returns the engine that generates the replies.
    pub fn engine(&self) -> &Engine {
        &self.state.engine
    }

    fn run(&mut self, turn: Turn, old: Option<Turn>) -> Result<ChatRun<'_>, EngineError> {
        match self.state.submit_turn(&turn, &self.options) {
            Ok(submitted) => Ok(ChatRun::new(
                &mut self.state,
                &self.options,
                submitted,
                turn,
                old,
            )),
            Err(error) => {
                self.state.turns.extend(old);
                Err(error)
            }
        }
    }
}
