//! A running request: its tokens, its cache blocks, and its text.

mod drafts;

use std::time::{Duration, Instant};

use moss_model::{LogitRows, Logits, SequenceChunk, TokenKind};
use moss_sampling::{Logprobs, SampleRequest, Sampler};
use moss_text::{Piece, ReplyText, SegmentKind, Tokenizer};

use crate::{
    EngineError, Event, Outcome, PromptLimit, StopCause, StopRules, Timings, TokenLogprobs, Usage,
    cache::{SequenceBlocks, SharedCache},
    command::Job,
    drafter::Drafter,
    health::EventSender,
    prefix_cache::BlockKey,
    speed::Speed,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The limit of [`PromptLimit::Measured`], as a multiple of the predicted prefill time. The margin
/// is for other requests and a throttled machine.
const PROMPT_FACTOR: u32 = 4;

/// A running request.
pub(crate) struct Sequence {
    id: u64,
    /// The number of sequences that were admitted before this one.
    pub(crate) admission: u64,
    /// Prompt and reply.
    pub(crate) ids: Vec<u32>,
    pub(crate) blocks: SequenceBlocks,
    pub(crate) owner: Arc<str>,
    pub(crate) cancelled: Arc<AtomicBool>,
    sampler: Sampler,
    /// Ids below this may be sampled.
    allowed: usize,
    stop: StopRules,
    /// The most positions.
    context_length: usize,
    text: Option<ReplyText>,
    /// [`Request::logprobs`](crate::Request::logprobs).
    logprobs: Option<usize>,
    /// [`Request::is_follow_up`](crate::Request::is_follow_up).
    pub(crate) is_follow_up: bool,
    events: Arc<EventSender>,
    usage: Usage,
    pub(crate) submitted: Instant,
    started: Instant,
    /// The time of its last admission.
    resumed: Instant,
    /// Positions of the prompt that have been in the cache at some time.
    prompt_done: usize,
    first_token: Option<Instant>,
    pub(crate) last_token: Option<Instant>,
    /// Prompt tokens to process until its first token: those of this and of earlier sequences.
    work: usize,
    /// The deadline of the first token.
    prompt_deadline: Option<Instant>,
    drafter: Drafter,
}

impl Sequence {
    pub(crate) fn start(
        job: Job,
        tokenizer: Option<&Tokenizer>,
        allowed: usize,
        context_length: usize,
        blocks: SequenceBlocks,
        admission: u64,
        ahead: usize,
    ) -> Self {
        let Job {
            id,
            request,
            sampler,
            events,
            cancelled,
            submitted,
        } = job;
        let cached = blocks.positions();
        let usage = Usage {
            prompt_tokens: request.prompt.len(),
            reused_tokens: cached,
            ..Usage::default()
        };
        let text = tokenizer.map(|tokenizer| {
            let stop = &request.stop.stop_strings;
            ReplyText::new(tokenizer.clone(), request.text, stop, request.align)
        });
        let work = ahead + request.prompt.len() - cached;
        events.set_pending(request.prompt.len() - cached);
        let now = Instant::now();
        let sequence = Self {
            id,
            admission,
            ids: request.prompt,
            blocks,
            owner: request.owner,
            cancelled,
            sampler,
            allowed,
            stop: request.stop,
            context_length,
            text,
            logprobs: request.logprobs,
            is_follow_up: request.is_follow_up,
            events,
            usage,
            submitted,
            started: now,
            resumed: now,
            prompt_done: cached,
            first_token: None,
            last_token: None,
            work,
            prompt_deadline: None,
            drafter: Drafter::default(),
        };
        tracing::debug!(
            sequence = id,
            usage.prompt_tokens,
            usage.reused_tokens,
            "request runs"
        );
        sequence.send(Event::Started {
            prompt_tokens: usage.prompt_tokens,
            reused_tokens: cached,
        });
        sequence
    }

    /// Returns the number of tokens whose keys and values are not in the cache.
    pub(crate) fn pending(&self) -> usize {
        self.ids.len() - self.blocks.positions()
    }

    /// Returns the number of first pending tokens that are of one kind.
    pub(crate) fn pending_of_kind(&self) -> usize {
        let positions = self.blocks.positions();
        match self.kind() {
            TokenKind::Prompt => self.usage.prompt_tokens - positions,
            TokenKind::Generated => self.ids.len() - positions,
        }
    }

    /// Returns the kind of the next pending token. A preempted sequence computes its tokens again as
    /// what they were. Tokens of earlier replies that are not in the cache are part of the prompt:
    /// the last token of a reply, which was never fed back, and all tokens of a conversation that
    /// was evicted.
    pub(crate) fn kind(&self) -> TokenKind {
        if self.blocks.positions() < self.usage.prompt_tokens {
            TokenKind::Prompt
        } else {
            TokenKind::Generated
        }
    }

    pub(crate) fn generated(&self) -> usize {
        self.usage.generated_tokens
    }

    /// Returns the cause if the request ends for a reason other than its tokens.
    pub(crate) fn external_cause(&self) -> Option<StopCause> {
        if self.cancelled.load(Relaxed) {
            return Some(StopCause::Cancelled);
        }
        match self.first_token {
            Some(first) => {
                let late = self
                    .stop
                    .time_limit
                    .is_some_and(|limit| first.elapsed() >= limit);
                late.then_some(StopCause::TimeLimit)
            }
            None => {
                let late = self
                    .prompt_deadline
                    .is_some_and(|deadline| Instant::now() >= deadline);
                late.then_some(StopCause::PromptTimeLimit)
            }
        }
    }

    /// Updates the deadline of the first token with the measured speed.
    pub(crate) fn set_deadline(&mut self, speed: &Speed, floor: Duration) {
        if self.first_token.is_some() {
            return;
        }
        let limit = match self.stop.prompt_limit {
            None => None,
            Some(PromptLimit::Fixed(limit)) => Some(limit),
            Some(PromptLimit::Measured) => {
                let predicted = speed.predict(self.work, 0);
                predicted.map(|time| time.saturating_mul(PROMPT_FACTOR).max(floor))
            }
        };
        self.prompt_deadline = limit.and_then(|limit| self.resumed.checked_add(limit));
    }

    /// Returns the cause if the request ends before the next token. A token whose logits exist is
    /// sampled even after the time limit.
    pub(crate) fn cause_before_sampling(&self) -> Option<StopCause> {
        match self.external_cause() {
            Some(StopCause::Cancelled) => Some(StopCause::Cancelled),
            _ => self.only_fills_cache().then_some(StopCause::MaxNewTokens),
        }
    }

    /// Returns true if no token is generated: the request fills the cache with its prompt.
    fn only_fills_cache(&self) -> bool {
        self.stop.max_new_tokens == Some(0)
    }

    /// Returns the chunk of the next `tokens` pending tokens. `requests` are those of its rows, if
    /// some are drafts.
    pub(crate) fn chunk<'a>(
        &'a self,
        tokens: usize,
        requests: &'a [SampleRequest<'a>],
    ) -> SequenceChunk<'a> {
        let start_pos = self.blocks.positions();
        let logits = if !requests.is_empty() {
            LogitRows::SampleEach(requests)
        } else if tokens == self.pending() {
            self.logits_request()
        } else {
            LogitRows::None
        };
        SequenceChunk {
            token_ids: &self.ids[start_pos..][..tokens],
            kind: self.kind(),
            start_pos,
            blocks: self.blocks.table(),
            logits,
        }
    }

    /// Continues after the blocks that are in the cache by now. Returns the number of prompt tokens
    /// that need not be computed; those of a preempted sequence count once.
    pub(crate) fn reuse(&mut self, cache: &mut SharedCache) -> usize {
        if self.kind() == TokenKind::Generated && !self.blocks.is_replayed() {
            return 0;
        }
        let tokens = if self.blocks.is_replayed() {
            self.ids.len()
        } else {
            self.usage.prompt_tokens
        };
        cache.reuse(&mut self.blocks, &self.ids[..tokens]);
        let reused = self.count_prompt();
        self.usage.reused_tokens += reused;
        reused
    }

    /// Updates the progress of the prompt, and returns the number of tokens that are in the cache
    /// for the first time.
    fn count_prompt(&mut self) -> usize {
        let done = self.blocks.positions().min(self.usage.prompt_tokens);
        let new = done.saturating_sub(self.prompt_done);
        self.prompt_done += new;
        let pending = self.usage.prompt_tokens - self.prompt_done;
        self.events.set_pending(pending);
        new
    }

    /// Releases the cache blocks. Everything else is unchanged.
    pub(crate) fn preempt(mut self, cache: &mut SharedCache) -> Self {
        tracing::debug!(
            sequence = self.id,
            tokens = self.ids.len(),
            "request preempted"
        );
        self.blocks = cache.preempt(self.blocks, &self.ids);
        self.prompt_deadline = None;
        self
    }

    /// Runs again after a preemption; `ahead` is the number of pending tokens of other sequences.
    pub(crate) fn resume(&mut self, ahead: usize) {
        self.resumed = Instant::now();
        self.work = ahead + self.pending();
    }

    pub(crate) fn reused_tokens(&self) -> usize {
        self.usage.reused_tokens
    }

    /// Returns the block that it computes next, if it can be shared.
    pub(crate) fn next_block<'a>(&'a self, cache: &SharedCache) -> Option<BlockKey<'a>> {
        let prompt = &self.ids[..self.usage.prompt_tokens];
        cache.next_block(&self.blocks, prompt)
    }

    /// Counts `tokens` more positions, which are in the cache now.
    pub(crate) fn advance(&mut self, cache: &mut SharedCache, tokens: usize) {
        let kind = self.kind();
        cache.advance(&mut self.blocks, &self.ids, tokens, kind);
        let new = self.count_prompt();
        if new > 0 {
            self.usage.prefilled_tokens += new;
            self.send(Event::Prefill {
                done: self.prompt_done,
                total: self.usage.prompt_tokens,
            });
        }
    }

    /// Returns the request that the model may sample the next token for; log-probabilities need the
    /// whole row.
    fn sample_request(&self) -> Option<SampleRequest<'_>> {
        let request = self
            .sampler
            .request(&self.ids, self.generated(), self.allowed);
        request.filter(|_| self.logprobs.is_none())
    }

    /// Returns what the model computes at the last position: a token if it can sample it.
    fn logits_request(&self) -> LogitRows<'_> {
        if self.only_fills_cache() {
            return LogitRows::None;
        }
        self.sample_request()
            .map_or(LogitRows::Last, LogitRows::Sample)
    }

    /// Adds the next token: row `row` of the model's output, or sampled from it if it is `expected`
    /// logits. Returns the cause if the token is the last one.
    pub(crate) fn sample_next(
        &mut self,
        output: Option<&mut Logits>,
        row: usize,
        expected: usize,
    ) -> Result<Option<StopCause>, EngineError> {
        let step = self.usage.generated_tokens;
        let missing = |found| EngineError::LogitsMissing {
            step,
            found,
            expected,
        };
        let output = output.ok_or(missing(0))?;
        let mut logprobs = None;
        let was_requested = self.sample_request().is_some();
        let id = match output.token_of(row) {
            Some(id) if was_requested => self.sampler.accept(id, step, self.allowed)?,
            Some(_) => return Err(missing(0)), // the request was for all logits
            None => {
                let row = output.logits_of(row).ok_or(missing(0))?;
                if row.len() != expected {
                    return Err(missing(row.len()));
                }
                let wanted = self
                    .logprobs
                    .map(|count| (count, Logprobs::of(row, self.allowed)));
                let id = self.sampler.sample(row, &self.ids, step, self.allowed)?;
                logprobs = wanted.map(|(count, all)| {
                    Box::new(TokenLogprobs {
                        logprob: all.get(id),
                        top: all.top(count),
                    })
                });
                id
            }
        };
        self.ids.push(id);
        self.usage.generated_tokens += 1;
        let now = Instant::now();
        self.first_token.get_or_insert(now);
        self.last_token = Some(now);
        let mut cause = None;
        let mut piece = no_text();
        if let Some(text) = &mut self.text {
            let (shown, found) = text.push(id);
            cause = found.map(StopCause::StopString);
            piece = shown;
        }
        self.send_text(Some(id), piece, logprobs);
        Ok(match cause {
            _ if self.stop.stop_ids.contains(&id) => Some(StopCause::EndOfTurn),
            Some(cause) => Some(cause),
            None if self.stop.max_new_tokens == Some(self.generated()) => {
                Some(StopCause::MaxNewTokens)
            }
            None if self.ids.len() >= self.context_length => Some(StopCause::WindowFull),
            None => None,
        })
    }

    fn send_text(&self, id: Option<u32>, piece: Piece, logprobs: Option<Box<TokenLogprobs>>) {
        let Piece { kind, text, tokens } = piece;
        self.send(Event::Text {
            id,
            kind,
            piece: text,
            tokens,
            logprobs,
        });
    }

    /// Sends text that was held back, and returns the whole text as generated.
    fn finish_text(&mut self) -> String {
        let Some(mut text) = self.text.take() else {
            return String::new();
        };
        if let Some(rest) = text.finish() {
            self.send_text(None, rest, None);
        }
        text.into_raw()
    }

    /// Sends the last event. The cache blocks are not released.
    pub(crate) fn finish(&mut self, cause: StopCause) {
        let text = self.finish_text();
        let now = Instant::now();
        let first = self.first_token.unwrap_or(now);
        let timings = Timings {
            queued: self.started - self.submitted,
            prefill: first - self.started,
            decode: now - first,
            first_token: first - self.submitted,
        };
        tracing::debug!(
            sequence = self.id,
            ?cause,
            self.usage.generated_tokens,
            ?timings,
            "request done"
        );
        self.send(Event::Finished(Outcome {
            cause,
            ids: self.ids[self.usage.prompt_tokens..].to_vec(),
            text,
            usage: self.usage,
            timings,
        }));
    }

    /// Sends the last event of a failed sequence.
    pub(crate) fn fail(&mut self, error: EngineError) {
        self.finish_text();
        tracing::debug!(sequence = self.id, %error, "request failed");
        self.send(Event::Failed(error));
    }

    /// Sends the error that has stopped the engine, unless the last event was sent already.
    pub(crate) fn end_with(&self, error: &EngineError) {
        let _ = self.events.send(Event::Failed(error.clone())); // the receiver may be gone
    }

    fn send(&self, event: Event) {
        if !self.events.send(event) {
            self.cancelled.store(true, Relaxed); // the receiver is gone
        }
    }
}

/// Returns the text of a token without a tokenizer.
fn no_text() -> Piece {
    Piece {
        kind: SegmentKind::Answer,
        text: String::new(),
        tokens: Vec::new(),
    }
}
