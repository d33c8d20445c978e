//! On a GPU, the bits of a token depend on its sequence and on the kinds of its tokens only. On GPU
//! 0; without a GPU, the tests are skipped with a note.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::ops::Range;

use gpu_support::{CODES, chunk, options, small_config, token_ids};
use moss_checkpoint::Checkpoint;
use moss_model::{
    BlockPool, BlockTable, CacheShape, KvCacheType, LanguageModel, LoadOptions, Moss,
    RandomWeights,
    TokenKind::{self, Generated, Prompt},
    WeightFormat, WeightSource, has_gpu,
};
use moss_testing::fixture;
use moss_weights::GptqBits;

mod gpu_support;

/// f16, int4 and int8, with and without act-order; heads of different sizes.
const FIXTURES: [&str; 7] = [
    "tiny-fp16-bin",
    "tiny-int4",
    "mini-fp16-safetensors",
    "mini-int4-act-order",
    "mini-int8",
    "mini-int8-act-order",
    "wide-int4",
];

/// Sequences next to the one that is compared; half of them decode.
const OTHERS: usize = 40;

/// Tokens of each of them.
const OTHER_TOKENS: usize = 9;

/// Layers of the random networks; a network runs in each number of stages that it has layers for.
const LAYERS: usize = 7;

/// Numbers of stages; more than two with the code of the GPU itself only.
const STAGES: [usize; 4] = [1, 2, 4, 7];

/// Returns the fixtures, and networks of the published context length, which no fixture has.
fn sources() -> Vec<(String, Box<dyn WeightSource>)> {
    let formats = [
        WeightFormat::F16,
        WeightFormat::Gptq(GptqBits::Four),
        WeightFormat::Gptq(GptqBits::Eight),
    ];
    let mut sources: Vec<(String, Box<dyn WeightSource>)> = Vec::new();
    for folder in FIXTURES {
        let checkpoint = Checkpoint::open(fixture(folder)).unwrap();
        sources.push((folder.to_owned(), Box::new(checkpoint)));
    }
    for format in formats {
        let weights = RandomWeights::new(small_config(LAYERS), format);
        sources.push((format!("random {format}"), Box::new(weights)));
    }
    sources
}

/// A model with one free place for a sequence of the context length.
struct Run {
    model: Moss,
    pool: BlockPool,
    vocab: u32,
    /// Token ids and blocks of the other sequences; those that decode have one token left.
    others: Vec<(Vec<u32>, BlockTable)>,
}

impl Run {
    /// Loads a model in `stages` stages.
    fn load(
        source: &dyn WeightSource,
        newest_code: Option<u32>,
        stages: usize,
        kv_cache: KvCacheType,
    ) -> Self {
        let context = source.config().unwrap().context_length;
        let positions = context + OTHERS * CacheShape::BLOCK_SIZE;
        let options = LoadOptions {
            max_decode_rows: OTHERS + 1,
            kv_cache,
            ..options(newest_code, stages, positions)
        };
        let model = Moss::load(source, &options, &mut |_| {}).unwrap();
        let mut run = Self {
            pool: BlockPool::new(model.cache_shape()),
            vocab: model.config().vocab_size as u32,
            model,
            others: Vec::new(),
        };
        for seed in 1..=OTHERS {
            let (ids, blocks) = run.sequence(OTHER_TOKENS, seed);
            let prompt = chunk(&ids, 0..OTHER_TOKENS - 1, Prompt, &blocks);
            run.model.forward(&[prompt], &|| false).unwrap();
            run.others.push((ids, blocks));
        }
        run
    }

    /// Returns the token ids and blocks of a new sequence.
    fn sequence(&mut self, tokens: usize, seed: usize) -> (Vec<u32>, BlockTable) {
        let mut blocks = BlockTable::default();
        self.pool.grow(&mut blocks, tokens).unwrap();
        (token_ids(tokens, self.vocab, seed), blocks)
    }

    /// Runs the chunks of one sequence, each alone or together with the other
    /// sequences, and returns the bits of the logits of every token.
    fn run(
        &mut self,
        (ids, blocks): &(Vec<u32>, BlockTable),
        chunks: impl Iterator<Item = (Range<usize>, TokenKind)>,
        with_others: bool,
    ) -> Vec<u32> {
        let mut bits = Vec::new();
        for (tokens, kind) in chunks {
            let mut batch = Vec::new();
            if with_others {
                for (index, (ids, blocks)) in self.others.iter().enumerate() {
                    batch.push(if index % 2 == 0 {
                        chunk(ids, OTHER_TOKENS - 1..OTHER_TOKENS, Generated, blocks)
                    } else {
                        chunk(ids, 0..OTHER_TOKENS, Prompt, blocks)
                    });
                }
            }
            let place = batch.len() / 2;
            batch.insert(place, chunk(ids, tokens, kind, blocks));
            let logits = self.model.forward(&batch, &|| false).unwrap();
            bits.extend(logits[place].values().iter().map(|value| value.to_bits()));
        }
        bits
    }
}

/// Returns `tokens` in chunks of `size`.
fn chunks(
    tokens: Range<usize>,
    size: usize,
    kind: TokenKind,
) -> impl Iterator<Item = (Range<usize>, TokenKind)> {
    let end = tokens.end;
    let starts = tokens.step_by(size);
    starts.map(move |start| (start..end.min(start + size), kind))
}

/// Calls `check` for every source, code and number of stages, if this machine has a GPU.
fn for_each_model(check: impl Fn(&mut Run, &str)) {
    if !has_gpu().unwrap() {
        eprintln!("skipped: no GPU found");
        return;
    }
    for (source, weights) in sources() {
        let layers = weights.config().unwrap().num_layers;
        for newest_code in CODES {
            let most = if newest_code.is_some() { 2 } else { layers };
            for stages in STAGES.into_iter().filter(|stages| *stages <= most) {
                for kv_cache in [KvCacheType::Native, KvCacheType::Int8] {
                    let name = format!(
                        "{source}, cache {kv_cache:?}, code {newest_code:?}, {stages} stages"
                    );
                    let mut run = Run::load(&*weights, newest_code, stages, kv_cache);
                    check(&mut run, &name);
                }
            }
        }
    }
}

#[test]
fn the_logits_of_a_prompt_have_the_same_bits_for_every_chunk_size_alone_and_next_to_others() {
    for_each_model(|run, name| {
        let tokens = run.model.config().context_length.min(1900);
        let sequence = run.sequence(tokens, 0);
        let expected = run.run(&sequence, chunks(0..tokens, tokens, Prompt), false);
        for size in [1, 7, 64, 100, 512, tokens] {
            for with_others in [false, true] {
                let found = run.run(&sequence, chunks(0..tokens, size, Prompt), with_others);
                let text = format!("{name}: chunks of {size}, others: {with_others}");
                assert!(found == expected, "{text}");
            }
        }
    });
}

#[test]
fn generated_tokens_have_the_same_bits_one_by_one_as_drafts_and_next_to_others() {
    for_each_model(|run, name| {
        let tokens = run.model.config().context_length.min(150);
        let sequence = run.sequence(tokens, 0);
        let first = tokens / 5;
        run.run(&sequence, chunks(0..first, first, Prompt), false);
        let expected = run.run(&sequence, chunks(first..tokens, 1, Generated), false);
        // A micro-batch has up to 48 tokens: 41 and padding.
        for size in [1, 2, 5, 16, 17, 48, 49, tokens] {
            for with_others in [false, true] {
                let chunks = chunks(first..tokens, size, Generated);
                let found = run.run(&sequence, chunks, with_others);
                let text = format!("{name}: drafts of {size}, others: {with_others}");
                assert!(found == expected, "{text}");
            }
        }
    });
}
