//! The measured cost of a step, and the number of prompt tokens that follows from it.
//!
//! A step computes generated tokens and prompt tokens one after the other, so its time is the sum of
//! two costs. The cost of generated tokens depends on their number (rows). That of prompt tokens is
//! linear between measured numbers, and proportional beyond the largest one. Every chunk reads all
//! weights, so below the smallest one, the line starts at the time of a step of few generated tokens.
//!
//! Every power of two has one measurement, the lower median of its last five. A slow step, such as
//! one that captures a CUDA graph, therefore changes nothing. If a chunk takes less than half or more
//! than twice as long as predicted, twice in a row, the speed of the machine has changed: all
//! measurements of prompts are scaled, and generated tokens are measured again.

/// The longest step with running replies, as a multiple of its generated tokens alone; also the
/// slowdown of a prompt by running replies.
const SLOWDOWN: f64 = 2.5;
/// The longest step if the smallest efficient chunk does not fit into that. On an H200, a chunk of 96
/// tokens in int4 takes twice as long as a step of eight replies.
const LONGEST: f64 = 3.25;
/// The longest time that several waiting prompts add to a step, in seconds, beyond what a single one
/// may add. Small chunks waste the device while many users wait for their first token, and a gap
/// of this length is not noticed.
const SHARED_S: f64 = 0.05;
/// The steps of a measurement.
const SAMPLES: usize = 5;
/// Steps before the first use of a measurement of generated tokens.
const FIRST_SAMPLES: usize = 2;
/// Powers of two with a measurement: of up to 2048 tokens and rows, the context length.
const SIZES: usize = 12;
/// Steps of both kinds after which generated tokens are measured alone again.
const DECODE_AGE: u64 = 64;
/// Steps with prompt tokens after which a measurement of others is dropped. If prompts became faster,
/// larger chunks would otherwise seem too expensive forever.
const PREFILL_AGE: u64 = 1024;
/// The largest growth of a chunk beyond the measured ones.
const GROWTH: usize = 4;
/// The change of speed that is followed at once.
const CHANGE: f64 = 2.0;

/// Tokens of a step of one kind, and the seconds that they took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sample {
    tokens: usize,
    seconds: f64,
}

/// The last measurements of steps of similar size.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    samples: [Sample; SAMPLES],
    /// Measurements so far.
    count: usize,
    /// [`StepCost::mixed`] or [`StepCost::prompts`] at the last one.
    time: u64,
}

impl Recent {
    fn add(&mut self, sample: Sample, time: u64) {
        self.samples[self.count % SAMPLES] = sample;
        (self.count, self.time) = (self.count + 1, time);
    }

    /// Returns the lower median.
    fn typical(&self) -> Option<Sample> {
        let mut sorted = self.samples;
        let known = &mut sorted[..self.count.min(SAMPLES)];
        known.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        known.get(known.len().saturating_sub(1) / 2).copied()
    }
}

/// The limits of a step's prompt tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkLimits {
    /// Tokens beyond which a larger step is not more efficient.
    pub(crate) most: usize,
    /// Tokens that cost as much as one.
    pub(crate) tile: usize,
}

/// The cost of steps.
#[derive(Debug, Default)]
pub(crate) struct StepCost {
    /// By the power of two of the rows.
    decode: [Recent; SIZES],
    /// By the power of two of the prompt tokens.
    prefill: [Recent; SIZES],
    /// Steps of both kinds so far.
    mixed: u64,
    /// Steps with prompt tokens so far.
    prompts: u64,
    /// The last chunk did not take as long as predicted.
    is_suspect: bool,
}

impl StepCost {
    /// Adds the measurement of a step of `rows` generated tokens and `prompt_tokens` that took `seconds`.
    pub(crate) fn record(&mut self, rows: usize, prompt_tokens: usize, seconds: f64) {
        if prompt_tokens == 0 {
            let sample = Sample {
                tokens: rows,
                seconds,
            };
            self.decode[size_of_rows(rows)].add(sample, self.mixed);
            return;
        }
        self.prompts += 1;
        self.mixed += u64::from(rows > 0);
        let decode = match rows {
            0 => Some(0.0),
            rows => self.decode_s(rows),
        };
        let Some(decode) = decode else { return };
        // Noise may exceed the difference, but a chunk is never free.
        let seconds = (seconds - decode).max(seconds / 16.0);
        if self.follow_speed(rows, prompt_tokens, seconds) {
            let sample = Sample {
                tokens: prompt_tokens,
                seconds,
            };
            self.prefill[size(prompt_tokens)].add(sample, self.prompts);
        }
    }

    /// Compares the time of a chunk with the prediction. Returns `false` for the first one that
    /// differs: the cause may be an old measurement of generated tokens, which is dropped. At the
    /// second, scales the measurements of prompts.
    fn follow_speed(&mut self, rows: usize, tokens: usize, seconds: f64) -> bool {
        let is_known = self.prefill[size(tokens)].count > 0;
        let predicted = self.prefill_s(tokens).filter(|_| is_known);
        let change = predicted.map_or(1.0, |predicted| seconds / predicted);
        if !change.is_finite() || (1.0 / CHANGE..=CHANGE).contains(&change) {
            self.is_suspect = false;
            return true;
        }
        self.is_suspect = !self.is_suspect;
        if self.is_suspect {
            if rows > 0 {
                self.decode = Default::default();
            }
            return false;
        }
        for recent in &mut self.prefill {
            for sample in &mut recent.samples {
                sample.seconds *= change;
            }
        }
        true
    }

    /// Returns the seconds of a step of `rows` generated tokens: those of the nearest measured size.
    pub(crate) fn decode_s(&self, rows: usize) -> Option<f64> {
        let size = size_of_rows(rows);
        let smaller = self.decode[..=size].iter().rev();
        let mut near = smaller.chain(&self.decode[size..]);
        near.find_map(Recent::typical).map(|sample| sample.seconds)
    }

    /// Returns the measurements of prompt tokens, ascending in tokens and seconds.
    fn points(&self) -> impl Iterator<Item = Sample> {
        let is_recent = |recent: &&Recent| self.prompts - recent.time <= PREFILL_AGE;
        let points = self.prefill.iter().filter(is_recent);
        points
            .filter_map(Recent::typical)
            .scan(0.0_f64, |longest, sample| {
                *longest = longest.max(sample.seconds);
                Some(Sample {
                    seconds: *longest,
                    ..sample
                })
            })
    }

    /// Returns the start of the line to the first measurement of prompt tokens: a chunk reads all
    /// weights, as a step of few generated tokens does. `None` before a measurement of these.
    fn least_prefill(&self, first: Sample) -> Option<Sample> {
        let least = self.decode.iter().find_map(Recent::typical)?;
        Some(Sample {
            tokens: 0,
            seconds: least.seconds.min(first.seconds),
        })
    }

    /// Predicts the seconds that `tokens` prompt tokens add to a step. `None` before the first
    /// measurement.
    pub(crate) fn prefill_s(&self, tokens: usize) -> Option<f64> {
        let mut below: Option<Sample> = None;
        for point in self.points() {
            if point.tokens >= tokens {
                let Some(below) = below.or_else(|| self.least_prefill(point)) else {
                    return Some(point.seconds * tokens as f64 / point.tokens as f64);
                };
                let share = (tokens - below.tokens) as f64 / (point.tokens - below.tokens) as f64;
                return Some(below.seconds + share * (point.seconds - below.seconds));
            }
            below = Some(point);
        }
        below.map(|point| point.seconds * tokens as f64 / point.tokens as f64)
    }

    /// Returns the number of prompt tokens of the next step.
    ///
    /// - With `rows` generated tokens, the step takes at most [`SLOWDOWN`] times as long as these
    ///   alone. It takes up to [`LONGEST`] times as long if prompts would otherwise be processed at
    ///   less than 1 / [`SLOWDOWN`] of their rate without replies: small chunks waste the device.
    /// - Without, prompts after the first one, of `first` tokens, delay its first token by the same
    ///   factor.
    /// - With several of `prompts`, each may add as much as one, and all together [`SHARED_S`].
    ///
    /// Returns 0 if the generated tokens have to be measured alone first: at the first two steps
    /// with about so many, also after a change of speed, and at one of 64 later ones.
    pub(crate) fn prompt_tokens(
        &self,
        rows: usize,
        (prompts, first): (usize, usize),
        limits: ChunkLimits,
    ) -> usize {
        let most = limits.most.max(1);
        let tile = limits.tile.clamp(1, most);
        if rows == 0 {
            let alone = self.prefill_s(first).filter(|_| first < most);
            let shared = alone.map_or(first, |alone| {
                let shared = (alone * prompts as f64).min(SHARED_S);
                self.largest(most, |seconds| seconds <= (SLOWDOWN * alone).max(shared))
            });
            return shared.max(first).max(tile).min(most);
        }
        let measured = self.decode[size_of_rows(rows)];
        let is_old = self.mixed - measured.time >= DECODE_AGE;
        let Some(decode) = self
            .decode_s(rows)
            .filter(|_| measured.count >= FIRST_SAMPLES && !is_old)
        else {
            return 0;
        };
        let rates = self.points().map(|p| p.tokens as f64 / p.seconds);
        let rate = rates.fold(0.0, f64::max);
        let within =
            |factor: f64| self.largest(most, |seconds| decode + seconds <= factor * decode);
        let wasteful = largest(most, |tokens| {
            let seconds = self.prefill_s(tokens).map(|seconds| decode + seconds);
            seconds.is_some_and(|seconds| (tokens as f64) < seconds * rate / SLOWDOWN)
        });
        let efficient = rounded_up(wasteful + 1).min(within(LONGEST));
        let grown = self.points().last().map_or(0, |point| point.tokens) * GROWTH;
        let added = (SLOWDOWN - 1.0) * decode * prompts as f64;
        let shared = self.largest(most, |seconds| {
            prompts > 1 && seconds <= added.min(SHARED_S)
        });
        let tokens = within(SLOWDOWN).max(efficient).max(shared).min(grown);
        rounded_down(tokens).clamp(tile, most)
    }

    /// Returns the most tokens, up to `most`, whose predicted seconds meet `condition`.
    fn largest(&self, most: usize, condition: impl Fn(f64) -> bool) -> usize {
        largest(most, |tokens| {
            self.prefill_s(tokens).is_some_and(&condition)
        })
    }
}

/// Returns the largest number up to `most` that meets a condition which smaller numbers meet too; 0
/// if none does.
fn largest(most: usize, condition: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if condition(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

const BLOCK: usize = moss_model::CacheShape::BLOCK_SIZE;

/// Rounds down to cache blocks, so that chunks fill whole blocks and tiles.
fn rounded_down(tokens: usize) -> usize {
    match tokens {
        ..BLOCK => tokens,
        tokens => tokens - tokens % BLOCK,
    }
}

/// Rounds up to cache blocks.
fn rounded_up(tokens: usize) -> usize {
    match tokens {
        ..BLOCK => tokens,
        tokens => tokens.next_multiple_of(BLOCK),
    }
}

/// Returns the index of the power of two that `tokens` reaches.
fn size(tokens: usize) -> usize {
    (tokens.max(1).ilog2() as usize).min(SIZES - 1)
}

/// As [`size`], of rows: steps of 5 to 8 rows cost the same.
fn size_of_rows(rows: usize) -> usize {
    (size(rows.saturating_sub(1)) + usize::from(rows > 1)).min(SIZES - 1)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
