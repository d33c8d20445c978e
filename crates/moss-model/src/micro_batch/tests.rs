//! The order and the sizes of micro-batches, and the way back to the request.

use proptest::prelude::*;

use super::*;
use crate::{BlockPool, LogitRows, MAX_DECODE_ROWS};

/// Token ids name the chunk and the position, so that a mistaken token is noticed.
const POSITIONS: usize = 1024;

/// A chunk of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    kind: TokenKind,
    tokens: usize,
    start_pos: usize,
    logits: LogitRows<'static>,
}

pub(crate) fn part(kind: TokenKind, tokens: usize, logits: LogitRows<'static>) -> Part {
    Part {
        kind,
        tokens,
        start_pos: 3,
        logits,
    }
}

fn prompt(tokens: usize) -> Part {
    part(TokenKind::Prompt, tokens, LogitRows::Last)
}

fn generated(tokens: usize) -> Part {
    part(TokenKind::Generated, tokens, LogitRows::All)
}

const REQUEST: SampleRequest<'static> = SampleRequest {
    history: &[],
    repetition_penalty: 1.0,
    temperature: 1.0,
    top_k: 1,
    top_p: 1.0,
    min_p: 0.0,
    stop_ids: &[],
    stop_factor: 1.0,
    allowed: usize::MAX,
    uniform: 0.0,
};

/// Requests of draft tokens.
const EACH: [SampleRequest<'static>; 3] = [
    REQUEST,
    SampleRequest {
        uniform: 0.25,
        ..REQUEST
    },
    SampleRequest {
        uniform: 0.5,
        ..REQUEST
    },
];

fn id(sequence: usize, position: usize) -> u32 {
    (sequence * POSITIONS + position) as u32
}

/// Calls `see` with the plan of a request, for the largest decode steps.
pub(crate) fn with_plan<T>(parts: &[Part], see: impl FnOnce(&Plan<'_>) -> T) -> T {
    with_plan_of(MAX_DECODE_ROWS, parts, see)
}

fn with_plan_of<T>(decode_rows: usize, parts: &[Part], see: impl FnOnce(&Plan<'_>) -> T) -> T {
    let config = MossConfig {
        vocab_size: parts.len() * POSITIONS,
        ..MossConfig::moon_003()
    };
    let blocks = parts.len() * POSITIONS / CacheShape::BLOCK_SIZE;
    let cache = CacheShape::for_positions(blocks * CacheShape::BLOCK_SIZE);
    let mut pool = BlockPool::new(cache);
    let mut ids = Vec::new();
    let mut tables = Vec::new();
    for (sequence, part) in parts.iter().enumerate() {
        let end = part.start_pos + part.tokens;
        let positions = part.start_pos..end;
        ids.push(
            positions
                .map(|position| id(sequence, position))
                .collect::<Vec<_>>(),
        );
        let mut table = BlockTable::default();
        pool.grow(&mut table, end).unwrap();
        tables.push(table);
    }
    let chunks = parts.iter().zip(&ids).zip(&tables);
    let batch: Vec<_> = chunks
        .map(|((part, token_ids), blocks)| SequenceChunk {
            token_ids,
            kind: part.kind,
            start_pos: part.start_pos,
            blocks,
            logits: part.logits,
        })
        .collect();
    see(&Plan::new(&config, cache, decode_rows, &batch).unwrap())
}

/// Returns kind and size of each micro-batch.
fn sizes(parts: &[Part]) -> Vec<(TokenKind, usize)> {
    with_plan(parts, |plan| {
        plan.micro_batches()
            .enumerate()
            .map(|(index, batch)| {
                assert_eq!(batch.index, index);
                assert_eq!(batch.token_ids().len(), batch.len());
                (batch.kind, batch.len())
            })
            .collect()
    })
}

#[test]
fn each_micro_batch_has_one_kind_and_at_most_its_number_of_tokens() {
    let all = |kind, sizes: &[usize]| sizes.iter().map(|size| (kind, *size)).collect::<Vec<_>>();
    let generated_sizes: [(usize, &[usize]); 12] = [
        (0, &[]),
        (1, &[1]),
        (15, &[15]),
        (16, &[16]),
        (17, &[17]),
        (63, &[63]),
        (64, &[64]),
        (65, &[65]),
        (255, &[255]),
        (256, &[256]),
        (257, &[256, 1]),
        (514, &[256, 256, 2]),
    ];
    let prompt_sizes: [(usize, &[usize]); 10] = [
        (0, &[]),
        (1, &[1]),
        (15, &[15]),
        (16, &[16]),
        (17, &[17]),
        (65, &[65]),
        (511, &[511]),
        (512, &[512]),
        (513, &[512, 1]),
        (1025, &[512, 512, 1]),
    ];
    for (count, of_generated) in generated_sizes {
        for (tokens, of_prompt) in prompt_sizes {
            // The prompt, in two chunks, is between the generated tokens.
            let mut parts = vec![generated(1); count];
            let (first, second) = (tokens / 3, tokens - tokens / 3);
            for (at, tokens) in [(count / 2, first), (count / 3, second)] {
                if tokens > 0 {
                    parts.insert(at, prompt(tokens));
                }
            }
            if parts.is_empty() {
                continue;
            }
            let expected = [
                all(TokenKind::Generated, of_generated),
                all(TokenKind::Prompt, of_prompt),
            ]
            .concat();
            assert_eq!(
                sizes(&parts),
                expected,
                "{count} generated, {tokens} of a prompt"
            );
        }
    }
}

#[test]
fn generated_tokens_are_split_by_the_rows_of_a_decode_step() {
    let sizes_of = |rows, parts: &[Part]| {
        with_plan_of(rows, parts, |plan| {
            plan.micro_batches()
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        })
    };
    let parts = [vec![generated(1); 17], vec![prompt(600)]].concat();
    assert_eq!(
        sizes_of(1, &parts)[..18],
        [[1; 17].as_slice(), &[512]].concat()
    );
    assert_eq!(sizes_of(8, &parts), [8, 8, 1, 512, 88]);
    assert_eq!(sizes_of(16, &parts), [16, 1, 512, 88]);
    assert_eq!(sizes_of(24, &parts), [17, 512, 88]);
}

#[test]
fn the_kind_is_that_of_the_chunk_whatever_its_length() {
    assert_eq!(sizes(&[prompt(1)]), [(TokenKind::Prompt, 1)]);
    assert_eq!(sizes(&[generated(5)]), [(TokenKind::Generated, 5)]);
    assert_eq!(
        sizes(&[prompt(1), generated(5), prompt(1)]),
        [(TokenKind::Generated, 5), (TokenKind::Prompt, 2)]
    );
}

#[test]
fn draft_tokens_continue_in_the_next_micro_batch() {
    let parts = [generated(250), generated(12), prompt(2)];
    with_plan(&parts, |plan| {
        let batches: Vec<_> = plan.micro_batches().collect();
        let rows = |batch: &MicroBatch<'_, '_>| {
            let sequences = batch.sequences.iter();
            sequences
                .map(|rows| (rows.first_row, rows.num_rows, rows.start_pos))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&batches[0]), [(0, 250, 3), (250, 6, 3)]);
        assert_eq!(rows(&batches[1]), [(0, 6, 9)]);
        assert_eq!(rows(&batches[2]), [(0, 2, 3)]);
        assert_eq!(batches[1].positions(), [9, 10, 11, 12, 13, 14]);
    });
}

#[test]
fn only_wanted_tokens_pass_through_lm_head() {
    let none = part(TokenKind::Prompt, 600, LogitRows::None);
    let parts = [
        prompt(4),
        generated(2),
        none,
        part(TokenKind::Generated, 3, LogitRows::Sample(REQUEST)),
        part(TokenKind::Generated, 4, LogitRows::SampleEach(&EACH)),
    ];
    with_plan(&parts, |plan| {
        let wanted: Vec<_> = plan.micro_batches().map(|batch| batch.wanted).collect();
        assert_eq!(wanted, [vec![0, 1, 4, 6, 7, 8], vec![3], vec![]]);
        let requests: Vec<_> = plan.micro_batches().map(|batch| batch.requests).collect();
        assert_eq!(
            requests,
            [
                [vec![None, None, Some(REQUEST)], EACH.map(Some).to_vec()].concat(),
                vec![None],
                vec![]
            ]
        );
    });
}

#[test]
fn invalid_chunks_are_named_by_their_place_in_the_request() {
    let config = MossConfig::moon_003();
    let cache = CacheShape::for_positions(64);
    let mut table = BlockTable::default();
    BlockPool::new(cache).grow(&mut table, 16).unwrap();
    let chunk = |kind, tokens: usize| SequenceChunk {
        token_ids: &[7; 32][..tokens],
        kind,
        start_pos: 0,
        blocks: &table,
        logits: LogitRows::Last,
    };
    use TokenKind::{Generated, Prompt};
    let error =
        |batch: &[SequenceChunk<'_>]| Plan::new(&config, cache, MAX_DECODE_ROWS, batch).err();
    let found = error(&[chunk(Prompt, 1), chunk(Prompt, 17), chunk(Generated, 0)]);
    assert!(
        matches!(
            found,
            Some(ModelError::BlocksMissing {
                sequence: 1,
                found: 1,
                expected: 2
            })
        ),
        "{found:?}"
    );
    let found = error(&[chunk(Prompt, 1), chunk(Prompt, 16), chunk(Generated, 0)]);
    assert!(
        matches!(found, Some(ModelError::EmptyChunk { sequence: 2 })),
        "{found:?}"
    );
}

pub(crate) fn parts() -> impl Strategy<Value = Vec<Part>> {
    let kind = prop_oneof![Just(TokenKind::Prompt), Just(TokenKind::Generated)];
    let logits = prop_oneof![
        Just(LogitRows::None),
        Just(LogitRows::Last),
        Just(LogitRows::All),
        Just(LogitRows::Sample(REQUEST)),
        Just(LogitRows::SampleEach(&EACH)),
    ];
    let tokens = prop_oneof![3 => 1usize..4, 1 => 1usize..700];
    let part = (kind, tokens, 0usize..300, logits);
    let part = part.prop_map(|(kind, tokens, start_pos, logits)| Part {
        kind,
        tokens,
        start_pos,
        logits,
    });
    prop::collection::vec(part, 1..40)
}

/// Returns the tokens of a part whose logits are wanted.
pub(crate) fn wanted(sequence: usize, part: &Part) -> Vec<u32> {
    let rows = match part.logits {
        LogitRows::None => 0,
        LogitRows::Last | LogitRows::Sample(_) => 1,
        LogitRows::All => part.tokens,
        LogitRows::SampleEach(requests) => part.tokens.min(requests.len()),
    };
    let end = part.start_pos + part.tokens;
    (end - rows..end)
        .map(|position| id(sequence, position))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The logits of a token are its id, twice; a sampled token is its id. No token is sampled at
    /// positions that are a multiple of `refused`.
    #[test]
    fn results_are_in_the_order_of_the_request(parts in parts(), samples in any::<bool>(), refused in 1u32..5) {
        with_plan(&parts, |plan| {
            let mut output = BatchOutput::default();
            for batch in plan.micro_batches() {
                for (row, request) in batch.wanted.iter().zip(&batch.requests) {
                    let id = batch.token_ids()[*row as usize];
                    if samples && request.is_some() && !id.is_multiple_of(refused) {
                        output.tokens.push(Some(id));
                    } else {
                        output.extend(1, vec![id as f32; 2]);
                    }
                }
            }
            let results = plan.split_by_sequence(output, 2);
            prop_assert_eq!(results.len(), parts.len());
            for (sequence, (part, found)) in parts.iter().zip(results).enumerate() {
                let (mut found, expected) = (found, wanted(sequence, part));
                for (row, id) in expected.iter().enumerate() {
                    let has_request = part.logits.request(row).is_some();
                    if samples && has_request && !id.is_multiple_of(refused) {
                        prop_assert_eq!(found.token_of(row), Some(*id));
                        prop_assert_eq!(found.logits_of(row), None);
                    } else {
                        prop_assert_eq!(found.token_of(row), None);
                        prop_assert_eq!(found.logits_of(row), Some(&mut [*id as f32; 2][..]));
                    }
                }
                prop_assert_eq!(found.logits_of(expected.len()), None);
            }
            Ok(())
        })?;
    }

    #[test]
    fn hidden_states_are_in_the_order_of_the_request(parts in parts()) {
        with_plan(&parts, |plan| {
            let (mut all, mut of_wanted) = (Vec::new(), Vec::new());
            for batch in plan.micro_batches() {
                let twice = |id: u32| [id as f32; 2];
                all.extend(batch.token_ids().iter().flat_map(|id| twice(*id)));
                let ids = batch.wanted.iter().map(|row| batch.token_ids()[*row as usize]);
                of_wanted.extend(ids.flat_map(twice));
            }
            let tokens = |(sequence, part): (usize, &Part)| {
                let positions = part.start_pos..part.start_pos + part.tokens;
                positions.map(|position| id(sequence, position)).collect::<Vec<_>>()
            };
            let twice = |ids: Vec<u32>| ids.iter().flat_map(|id| [*id as f32; 2]).collect::<Vec<_>>();
            let expected: Vec<_> = parts.iter().enumerate().flat_map(tokens).collect();
            prop_assert_eq!(plan.hidden_in_order(&all, false), twice(expected));
            let expected: Vec<_> =
                parts.iter().enumerate().flat_map(|(sequence, part)| wanted(sequence, part)).collect();
            prop_assert_eq!(plan.hidden_in_order(&of_wanted, true), twice(expected));
            Ok(())
        })?;
    }

    #[test]
    fn a_report_names_the_sequence_and_the_position_of_its_token(parts in parts()) {
        with_plan(&parts, |plan| {
            for batch in plan.micro_batches() {
                for (row, token) in batch.token_ids().iter().enumerate() {
                    let error = batch.non_finite(5, row, f32::INFINITY);
                    let expected = (*token as usize / POSITIONS, *token as usize % POSITIONS);
                    prop_assert!(
                        matches!(
                            error,
                            ModelError::NonFinite { layer: 5, sequence, position, value: f32::INFINITY }
                                if (sequence, position) == expected
                        ),
                        "{error} instead of {expected:?}"
                    );
                }
            }
            Ok(())
        })?;
    }

    /// Each token goes to the slot of its position, in the blocks of its sequence.
    #[test]
    fn each_token_keeps_its_position_and_its_cache_slot(parts in parts()) {
        with_plan(&parts, |plan| {
            for batch in plan.micro_batches() {
                for rows in &batch.sequences {
                    for row in rows.first_row..rows.first_row + rows.num_rows {
                        let position = rows.start_pos + row - rows.first_row;
                        prop_assert_eq!(batch.token_ids()[row] as usize % POSITIONS, position);
                        prop_assert_eq!(batch.positions()[row] as usize, position);
                        let block = rows.blocks[position / CacheShape::BLOCK_SIZE] as usize;
                        let slot = block * CacheShape::BLOCK_SIZE + position % CacheShape::BLOCK_SIZE;
                        prop_assert_eq!(batch.slots()[row] as usize, slot);
                    }
                }
            }
            Ok(())
        })?;
    }
}
