//! Several messages at the same time, each in a separate conversation.

use std::sync::Arc;

use moss_text::PromptBuilder;

use super::{Chat, ChatOptions, ChatRun};
use crate::{Engine, EngineError, Event, Outcome};

/// Generates replies to independent messages, as one batch of sequences.
#[derive(Debug)]
pub struct Batch {
    engine: Arc<Engine>,
    prompts: PromptBuilder,
    options: ChatOptions,
}

impl Batch {
    /// Creates a batch whose conversations have the same prompts and options.
    pub fn new(engine: Arc<Engine>, prompts: PromptBuilder, options: ChatOptions) -> Self {
        Self {
            engine,
            prompts,
            options,
        }
    }

    /// Submits all messages and returns the results in the same order.
    pub fn ask_all(&mut self, messages: &[&str]) -> Vec<Result<Outcome, EngineError>> {
        let chat = || {
            let engine = self.engine.clone();
            Chat::new(engine, self.prompts.clone(), self.options.clone())
        };
        let mut chats: Vec<Chat> = messages.iter().map(|_| chat()).collect();
        let asked = chats.iter_mut().zip(messages);
        let runs: Vec<_> = asked.map(|(chat, message)| chat.ask(message)).collect();
        runs.into_iter().map(|run| wait(run?)).collect()
    }
}

fn wait(run: ChatRun<'_>) -> Result<Outcome, EngineError> {
    for event in run {
        match event {
            Event::Finished(outcome) => return Ok(outcome),
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Err(EngineError::ShutDown)
}
