//! One conversation at the model itself, without an engine, and its times.

use std::time::Instant;

use moss::{
    Moss,
    model::{BlockPool, BlockTable, LanguageModel, LogitRows, SequenceChunk},
    sampling::Sampler,
};

use super::timeline::Timeline;
use crate::errors::OrFail;

/// Prefills on a GPU, of which the median counts; on a CPU there is time for one.
const GPU_PREFILLS: usize = 5;

/// Times of one prompt and what follows.
pub(super) struct Measured {
    pub(super) prompt: usize,
    pub(super) new: usize,
    pub(super) prefill_s: f64,
    /// Median over the generated tokens, drawing them included.
    pub(super) token_s: f64,
    /// Bytes of weights, keys and values that such a token reads.
    pub(super) token_bytes: f64,
}

pub(super) struct Run<'a> {
    pub(super) model: &'a mut Moss,
    pub(super) sampler: Sampler,
    pub(super) on_gpu: bool,
}

impl Run<'_> {
    pub(super) fn measure(&mut self, prompt: usize, new: usize) -> anyhow::Result<Measured> {
        let mut ids = made_up_ids(self.model, prompt);
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, prompt + new)?;
        self.step(&ids, 0..1, &blocks)?; // brings the weights into memory
        let times = if self.on_gpu {
            self.step(&ids, 0..prompt, &blocks)?; // libraries choose and load their kernels
            GPU_PREFILLS
        } else {
            1
        };
        let mut prefills = Vec::with_capacity(times);
        let mut first = 0;
        for _ in 0..times {
            let (seconds, id) = self.step(&ids, 0..prompt, &blocks)?;
            prefills.push(seconds);
            first = id;
        }
        let mut tokens = Vec::with_capacity(new);
        ids.push(first);
        for at in prompt..prompt + new {
            let (seconds, id) = self.step(&ids, at..at + 1, &blocks)?;
            tokens.push(seconds);
            ids.push(id);
        }
        let context = prompt as f64 + new as f64 / 2.0;
        let cache = self.model.cache_bytes_per_position() as f64 * context;
        Ok(Measured {
            prompt,
            new,
            prefill_s: median(prefills)?,
            token_s: median(tokens)?,
            token_bytes: self.model.weight_bytes_per_token() as f64 + cache,
        })
    }

    /// When the stages worked on a prompt, and on a token after it.
    pub(super) fn timelines(&mut self, prompt: usize) -> anyhow::Result<Vec<Timeline>> {
        let ids: Vec<u32> = made_up_ids(self.model, prompt + 1);
        let mut blocks = BlockTable::default();
        BlockPool::new(self.model.cache_shape()).grow(&mut blocks, prompt + 1)?;
        let mut forward = |rows: std::ops::Range<usize>| {
            let (token_ids, start_pos) = (&ids[rows.clone()], rows.start);
            let chunk = SequenceChunk {
                token_ids,
                start_pos,
                blocks: &blocks,
                logits: LogitRows::Last,
            };
            self.model.forward_timed(&[chunk])
        };
        let of_prompt = forward(0..prompt)?.1;
        forward(prompt..prompt + 1)?; // the first token's work is recorded on the way
        let of_token = forward(prompt..prompt + 1)?.1;
        let whole = (
            format!("a prompt of {prompt} tokens"),
            format!("{prompt} 个词元的提示"),
        );
        let token = (
            format!("a token after {prompt}"),
            format!("{prompt} 个词元之后的一个词元"),
        );
        Ok(vec![
            Timeline {
                what: whole.into(),
                spans: of_prompt,
            },
            Timeline {
                what: token.into(),
                spans: of_token,
            },
        ])
    }

    /// Runs `ids[rows]` and draws the next token: seconds, and the token.
    fn step(
        &mut self,
        ids: &[u32],
        rows: std::ops::Range<usize>,
        blocks: &BlockTable,
    ) -> anyhow::Result<(f64, u32)> {
        let start = Instant::now();
        let allowed = self.model.config().vocab_size;
        let request = self.sampler.top_k_request(&ids[..rows.end], allowed);
        let logits = request.map_or(LogitRows::Last, LogitRows::TopK);
        let chunk = SequenceChunk {
            token_ids: &ids[rows.clone()],
            start_pos: rows.start,
            blocks,
            logits,
        };
        let mut answers = self.model.forward(&[chunk], &|| false)?;
        let answer = answers
            .first_mut()
            .or_fail("the model gave no answer", "模型没有给出结果")?;
        let id = match answer.candidates() {
            Some(candidates) => self.sampler.sample_candidates(candidates, 0)?,
            None => {
                let row = answer
                    .last_mut()
                    .or_fail("the model gave no logits", "模型没有给出 logits")?;
                self.sampler.sample(row, &ids[..rows.end], 0, allowed)?
            }
        };
        Ok((start.elapsed().as_secs_f64(), id))
    }
}

pub(super) fn made_up_ids(model: &Moss, count: usize) -> Vec<u32> {
    let vocab = model.config().vocab_size.min(100_000) as u32;
    (0..count as u32)
        .map(|i| i.wrapping_mul(2_654_435_761) % vocab)
        .collect()
}

pub(super) fn median(mut times: Vec<f64>) -> anyhow::Result<f64> {
    times.sort_by(f64::total_cmp);
    Ok(times
        .get(times.len() / 2)
        .copied()
        .or_fail("nothing was measured", "没有测量到任何结果")?)
}
