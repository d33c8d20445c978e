//! One answer in a conversation, in parts as they come: what MOSS says, and what a plugin model thinks and commands besides.

use moss_engine::{Event, Outcome, TokenLogprobs};
use moss_text::{EMPTY_PART, PromptBuilder, SegmentKind, SegmentStream};

use super::prompt::Prompt;
use crate::{
    ServedModel, error::ApiError, generation::Generation, plan::Plan, state::Shared, wire::answer::Aside,
};

/// A part of an answer.
pub(super) enum Part {
    Said { content: String, aside: Aside, logprobs: Option<(u32, Box<TokenLogprobs>)> },
    Done(Outcome),
}

pub(super) struct Speaker {
    state: Shared,
    model: ServedModel,
    plan: Plan,
    index: usize,
    generation: Generation,
    /// Prompt and answer; kept for plugin models alone, which may have to go on from there.
    ids: Vec<u32>,
    plugins: Option<(PromptBuilder, SegmentStream)>,
    commands: String,
    /// The white space at the beginning belongs to the label before it.
    has_spoken: bool,
    /// The part that ended in no command, where the model has gone on since.
    before: Option<Outcome>,
}

impl Speaker {
    /// Queues answer `index` to a prompt.
    pub(super) fn start(
        state: &Shared,
        model: &ServedModel,
        plan: &Plan,
        prompt: &Prompt,
        index: usize,
    ) -> Result<Self, ApiError> {
        let Prompt { builder, ids, next, continues, .. } = prompt;
        let plugins = model.has_plugins.then(|| (builder.clone(), segments(model, *next)));
        let request = plan.request(ids.clone(), model.stop_ids(), index);
        let ids = if model.has_plugins { ids.clone() } else { Vec::new() };
        let generation = Generation::start(state, model, request)?;
        let (state, model, plan) = (state.clone(), model.clone(), plan.clone());
        let (commands, has_spoken, before) = (String::new(), *continues, None);
        Ok(Self { state, model, plan, index, generation, ids, plugins, commands, has_spoken, before })
    }

    /// The next part; [`Part::Done`] is the last.
    pub(super) async fn next(&mut self) -> Result<Part, ApiError> {
        loop {
            match self.generation.next().await? {
                Event::Text { id, piece, logprobs } => {
                    let logprobs = id.zip(logprobs);
                    let (content, aside) = self.sort(id, piece);
                    if !content.is_empty() || aside != Aside::default() || logprobs.is_some() {
                        return Ok(Part::Said { content, aside, logprobs });
                    }
                }
                Event::Finished(outcome) => {
                    if let Some(outcome) = self.go_on(outcome)? {
                        return Ok(Part::Done(outcome));
                    }
                }
                _ => {}
            }
        }
    }

    /// What is said, and what is not for the user.
    fn sort(&mut self, id: Option<u32>, piece: String) -> (String, Aside) {
        let (mut content, mut aside) = (String::new(), Aside::default());
        match (&mut self.plugins, id) {
            (None, _) => content = piece,
            (Some(_), None) => {} // the segments have it
            (Some((_, segments)), Some(id)) => {
                self.ids.push(id);
                for part in segments.push(id) {
                    match part.kind {
                        SegmentKind::Answer => content.push_str(&part.piece),
                        SegmentKind::Thoughts => aside.thoughts.push_str(&part.piece),
                        SegmentKind::Commands => {
                            self.commands.push_str(&part.piece);
                            aside.commands.push_str(&part.piece);
                        }
                    }
                }
            }
        }
        if !self.has_spoken {
            content = content.trim_start().to_owned();
            self.has_spoken = !content.is_empty();
        }
        (content, aside)
    }

    /// A model that commands nothing is told so and goes on, once. Gives the outcome back if the answer is over instead.
    fn go_on(&mut self, outcome: Outcome) -> Result<Option<Outcome>, ApiError> {
        if let Some(first) = self.before.take() {
            return Ok(Some(together(first, outcome)));
        }
        let left = self.plan.max_tokens.saturating_sub(outcome.usage.generated_tokens);
        let commands_nothing =
            self.ids.last().copied() == self.model.special.eoc && self.commands.trim() == EMPTY_PART;
        let Some((builder, segments_now)) = self.plugins.as_mut().filter(|_| commands_nothing && left > 0)
        else {
            return Ok(Some(outcome));
        };
        self.ids.extend(builder.results(EMPTY_PART)?);
        *segments_now = segments(&self.model, SegmentKind::Answer);
        let plan = Plan { max_tokens: left, ..self.plan.clone() };
        let request = plan.request(self.ids.clone(), self.model.stop_ids(), self.index);
        self.generation = Generation::start(&self.state, &self.model, request)?;
        self.before = Some(outcome);
        Ok(None)
    }
}

/// A reply that begins with `kind`: fresh from the user a plugin model labels its thoughts, after results the label is part of the prompt.
fn segments(model: &ServedModel, kind: SegmentKind) -> SegmentStream {
    let labelled = kind == SegmentKind::Thoughts;
    SegmentStream::new(model.tokenizer.clone(), model.special, kind, labelled)
}

/// Two parts of one answer: everything added up, but the prompt, which is the first one's.
fn together(mut first: Outcome, second: Outcome) -> Outcome {
    first.cause = second.cause;
    first.usage.generated_tokens += second.usage.generated_tokens;
    first.timings.decode += second.timings.queued + second.timings.prefill + second.timings.decode;
    first
}
