//! The times of one sequence, measured at the model without the engine.

use std::time::Instant;

use moss_model::{
    BlockPool, BlockTable, LanguageModel, LogitRows, Moss, SequenceChunk, StageSpan, TokenKind,
};
use moss_sampling::Sampler;

use crate::BenchError;

/// Prefills on a GPU, of which the median is reported. On a CPU one prefill takes long enough.
const GPU_PREFILLS: usize = 5;

/// The times of one prompt and the tokens after it.
#[derive(Debug, Clone, Copy)]
pub struct ConversationTimes {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub new: usize,
    /// Median of the seconds of the prompt.
    pub prefill_s: f64,
    /// Median of the seconds of a generated token, including sampling.
    pub token_s: f64,
    /// Bytes of weights, keys and values that a generated token reads.
    pub token_bytes: f64,
}

/// Times sequences.
#[derive(Debug)]
pub struct ConversationTimer<'a> {
    /// The model.
    pub model: &'a mut Moss,
    /// Samples the tokens.
    pub sampler: Sampler,
    /// Is true if a GPU runs the model, which is fast enough for several prefills.
    pub on_gpu: bool,
}

impl ConversationTimer<'_> {
    /// Times a prompt of `prompt` tokens and `new` tokens after it.
    ///
    /// # Errors
    /// Those of the model and the sampler.
    pub fn measure(&mut self, prompt: usize, new: usize) -> Result<ConversationTimes, BenchError> {
        let mut ids = synthetic_token_ids(self.model, prompt);
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, prompt + new)?;
        self.step(&ids, 0..1, TokenKind::Prompt, &blocks)?; // reads the weights into memory
        let times = if self.on_gpu {
            self.step(&ids, 0..prompt, TokenKind::Prompt, &blocks)?; // loads the kernels
            GPU_PREFILLS
        } else {
            1
        };
        let mut prefills = Vec::with_capacity(times);
        let mut first = 0;
        for _ in 0..times {
            let (seconds, id) = self.step(&ids, 0..prompt, TokenKind::Prompt, &blocks)?;
            prefills.push(seconds);
            first = id;
        }
        let mut tokens = Vec::with_capacity(new);
        ids.push(first);
        for at in prompt..prompt + new {
            let (seconds, id) = self.step(&ids, at..at + 1, TokenKind::Generated, &blocks)?;
            tokens.push(seconds);
            ids.push(id);
        }
        let context = prompt as f64 + new as f64 / 2.0;
        let cache = self.model.cache_bytes_per_position() as f64 * context;
        Ok(ConversationTimes {
            prompt,
            new,
            prefill_s: median(prefills)?,
            token_s: median(tokens)?,
            token_bytes: self.model.weight_bytes_per_token() as f64 + cache,
        })
    }

    /// Returns the intervals in which the stages computed a prompt, and a token after it.
    ///
    /// # Errors
    /// Those of the model.
    pub fn timelines(&mut self, prompt: usize) -> Result<[Vec<StageSpan>; 2], BenchError> {
        let ids: Vec<u32> = synthetic_token_ids(self.model, prompt + 1);
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, prompt + 1)?;
        let mut forward = |rows: std::ops::Range<usize>, kind| {
            let (token_ids, start_pos) = (&ids[rows.clone()], rows.start);
            let chunk = SequenceChunk {
                token_ids,
                kind,
                start_pos,
                blocks: &blocks,
                logits: LogitRows::Last,
            };
            self.model.forward_timed(&[chunk])
        };
        let of_prompt = forward(0..prompt, TokenKind::Prompt)?.1;
        let mut step = || forward(prompt..prompt + 1, TokenKind::Generated);
        step()?; // the first token captures its CUDA graph
        let of_token = step()?.1;
        Ok([of_prompt, of_token])
    }

    /// Runs `ids[rows]` and samples the next token. Returns the seconds and the token.
    fn step(
        &mut self,
        ids: &[u32],
        rows: std::ops::Range<usize>,
        kind: TokenKind,
        blocks: &BlockTable,
    ) -> Result<(f64, u32), BenchError> {
        let start = Instant::now();
        let allowed = self.model.config().vocab_size;
        let request = self.sampler.request(&ids[..rows.end], 0, allowed);
        let logits = request.map_or(LogitRows::Last, LogitRows::Sample);
        let chunk = SequenceChunk {
            token_ids: &ids[rows.clone()],
            kind,
            start_pos: rows.start,
            blocks,
            logits,
        };
        let mut outputs = self.model.forward(&[chunk], &|| false)?;
        let output = outputs.first_mut().ok_or(BenchError::NoAnswer)?;
        let id = match output.token() {
            Some(id) => self.sampler.accept(id, 0, allowed)?,
            None => {
                let row = output.last_mut().ok_or(BenchError::NoLogits)?;
                self.sampler.sample(row, &ids[..rows.end], 0, allowed)?
            }
        };
        Ok((start.elapsed().as_secs_f64(), id))
    }
}

/// Returns `count` synthetic token ids, the same in every call.
pub fn synthetic_token_ids(model: &Moss, count: usize) -> Vec<u32> {
    let vocab = model.config().vocab_size.min(100_000) as u32;
    (0..count as u32)
        .map(|i| i.wrapping_mul(2_654_435_761) % vocab)
        .collect()
}

/// Returns the median.
pub(crate) fn median(mut times: Vec<f64>) -> Result<f64, BenchError> {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied();
    median.ok_or(BenchError::NothingMeasured)
}
