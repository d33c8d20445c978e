//! The effect of a long prompt on running replies, measured through the engine.

use std::{sync::mpsc, time::Instant};

use moss_engine::{CancelHandle, Engine, Event, Request, StopRules};
use moss_sampling::SamplingParams;

use crate::{BenchError, model_timing::median, prompts::Prompts};

/// Tokens of each stream that are not measured, because other prompts may still run.
const WARM_UP: usize = 8;
/// Tokens of each stream whose gaps give the median.
const MEASURED: usize = 32;
/// Arrivals, of which the largest gap and the median first token are reported.
const ROUNDS: usize = 3;

/// Tokens that a stream generates at most, which the KV cache must hold: with two tokens of a prompt
/// per step, those of a prompt of 1900.
pub const STREAM_TOKENS: usize = 1024;

/// The times around the arrival of a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Median of the seconds between two tokens of a stream before it.
    pub median_gap_s: f64,
    /// Most seconds between two tokens of a stream while it is processed.
    pub largest_gap_s: f64,
    /// Seconds to its first token.
    pub first_token_s: f64,
    /// Seconds to the first token of such a prompt alone.
    pub alone_s: f64,
}

impl Arrival {
    /// Returns the largest gap, relative to the median before the arrival.
    pub fn gap_ratio(&self) -> f64 {
        self.largest_gap_s / self.median_gap_s
    }

    /// Returns the time to the first token, relative to the prompt alone.
    pub fn first_token_ratio(&self) -> f64 {
        self.first_token_s / self.alone_s
    }
}

/// A token of a stream.
struct Token {
    stream: usize,
    time: Instant,
}

/// Streams that run, and the tokens that they have sent.
struct Streams<'a> {
    engine: &'a Engine,
    sender: mpsc::Sender<Result<Token, BenchError>>,
    tokens: mpsc::Receiver<Result<Token, BenchError>>,
    /// The times of the tokens of each stream.
    times: Vec<Vec<Instant>>,
    cancel: CancelHandle,
}

impl<'a> Streams<'a> {
    fn new(engine: &'a Engine) -> Self {
        let (sender, tokens) = mpsc::channel();
        Self {
            engine,
            sender,
            tokens,
            times: Vec::new(),
            cancel: CancelHandle::default(),
        }
    }

    /// Starts a request. Unless it `may_end`, its end is an error: the streams must outlast the
    /// prompt that arrives.
    fn start(&mut self, request: Request, may_end: bool) -> Result<(), BenchError> {
        let (stream, sender) = (self.times.len(), self.sender.clone());
        self.times.push(Vec::new());
        let sink = move |event| {
            let time = Instant::now();
            match event {
                Event::Text { id: Some(_), .. } => sender.send(Ok(Token { stream, time })).is_ok(),
                Event::Failed(error) => sender.send(Err(error.into())).is_ok(),
                Event::Finished(_) if !may_end => {
                    sender.send(Err(BenchError::NothingMeasured)).is_ok()
                }
                _ => true,
            }
        };
        self.engine
            .submit_to(request, self.cancel.clone(), Box::new(sink))?;
        Ok(())
    }

    /// Waits until `condition` is true of the times of all streams.
    fn wait(&mut self, condition: impl Fn(&[Vec<Instant>]) -> bool) -> Result<(), BenchError> {
        while !condition(&self.times) {
            let token = self.tokens.recv();
            let Token { stream, time } = token.map_err(|_| BenchError::NothingMeasured)??;
            self.times[stream].push(time);
        }
        Ok(())
    }
}

impl Drop for Streams<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Measures the arrival of a prompt of `arriving` tokens at `clients` streams with prompts of
/// `prompt` tokens.
///
/// # Errors
/// Those of the engine; [`BenchError::NothingMeasured`] if a stream ends before the prompt is
/// complete.
pub(crate) fn measure(
    engine: &Engine,
    prompts: &mut Prompts,
    (clients, prompt): (usize, usize),
    arriving: usize,
    sampling: &SamplingParams,
) -> Result<Arrival, BenchError> {
    let mut request = |tokens: usize, new: usize| Request {
        stop: StopRules {
            max_new_tokens: Some(new),
            ..StopRules::default()
        },
        ..Request::new(prompts.next(tokens), sampling.clone())
    };
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        let outcome = engine.submit(request(arriving, 1))?.wait()?;
        alone.push(outcome.timings.first_token.as_secs_f64());
    }
    let (mut gaps, mut largest, mut first) = (Vec::new(), 0.0_f64, Vec::new());
    for _ in 0..ROUNDS {
        let mut streams = Streams::new(engine);
        for _ in 0..clients {
            streams.start(request(prompt, STREAM_TOKENS), false)?;
        }
        let ready = |times: &Vec<Instant>| times.len() >= WARM_UP + MEASURED;
        streams.wait(|times| times.iter().all(ready))?;
        let arrived = Instant::now();
        streams.start(request(arriving, 1), true)?;
        let after = |times: &Vec<Instant>, since| times.last().is_some_and(|last| *last > since);
        streams.wait(|times| match times[clients].first() {
            Some(first) => times[..clients].iter().all(|times| after(times, *first)),
            None => false,
        })?;
        let done = streams.times[clients][0];
        first.push((done - arrived).as_secs_f64());
        for times in &streams.times[..clients] {
            for gap in times[WARM_UP - 1..].windows(2) {
                let seconds = (gap[1] - gap[0]).as_secs_f64();
                if gap[1] <= arrived {
                    gaps.push(seconds);
                } else if gap[0] < done {
                    largest = largest.max(seconds);
                }
            }
        }
    }
    Ok(Arrival {
        prompt: arriving,
        median_gap_s: median(gaps)?,
        largest_gap_s: largest,
        first_token_s: median(first)?,
        alone_s: median(alone)?,
    })
}
