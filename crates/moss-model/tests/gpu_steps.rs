//! Decode steps of 1 to 256 sequences, which are CUDA graphs of padded sizes: every sequence gets
//! the bits that it gets alone. On GPU 0; without a GPU, the tests are skipped with a note.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use gpu_support::{CODES, chunk, options, small_config, token_ids};
use moss_model::{
    BlockPool, BlockTable, KvCacheType, LanguageModel, LinearParts, LinearShape, LoadOptions,
    LogitRows, Logits, ModelError, Moss, MossConfig, RandomWeights, SequenceChunk,
    TokenKind::{Generated, Prompt},
    WeightFormat, WeightSource, has_gpu, names,
};
use moss_sampling::SampleRequest;
use moss_weights::{DenseWeight, GptqBits};

mod gpu_support;

const VOCAB: u32 = 512;

/// Sequences of the largest step.
const SEQUENCES: usize = 256;

/// Steps of each sequence.
const STEPS: usize = 3;

/// Sequences of a step: below, at and above the sizes of kernels and graphs.
const COUNTS: [usize; 19] = [
    1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 200, 255, 256,
];

/// A sequence after its prompt, and what its steps return when it runs alone.
struct Sequence {
    ids: Vec<u32>,
    prompt: usize,
    blocks: BlockTable,
    expected: Vec<Answer>,
}

/// The bits of the logits, and the sampled token.
#[derive(Debug, PartialEq)]
struct Answer(Vec<u32>, Option<u32>);

impl From<&Logits> for Answer {
    fn from(logits: &Logits) -> Self {
        let bits = logits.values().iter().map(|value| value.to_bits());
        Self(bits.collect(), logits.token())
    }
}

struct Network {
    model: Moss,
    pool: BlockPool,
    sequences: Vec<Sequence>,
}

impl Network {
    /// Loads a network and runs the prompts and the steps of `count` sequences, each alone.
    fn load(source: &dyn WeightSource, options: &LoadOptions, count: usize) -> Self {
        let model = Moss::load(source, options, &mut |_| {}).unwrap();
        let mut network = Self {
            pool: BlockPool::new(model.cache_shape()),
            model,
            sequences: Vec::new(),
        };
        for index in 0..count {
            let prompt = 1 + index * 7 % 45;
            let mut sequence = network.sequence(prompt + STEPS, index);
            sequence.prompt = prompt;
            network.forward(&[chunk(&sequence.ids, 0..prompt, Prompt, &sequence.blocks)]);
            for step in 0..STEPS {
                let answers = network.forward(&[step_of(&sequence, index, step)]);
                sequence.expected.extend(answers);
            }
            network.sequences.push(sequence);
        }
        network
    }

    /// Returns a new sequence, all of whose tokens are a prompt.
    fn sequence(&mut self, tokens: usize, seed: usize) -> Sequence {
        let mut blocks = BlockTable::default();
        self.pool.grow(&mut blocks, tokens).unwrap();
        Sequence {
            ids: token_ids(tokens, VOCAB, seed * 31),
            prompt: tokens,
            blocks,
            expected: Vec::new(),
        }
    }

    fn forward(&mut self, batch: &[SequenceChunk<'_>]) -> Vec<Answer> {
        let logits = self.model.forward(batch, &|| false).unwrap();
        logits.iter().map(Answer::from).collect()
    }
}

/// Returns the chunk of a step. Every third sequence wants whole rows of logits.
fn step_of(sequence: &Sequence, index: usize, step: usize) -> SequenceChunk<'_> {
    let position = sequence.prompt + step;
    let one = chunk(
        &sequence.ids,
        position..position + 1,
        Generated,
        &sequence.blocks,
    );
    let request = SampleRequest {
        history: &sequence.ids[..=position],
        repetition_penalty: 1.1,
        temperature: 0.7,
        top_k: 1 + index % 40,
        top_p: 0.9,
        min_p: 0.0,
        stop_ids: &[],
        stop_factor: 1.0,
        allowed: usize::MAX,
        uniform: ((7 * index + step) % 97) as f64 / 97.0,
    };
    if index.is_multiple_of(3) {
        one
    } else {
        SequenceChunk {
            logits: LogitRows::Sample(request),
            ..one
        }
    }
}

fn gpu_is_present() -> bool {
    let found = has_gpu().unwrap();
    if !found {
        eprintln!("skipped: no GPU found");
    }
    found
}

/// Calls `check` for networks in two formats, for every code, in one and two stages.
fn for_each_network(max_decode_rows: usize, check: impl Fn(&mut Network, &str)) {
    if !gpu_is_present() {
        return;
    }
    let int4 = WeightFormat::Gptq(GptqBits::Four);
    for (format, kv_cache) in [
        (WeightFormat::F16, KvCacheType::Native),
        (int4, KvCacheType::Native),
        (int4, KvCacheType::Int8),
    ] {
        let source = RandomWeights::new(small_config(2), format);
        for newest_code in CODES {
            for stages in [1, 2] {
                let options = LoadOptions {
                    max_decode_rows,
                    kv_cache,
                    ..options(newest_code, stages, (SEQUENCES + 16) * 64)
                };
                let name =
                    format!("{format}, cache {kv_cache:?}, code {newest_code:?}, {stages} stages");
                check(&mut Network::load(&source, &options, SEQUENCES), &name);
            }
        }
    }
}

#[test]
fn sequences_that_decode_together_get_the_bits_of_each_alone() {
    for max_decode_rows in [SEQUENCES, 20] {
        for_each_network(max_decode_rows, |network, name| {
            for count in COUNTS {
                for step in 0..STEPS {
                    let Network {
                        model, sequences, ..
                    } = network;
                    let numbered = sequences[..count].iter().enumerate();
                    let batch: Vec<_> = numbered
                        .map(|(index, sequence)| step_of(sequence, index, step))
                        .collect();
                    let found = model.forward(&batch, &|| false).unwrap();
                    for (index, (found, sequence)) in found.iter().zip(sequences).enumerate() {
                        let same = Answer::from(found) == sequence.expected[step];
                        let text = format!("{name}, up to {max_decode_rows}: {count} sequences");
                        assert!(same, "{text}, step {step}, sequence {index}");
                    }
                }
            }
        });
    }
}

#[test]
fn a_step_and_a_prompt_in_one_forward_batch_get_the_bits_of_each_alone() {
    for_each_network(SEQUENCES, |network, name| {
        let others = [network.sequence(70, 1000), network.sequence(1, 1001)];
        let of_prompt = |sequence: &'_ Sequence| sequence.prompt;
        let prompts = others.each_ref().map(|sequence| {
            chunk(
                &sequence.ids,
                0..of_prompt(sequence),
                Prompt,
                &sequence.blocks,
            )
        });
        let expected = prompts.map(|prompt| network.forward(&[prompt]).remove(0));
        for count in [1, 5, 8, 9, 16, 17, 100, 256] {
            let Network {
                model, sequences, ..
            } = &mut *network;
            let numbered = sequences[..count].iter().enumerate();
            let mut batch: Vec<_> = numbered
                .map(|(index, sequence)| step_of(sequence, index, 0))
                .collect();
            batch.insert(count / 2, prompts[0]);
            batch.push(prompts[1]);
            let mut found: Vec<_> = model
                .forward(&batch, &|| false)
                .unwrap()
                .iter()
                .map(Answer::from)
                .collect();
            let text = format!("{name}: {count} sequences");
            assert!(found.pop().as_ref() == Some(&expected[1]), "{text}");
            assert!(found.remove(count / 2) == expected[0], "{text}");
            for (index, (found, sequence)) in found.iter().zip(sequences).enumerate() {
                assert!(*found == sequence.expected[0], "{text}, sequence {index}");
            }
        }
    });
}

/// Draft tokens are rows of a step, whose keys and values are read once per sequence.
#[test]
fn draft_tokens_get_the_bits_of_separate_steps() {
    for_each_network(SEQUENCES, |network, name| {
        // Contexts in one block, and in several splits and thread blocks.
        for (context, rows) in [
            (1, 2),
            (3, 8),
            (30, 5),
            (40, 8),
            (70, 8),
            (130, 3),
            (700, 8),
        ] {
            let sequence = network.sequence(context + rows, 2000 + context);
            let ids = &sequence.ids;
            let prompt = chunk(ids, 0..context, Prompt, &sequence.blocks);
            network.forward(&[prompt]);
            let request = |row: usize| SampleRequest {
                history: &ids[..=context + row],
                repetition_penalty: 1.1,
                temperature: 0.7,
                top_k: 1 + 7 * row,
                top_p: 0.9,
                min_p: 0.0,
                stop_ids: &[],
                stop_factor: 1.0,
                allowed: usize::MAX,
                uniform: (13 * row % 97) as f64 / 97.0,
            };
            let requests: Vec<_> = (0..rows).map(request).collect();
            let row = |row: usize, logits| SequenceChunk {
                logits,
                ..chunk(
                    ids,
                    context + row..context + row + 1,
                    Generated,
                    &sequence.blocks,
                )
            };
            let mut alone = |index, logits| network.forward(&[row(index, logits)]).remove(0);
            let tokens: Vec<_> = (0..rows)
                .map(|index| alone(index, LogitRows::Sample(requests[index])).1)
                .collect();
            let bits: Vec<_> = (0..rows)
                .flat_map(|index| alone(index, LogitRows::Last).0)
                .collect();
            assert!(tokens.iter().all(Option::is_some));
            let others = [network.sequence(50, 3000), network.sequence(9, 3001)];
            for other in &others {
                let end = other.ids.len() - 1;
                network.forward(&[chunk(&other.ids, 0..end, Prompt, &other.blocks)]);
            }
            let mut step = |other: &'_ Sequence| {
                let end = other.ids.len();
                network.forward(&[chunk(&other.ids, end - 1..end, Generated, &other.blocks)])
            };
            let of_others = others.each_ref().map(&mut step);
            for with_others in [0, 1, 2] {
                let drafts = |logits| SequenceChunk {
                    logits,
                    ..chunk(ids, context..context + rows, Generated, &sequence.blocks)
                };
                let text = format!("{name}: {rows} rows after {context}, {with_others} others");
                for logits in [LogitRows::SampleEach(&requests), LogitRows::All] {
                    let mut batch = vec![drafts(logits)];
                    for (index, other) in others[..with_others].iter().enumerate() {
                        let end = other.ids.len();
                        let one = chunk(&other.ids, end - 1..end, Generated, &other.blocks);
                        batch.insert(index, one);
                    }
                    let mut found = network.model.forward(&batch, &|| false).unwrap();
                    let own = found.remove(with_others);
                    if logits == LogitRows::All {
                        let found: Vec<_> = own.values().iter().map(|v| v.to_bits()).collect();
                        assert!(found == bits, "{text}");
                    } else {
                        let found: Vec<_> = (0..rows).map(|row| own.token_of(row)).collect();
                        assert_eq!(found, tokens, "{text}");
                    }
                    for (found, expected) in found.iter().zip(&of_others) {
                        assert!(Answer::from(found) == expected[0], "{text}");
                    }
                }
            }
        }
    });
}

/// Random weights, except for the embedding of one token and one weight of the final norm.
struct Changed {
    weights: RandomWeights,
    /// Token whose embedding is NaN.
    broken: Option<u32>,
    /// Weight of the first element of the final norm.
    norm: f32,
}

impl WeightSource for Changed {
    fn config(&self) -> Result<MossConfig, ModelError> {
        self.weights.config()
    }

    fn linear(&self, name: &str, shape: LinearShape) -> Result<LinearParts, ModelError> {
        self.weights.linear(name, shape)
    }

    fn matrix(&self, name: &str, r: usize, c: usize) -> Result<Option<DenseWeight>, ModelError> {
        let mut matrix = self.weights.matrix(name, r, c)?;
        if let (Some(matrix), Some(id)) = (&mut matrix, self.broken)
            && name.starts_with(names::EMBEDDING)
        {
            let mut data = matrix.data.to_vec();
            data[id as usize * c * 2..][..c * 2].fill(0x7F); // 0x7F7F is NaN
            matrix.data = data.into();
        }
        Ok(matrix)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        let mut vector = self.weights.vector(name, len)?;
        if let Some(vector) = &mut vector
            && name == format!("{}.weight", names::FINAL_NORM)
        {
            vector[0] = self.norm;
        }
        Ok(vector)
    }

    fn release(&self, _: &str) {}

    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64 {
        self.weights.stored_bytes(prefix, scales)
    }

    fn missing(&self, name: &str) -> ModelError {
        self.weights.missing(name)
    }
}

fn changed(broken: Option<u32>, norm: f32) -> Changed {
    Changed {
        weights: RandomWeights::new(small_config(2), WeightFormat::F16),
        broken,
        norm,
    }
}

#[test]
fn a_non_finite_value_is_reported_for_its_sequence() {
    if !gpu_is_present() {
        return;
    }
    let broken = 0; // in no sequence
    let source = changed(Some(broken), 1.0);
    for (stages, kv_cache) in [
        (1, KvCacheType::Native),
        (2, KvCacheType::Native),
        (1, KvCacheType::Int8),
    ] {
        let options = LoadOptions {
            max_decode_rows: 24,
            kv_cache,
            ..options(None, stages, 64 * 64)
        };
        let mut network = Network::load(&source, &options, 21);
        let (prompt, bad) = (network.sequence(70, 1000), network.sequence(70, 1001));
        let bad_ids = vec![broken; 70];
        let Network {
            model, sequences, ..
        } = &mut network;
        let is_bad = |sequence: &Sequence| sequence.ids.contains(&broken);
        assert!(!sequences.iter().any(is_bad) && !is_bad(&prompt));
        // Alone, in exact and padded steps, as the sequence that padding rows repeat, and next to
        // a prompt.
        for count in [1, 2, 8, 9, 17, 21] {
            for index in [0, count / 2, count - 1] {
                for with_prompt in [false, true] {
                    let numbered = sequences[..count].iter().enumerate();
                    let mut batch: Vec<_> = numbered
                        .map(|(index, sequence)| step_of(sequence, index, 0))
                        .collect();
                    if with_prompt {
                        batch.insert(0, chunk(&prompt.ids, 0..70, Prompt, &prompt.blocks));
                    }
                    let text = format!("{stages} stages, {count} sequences, prompt {with_prompt}");
                    let clean = model.forward(&batch, &|| false).unwrap();
                    let clean: Vec<_> = clean.iter().map(Answer::from).collect();
                    let place = index + usize::from(with_prompt);
                    let start = sequences[index].prompt;
                    batch[place] = SequenceChunk {
                        token_ids: &bad_ids[..1],
                        blocks: &bad.blocks,
                        ..batch[place]
                    };
                    let found = model.forward(&batch, &|| false);
                    assert!(
                        matches!(
                            found,
                            Err(ModelError::NonFinite { sequence, position, .. })
                                if (sequence, position) == (place, start)
                        ),
                        "{text}: {found:?}"
                    );
                    batch[place] = step_of(&sequences[index], index, 0);
                    let again = model.forward(&batch, &|| false).unwrap();
                    let again: Vec<_> = again.iter().map(Answer::from).collect();
                    assert!(again == clean, "{text}");
                }
            }
        }
        // In a prompt behind a padded step.
        let mut batch: Vec<_> = sequences[..9]
            .iter()
            .map(|sequence| step_of(sequence, 0, 0))
            .collect();
        batch.insert(4, chunk(&bad_ids, 0..70, Prompt, &bad.blocks));
        let found = model.forward(&batch, &|| false);
        assert!(
            matches!(
                found,
                Err(ModelError::NonFinite {
                    sequence: 4,
                    position: 0,
                    ..
                })
            ),
            "{stages} stages: {found:?}"
        );
    }
}

/// lm_head runs several times for a prompt all of whose logits are wanted.
#[test]
fn a_non_finite_value_of_lm_head_is_reported_for_its_token() {
    if !gpu_is_present() {
        return;
    }
    let (mut positions, tokens, layers) = (Vec::new(), 400, small_config(2).num_layers);
    // The final norm overflows f16 for the tokens whose first normed element is large.
    for norm in [15e3, 18e3, 20e3, 22e3, 24e3, 27e3, 30e3] {
        let source = changed(None, norm);
        let mut model = Moss::load(&source, &options(None, 2, 512), &mut |_| {}).unwrap();
        let ids = token_ids(tokens, VOCAB, 5);
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape())
            .grow(&mut blocks, tokens)
            .unwrap();
        let mut run = |count| {
            let batch = [chunk(&ids, 0..count, Prompt, &blocks)];
            model.forward(&batch, &|| false).map(|_| ())
        };
        let Err(ModelError::NonFinite {
            layer, position, ..
        }) = run(tokens)
        else {
            continue;
        };
        assert_eq!(layer, layers, "{norm}");
        // The tokens before it are finite, and it is not.
        assert!(position == 0 || run(position).is_ok(), "{norm}: {position}");
        assert!(
            matches!(
                run(position + 1),
                Err(ModelError::NonFinite { position: found, .. }) if found == position
            ),
            "{norm}: {position}"
        );
        positions.push(position);
    }
    assert!(
        positions.iter().any(|position| *position >= 64),
        "no value in a later run of lm_head: {positions:?}"
    );
}
