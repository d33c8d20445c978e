//! The time to the first token of prompts whose beginning is in the KV cache, measured through the
//! engine.

use moss_engine::{Engine, EngineOptions, Outcome, Request, StopRules};
use moss_model::Moss;
use moss_sampling::SamplingParams;

use crate::{
    BenchError,
    model_timing::{median, synthetic_token_ids},
};

/// Measurements of each case, of which the median is reported.
const ROUNDS: usize = 5;

/// Tokens of a reply before the next turn.
pub const REPLY: usize = 16;

/// The first token of a prompt that begins with cached tokens, compared with another prompt of the
/// same length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReuseTimes {
    /// The comparison.
    pub case: ReuseCase,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of the prompt that were in the cache.
    pub reused: usize,
    /// Median of the seconds to the first token.
    pub first_token_s: f64,
    /// That of the other prompt.
    pub other_s: f64,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReuseCase {
    /// The second turn of a conversation, with a prompt of which nothing is cached.
    SecondTurn,
    /// A prompt that shares all but its last tokens with an earlier one, with the repetition of a
    /// prompt.
    SharedPrefix,
}

impl ReuseTimes {
    /// Returns the time to the first token relative to that of the other prompt.
    pub fn ratio(&self) -> f64 {
        self.first_token_s / self.other_s
    }
}

/// An engine, and tokens for prompts none of which begins like another one.
struct Prompts<'a> {
    engine: &'a Engine,
    ids: Vec<u32>,
    next: usize,
}

impl Prompts<'_> {
    fn tokens(&mut self, count: usize) -> Vec<u32> {
        self.next += 1;
        self.ids[self.next..][..count].to_vec()
    }

    fn run(&self, prompt: Vec<u32>, new: usize) -> Result<Outcome, BenchError> {
        let request = Request {
            stop: StopRules {
                max_new_tokens: Some(new),
                ..StopRules::default()
            },
            ..Request::new(prompt, SamplingParams::greedy())
        };
        Ok(self.engine.submit(request)?.wait()?)
    }
}

/// Measures prompts of `prompt` tokens that end with `last` tokens which are not cached: a
/// [second turn](ReuseCase::SecondTurn) and a [shared prefix](ReuseCase::SharedPrefix).
///
/// # Errors
/// Those of the engine.
pub fn measure(
    model: Moss,
    (prompt, last): (usize, usize),
    threads: usize,
) -> Result<[ReuseTimes; 2], BenchError> {
    let last = last.clamp(1, prompt);
    let ids = synthetic_token_ids(&model, prompt + REPLY + 8 * (ROUNDS + 1));
    let options = EngineOptions {
        threads: Some(threads),
        ..EngineOptions::chat()
    };
    let engine = Engine::start(Box::new(model), None, options)?;
    let mut prompts = Prompts {
        engine: &engine,
        ids,
        next: 0,
    };
    let mut second_turn = Measured::default();
    let mut shared = Measured::default();
    for round in 0..=ROUNDS {
        let mut turns = prompts.tokens(prompt - last);
        turns.extend(prompts.run(turns.clone(), REPLY)?.ids);
        turns.extend(prompts.tokens(last));
        let unknown = prompts.tokens(turns.len());
        let outcomes = [prompts.run(turns, 1)?, prompts.run(unknown, 1)?];
        second_turn.add(round, &outcomes);

        let first = prompts.tokens(prompt);
        let mut other = first[..prompt - last].to_vec();
        other.extend(prompts.tokens(last));
        prompts.run(first, 1)?;
        let outcomes = [prompts.run(other.clone(), 1)?, prompts.run(other, 1)?];
        shared.add(round, &outcomes);
    }
    Ok([
        second_turn.times(ReuseCase::SecondTurn)?,
        shared.times(ReuseCase::SharedPrefix)?,
    ])
}

/// The measurements of one case.
#[derive(Default)]
struct Measured {
    prompt: usize,
    reused: usize,
    first: Vec<f64>,
    other: Vec<f64>,
}

impl Measured {
    /// Adds a round, except the first one, which is a warm-up.
    fn add(&mut self, round: usize, [first, other]: &[Outcome; 2]) {
        self.prompt = first.usage.prompt_tokens;
        self.reused = first.usage.reused_tokens;
        if round > 0 {
            let seconds = |outcome: &Outcome| outcome.timings.first_token.as_secs_f64();
            self.first.push(seconds(first));
            self.other.push(seconds(other));
        }
    }

    fn times(self, case: ReuseCase) -> Result<ReuseTimes, BenchError> {
        Ok(ReuseTimes {
            case,
            prompt: self.prompt,
            reused: self.reused,
            first_token_s: median(self.first)?,
            other_s: median(self.other)?,
        })
    }
}
