//! One answer in a conversation, in parts as they come: what MOSS says, and what a plugin model
//! thinks and commands besides.

use moss_engine::{Event, Outcome, TokenLogprobs};
use moss_text::{EMPTY_PART, Prompt, PromptBuilder, SegmentKind, SegmentStream, TokenAlignment};

use super::prompt::ChatPrompt;
use crate::{
    ServedModel,
    error::ApiError,
    generation::{Admission, Generation},
    plan::Plan,
    routes::likelihoods::LikelyToken,
    state::Shared,
    wire::answer::Aside,
};

/// A part of an answer.
pub(super) enum Part {
    /// `tokens` are those of `content`, where their likelihoods were asked for.
    Said {
        content: String,
        aside: Aside,
        tokens: Vec<LikelyToken>,
    },
    Done(Outcome),
}

pub(super) struct Speaker {
    state: Shared,
    model: ServedModel,
    plan: Plan,
    index: usize,
    generation: Generation,
    admission: Admission,
    /// Prompt and answer; kept for plugin models alone, which may have to go on from there.
    ids: Vec<u32>,
    plugins: Option<(PromptBuilder, SegmentStream)>,
    commands: String,
    /// The white space at the beginning belongs to the label before it.
    has_spoken: bool,
    /// The part that ended in no command, where the model has gone on since.
    before: Option<Outcome>,
    /// Which tokens the content comes from, where their likelihoods were asked for.
    alignment: Option<TokenAlignment<(u32, Box<TokenLogprobs>)>>,
    /// Told once the last of the content is.
    done: Option<Outcome>,
}

impl Speaker {
    /// Queues answer `index` to a prompt.
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
        let Prompt {
            ids,
            next,
            continues,
            ..
        } = prompt;
        let plugins = model
            .has_plugins
            .then(|| (builder.clone(), segments(model, *next)));
        let request = plan.request(ids.clone(), model.stop_ids(), index);
        let ids = if model.has_plugins {
            ids.clone()
        } else {
            Vec::new()
        };
        let generation = Generation::start(state, model, request, admission)?;
        let (state, model, plan) = (state.clone(), model.clone(), plan.clone());
        let admission = admission.clone();
        let (commands, has_spoken, before, done) = (String::new(), *continues, None, None);
        let alignment = plan
            .logprobs
            .map(|_| TokenAlignment::new(model.tokenizer.clone()));
        Ok(Self {
            state,
            model,
            plan,
            index,
            generation,
            admission,
            ids,
            plugins,
            commands,
            has_spoken,
            before,
            alignment,
            done,
        })
    }

    /// What it waits for.
    pub(super) fn generation(&mut self) -> &mut Generation {
        &mut self.generation
    }

    /// The next part; [`Part::Done`] is the last.
    pub(super) async fn next(&mut self) -> Result<Part, ApiError> {
        if let Some(outcome) = self.done.take() {
            return Ok(Part::Done(outcome));
        }
        loop {
            match self.generation.next().await? {
                Event::Text {
                    id,
                    piece,
                    logprobs,
                } => {
                    if let (Some(alignment), Some(token)) = (&mut self.alignment, id.zip(logprobs))
                    {
                        alignment.push(token.0, token);
                    }
                    let (content, aside) = self.sort(id, piece);
                    let (content, tokens) = match &mut self.alignment {
                        // Content comes with its tokens, which may be later than the content alone.
                        Some(alignment) => alignment.complete(),
                        None => (content, Vec::new()),
                    };
                    if !content.is_empty() || aside != Aside::default() {
                        return Ok(Part::Said {
                            content,
                            aside,
                            tokens,
                        });
                    }
                }
                Event::Finished(outcome) => {
                    let over = self.go_on(outcome)?;
                    let rest = self.alignment.as_mut().map(TokenAlignment::finish);
                    match (rest, over) {
                        (Some((content, tokens)), over) if !content.is_empty() => {
                            self.done = over;
                            return Ok(Part::Said {
                                content,
                                aside: Aside::default(),
                                tokens,
                            });
                        }
                        (_, Some(outcome)) => return Ok(Part::Done(outcome)),
                        (_, None) => {} // the model goes on
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
            (None, _) => content.push_str(&self.said(&piece)),
            (Some(_), None) => {} // the segments have it
            (Some((_, segments)), Some(id)) => {
                self.ids.push(id);
                let parts = segments.push(id);
                let removed = segments.removed();
                self.skip(removed);
                for part in parts {
                    if part.kind != SegmentKind::Answer {
                        self.skip(part.piece.len());
                    }
                    match part.kind {
                        SegmentKind::Answer => content.push_str(&self.said(&part.piece)),
                        SegmentKind::Thoughts => aside.thoughts.push_str(&part.piece),
                        SegmentKind::Commands => {
                            self.commands.push_str(&part.piece);
                            aside.commands.push_str(&part.piece);
                        }
                    }
                }
            }
        }
        (content, aside)
    }

    /// Content without the white space that belongs to the label before it.
    fn said(&mut self, text: &str) -> String {
        let kept = if self.has_spoken {
            text
        } else {
            text.trim_start()
        };
        self.has_spoken |= !kept.is_empty();
        self.skip(text.len() - kept.len());
        if let Some(alignment) = &mut self.alignment {
            alignment.release(kept);
        }
        kept.to_owned()
    }

    /// Text of tokens that is no content.
    fn skip(&mut self, bytes: usize) {
        if let Some(alignment) = &mut self.alignment {
            alignment.skip(bytes);
        }
    }

    /// A model that commands nothing is told so and goes on, once. Gives the outcome back if the
    /// answer is over instead.
    fn go_on(&mut self, outcome: Outcome) -> Result<Option<Outcome>, ApiError> {
        if let Some(first) = self.before.take() {
            return Ok(Some(together(first, outcome)));
        }
        let left = self
            .plan
            .max_tokens
            .saturating_sub(outcome.usage.generated_tokens);
        let commands_nothing = self.ids.last().copied() == self.model.special.eoc
            && self.commands.trim() == EMPTY_PART;
        let Some((builder, segments_now)) = self
            .plugins
            .as_mut()
            .filter(|_| commands_nothing && left > 0)
        else {
            return Ok(Some(outcome));
        };
        self.ids.extend(builder.results(EMPTY_PART)?);
        *segments_now = segments(&self.model, SegmentKind::Answer);
        let plan = Plan {
            max_tokens: left,
            ..self.plan.clone()
        };
        let request = plan.request(self.ids.clone(), self.model.stop_ids(), self.index);
        self.generation = Generation::start(&self.state, &self.model, request, &self.admission)?;
        self.before = Some(outcome);
        Ok(None)
    }
}

/// A reply that begins with `kind`: fresh from the user a plugin model labels its thoughts, after
/// results the label is part of the prompt.
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
