//! A conversation over an engine: turns as ids, the window rule, plugin turns.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use moss_sampling::SamplingParams;
use moss_text::{
    Conversation, PromptBuilder, SegmentKind, SegmentStream, SystemText, Tokenizer, Turn, turns_to_drop,
};

use crate::{CancelHandle, Engine, EngineError, Event, Outcome, Request, Run, Session, StopRules};

/// How a chat answers.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens of an answer at most; `None` for as many as the window holds.
    pub max_new_tokens: Option<usize>,
    /// Time of an answer at most.
    pub time_limit: Option<Duration>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { sampling: SamplingParams::chat(), max_new_tokens: None, time_limit: None }
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

/// What the user of a chat gets to see, in this order; exactly one last `Finished` or `Failed`.
#[derive(Debug, Clone)]
pub enum ChatEvent {
    /// So many of the oldest turns no longer fit the window.
    TurnsDropped {
        /// How many went just now.
        count: usize,
    },
    /// The answer has begun; see [`Event::Started`].
    Started {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Those found in the cache.
        reused_tokens: usize,
    },
    /// See [`Event::Prefill`].
    Prefill {
        /// Tokens done.
        done: usize,
        /// Tokens in all.
        total: usize,
    },
    /// Text of one part of the answer, without labels and without white space at the part's beginning.
    Text {
        /// The part.
        kind: SegmentKind,
        /// Whole characters.
        piece: String,
    },
    /// The turn is part of the conversation now.
    Finished(Outcome),
    /// The conversation is as it was before.
    Failed(EngineError),
}

impl Chat {
    /// An empty conversation.
    pub fn new(engine: Arc<Engine>, builder: PromptBuilder, options: ChatOptions) -> Self {
        let session = engine.session();
        Self { engine, session, builder, turns: Vec::new(), first_shown: 0, options }
    }

    /// Answers `user`.
    ///
    /// # Errors
    /// [`EngineError::Text`] when the message alone does not fit the window; errors of [`Engine::submit`].
    pub fn ask(&mut self, user: &str) -> Result<ChatRun<'_>, EngineError> {
        self.run(Turn { user: user.to_owned(), reply: Vec::new() }, None)
    }

    /// Answers the last message once more; the old answer comes back if the new one fails.
    ///
    /// # Errors
    /// [`EngineError::NoTurn`] in an empty conversation; as [`Chat::ask`].
    pub fn regenerate(&mut self) -> Result<ChatRun<'_>, EngineError> {
        let old = self.turns.pop().ok_or(EngineError::NoTurn("no answer to make again"))?;
        self.first_shown = self.first_shown.min(self.turns.len());
        self.run(Turn { user: old.user.clone(), reply: Vec::new() }, Some(old))
    }

    /// Goes on after the last turn's commands, with these results.
    ///
    /// # Errors
    /// [`EngineError::NoTurn`] when no turn waits for results; as [`Chat::ask`].
    pub fn results(&mut self, text: &str) -> Result<ChatRun<'_>, EngineError> {
        if !self.awaits_results() {
            return Err(EngineError::NoTurn("no command that waits for results"));
        }
        let results = self.builder.results(text)?;
        let old = self.turns.pop().ok_or(EngineError::NoTurn("no command that waits for results"))?;
        let mut turn = old.clone();
        turn.reply.extend(results);
        self.run(turn, Some(old))
    }

    /// Whether the last turn ended in commands.
    pub fn awaits_results(&self) -> bool {
        let eoc = self.builder.tokenizer().special().ok().and_then(|special| special.eoc);
        let last = self.turns.last().and_then(|turn| turn.reply.last());
        last.is_some() && last == eoc.as_ref()
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
        let used = match self.turns[self.first_shown..].split_last() {
            Some((last, before)) => self.builder.prompt(before, &last.user)?.len() + last.reply.len(),
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
        match self.submit(&turn) {
            Ok((run, segments, dropped)) => {
                let first = (dropped > 0).then_some(ChatEvent::TurnsDropped { count: dropped });
                let ready = first.into_iter().collect();
                Ok(ChatRun { chat: self, run, segments, turn: Some(turn), old, ready, shown: None })
            }
            Err(error) => {
                self.turns.extend(old);
                Err(error)
            }
        }
    }

    fn submit(&mut self, turn: &Turn) -> Result<(Run, SegmentStream, usize), EngineError> {
        let special = self.tokenizer().special()?;
        let shown = &self.turns[self.first_shown..];
        let len =
            |dropped: usize| Ok(self.builder.prompt(&shown[dropped..], &turn.user)?.len() + turn.reply.len());
        let dropped = turns_to_drop(len, shown.len(), self.options.max_new_tokens, self.engine.window())?;
        let mut prompt = self.builder.prompt(&shown[dropped..], &turn.user)?;
        prompt.extend_from_slice(&turn.reply);
        let with_plugins = self.builder.plugins().is_some();
        let mut stop_ids = vec![special.eom];
        stop_ids.extend(special.eoc.filter(|_| with_plugins));
        stop_ids.extend(self.engine.model_config().eos_token_id);
        let stop = StopRules {
            max_new_tokens: self.options.max_new_tokens,
            stop_ids,
            stop_strings: Vec::new(),
            time_limit: self.options.time_limit,
        };
        let session = Some(self.session.id());
        let request = Request { stop, session, ..Request::new(prompt, self.options.sampling.clone()) };
        let run = self.engine.submit(request)?;
        self.first_shown += dropped;
        // Fresh from the user a plugin model thinks first and says so; after results the label is part of the prompt.
        let thinks = with_plugins && turn.reply.is_empty();
        let kind = if thinks { SegmentKind::Thoughts } else { SegmentKind::Answer };
        Ok((run, SegmentStream::new(self.tokenizer().clone(), special, kind, thinks), dropped))
    }
}

/// An answer in the making. Dropping it cancels it and keeps what there is of it.
#[derive(Debug)]
pub struct ChatRun<'a> {
    chat: &'a mut Chat,
    run: Run,
    segments: SegmentStream,
    /// The turn as it grows; gone once it is part of the conversation.
    turn: Option<Turn>,
    /// The turn that this one replaces.
    old: Option<Turn>,
    ready: VecDeque<ChatEvent>,
    /// The part whose text was shown last.
    shown: Option<SegmentKind>,
}

impl ChatRun<'_> {
    /// Cancels this answer from another thread, or from a signal handler.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.run.cancel_handle()
    }

    /// The seed that makes this answer again.
    pub fn seed(&self) -> u64 {
        self.run.seed()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started { prompt_tokens, reused_tokens } => {
                self.ready.push_back(ChatEvent::Started { prompt_tokens, reused_tokens });
            }
            Event::Prefill { done, total } => self.ready.push_back(ChatEvent::Prefill { done, total }),
            Event::Text { id: Some(id), .. } => {
                if let Some(turn) = &mut self.turn {
                    turn.reply.push(id);
                }
                let texts = self.segments.push(id);
                self.show(texts);
            }
            Event::Text { id: None, .. } => {}
            Event::Finished(outcome) => {
                let texts = self.segments.finish();
                self.show(texts);
                self.chat.turns.extend(self.turn.take());
                self.ready.push_back(ChatEvent::Finished(outcome));
            }
            Event::Failed(error) => {
                self.turn = None;
                self.chat.turns.extend(self.old.take());
                self.ready.push_back(ChatEvent::Failed(error));
            }
        }
    }

    fn show(&mut self, texts: Vec<moss_text::SegmentText>) {
        for text in texts {
            // The space behind a label belongs to the label.
            let begins = self.shown != Some(text.kind);
            let piece = if begins { text.piece.trim_start().to_owned() } else { text.piece };
            if !piece.is_empty() {
                self.shown = Some(text.kind);
                self.ready.push_back(ChatEvent::Text { kind: text.kind, piece });
            }
        }
    }
}

impl Iterator for ChatRun<'_> {
    type Item = ChatEvent;

    fn next(&mut self) -> Option<ChatEvent> {
        while self.ready.is_empty() {
            let event = self.run.next()?;
            self.take(event);
        }
        self.ready.pop_front()
    }
}

impl Drop for ChatRun<'_> {
    fn drop(&mut self) {
        // Cancelled half-way: what was said stays said.
        self.chat.turns.extend(self.turn.take());
    }
}
