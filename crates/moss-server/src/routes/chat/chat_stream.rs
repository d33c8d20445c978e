//! A streamed answer in a conversation: its text, and the thoughts and commands of plugin models.

use moss_engine::{Event, Outcome};
use moss_text::{NextRun, Reply, SegmentKind, Step};
use moss_unicode::{Context, escape};

use super::prompt::ChatPrompt;
use crate::{
    ServedModel,
    calls::Calls,
    error::ApiError,
    generation::{Admission, Generation},
    plan::Plan,
    routes::likelihoods::Likelihoods,
    state::Shared,
    wire::answer::{ChatLogprob, PluginText},
};

/// A part of an answer.
pub(super) enum Part {
    /// `tokens` are those of `content`, if log probabilities were requested.
    Text {
        content: String,
        plugin_text: PluginText,
        tokens: Vec<ChatLogprob>,
    },
    Done(Outcome),
}

pub(super) struct ChatStream {
    plan: Plan,
    index: usize,
    generation: Generation,
    reply: Reply,
    likelihoods: Option<Likelihoods>,
    state: Shared,
    /// Runs plugin calls, if the request asks for it.
    calls: Option<Calls>,
    /// The number of times that the reply may still call plugins.
    rounds: usize,
}

/// The most times that a reply calls plugins. A trained model does so once.
const MAX_ROUNDS: usize = 1;

impl ChatStream {
    /// Submits answer `index` to a prompt.
    pub(super) fn start(
        state: &Shared,
        model: &ServedModel,
        plan: &Plan,
        prompt: &ChatPrompt,
        index: usize,
        admission: &Admission,
    ) -> Result<Self, ApiError> {
        let ChatPrompt {
            builder, prompt, ..
        } = prompt;
        let most = Some(plan.max_tokens);
        let (reply, run) = Reply::begin(builder, model.eos(), prompt.clone(), most);
        let request = plan.request(run, index);
        Ok(Self {
            plan: plan.clone(),
            index,
            generation: Generation::start(state, model, request, admission)?,
            reply,
            likelihoods: plan.logprobs.map(|_| Likelihoods::new(&model.tokenizer)),
            state: state.clone(),
            calls: None,
            rounds: MAX_ROUNDS,
        })
    }

    /// Runs plugin calls with `calls`.
    pub(super) fn with_calls(self, calls: Option<Calls>) -> Self {
        Self { calls, ..self }
    }

    /// Returns its current generation.
    pub(super) fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }

    /// Returns the next part; [`Part::Done`] is the last.
    pub(super) async fn next(&mut self) -> Result<Part, ApiError> {
        loop {
            match self.generation.next().await? {
                Event::Text {
                    id,
                    kind,
                    piece,
                    tokens,
                    logprobs,
                } => {
                    self.reply.push(id, kind, &piece);
                    let mut likely = Vec::new();
                    if let Some(likelihoods) = &mut self.likelihoods {
                        likelihoods.add(id.zip(logprobs));
                        if kind == SegmentKind::Answer {
                            likely = likelihoods.of_chat(tokens);
                        }
                    }
                    if !piece.is_empty() {
                        return Ok(text(kind, piece, likely));
                    }
                }
                Event::Finished(outcome) => match self.reply.end(outcome) {
                    Step::Run(run) => self.follow_up(run)?,
                    Step::NeedsResults { commands } => {
                        if let Some(part) = self.run_calls(commands).await? {
                            return Ok(part);
                        }
                        return self.done();
                    }
                    Step::Done => return self.done(),
                },
                _ => {}
            }
        }
    }

    fn done(&mut self) -> Result<Part, ApiError> {
        let outcome = self.reply.take_outcome();
        outcome.map(Part::Done).ok_or(ApiError::Internal)
    }

    /// Runs the calls and continues the reply. Returns `None` if the client supplies the results,
    /// or if no tokens are left for an answer.
    async fn run_calls(&mut self, commands: String) -> Result<Option<Part>, ApiError> {
        let calls = self.calls.as_ref().filter(|_| self.rounds > 0);
        let (Some(calls), true) = (calls, self.reply.may_continue()) else {
            return Ok(None);
        };
        let results = calls.run(commands, &self.state.abandon).await?;
        self.rounds -= 1;
        for report in &results.calls {
            if let Err(error) = &report.outcome {
                let name = &report.call.name;
                tracing::warn!(plugin = %escape(name, Context::Line), %error, "no result");
            }
        }
        let run = self.reply.results(&results.text)?;
        self.follow_up(run)?;
        Ok(Some(Part::Text {
            content: String::new(),
            plugin_text: PluginText::from(results),
            tokens: Vec::new(),
        }))
    }

    fn follow_up(&mut self, run: NextRun) -> Result<(), ApiError> {
        let request = self.plan.request(run, self.index);
        if let Some(likelihoods) = &mut self.likelihoods {
            likelihoods.begin_run();
        }
        self.generation.follow_up(request)
    }
}

fn text(kind: SegmentKind, piece: String, tokens: Vec<ChatLogprob>) -> Part {
    let (mut content, mut plugin_text) = (String::new(), PluginText::default());
    match kind {
        SegmentKind::Answer => content = piece,
        SegmentKind::Thoughts => plugin_text.thoughts = piece,
        SegmentKind::Commands => plugin_text.commands = piece,
    }
    Part::Text {
        content,
        plugin_text,
        tokens,
    }
}
