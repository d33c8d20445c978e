//! Paged attention: several sequences, shuffled blocks, and chunks that cross block boundaries.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use moss_cpu::ops::{KvLayer, SequenceRows, attention, kv_write};

const HEADS: usize = 3;
const HEAD_DIM: usize = 32;
const BLOCK: usize = 4;
const NUM_BLOCKS: usize = 12;

/// Error of f32 sums of at most 13 terms near 1.
const TOL: f64 = 1e-5;

struct Sequence {
    blocks: Vec<u32>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    len: usize,
}

impl Sequence {
    fn new(blocks: &[u32], len: usize, dtype: DType) -> Self {
        let random = || {
            let x = Tensor::randn(0f32, 1.0, (len, HEADS, HEAD_DIM), &Device::Cpu).unwrap();
            x.to_dtype(dtype).unwrap()
        };
        Self {
            blocks: blocks.to_vec(),
            q: random(),
            k: random(),
            v: random(),
            len,
        }
    }

    fn slots(&self, from: usize, rows: usize) -> Vec<u32> {
        (from..from + rows)
            .map(|at| self.blocks[at / BLOCK] * BLOCK as u32 + (at % BLOCK) as u32)
            .collect()
    }

    /// Writes the keys and values of rows `from..from + rows`, and returns their attention.
    fn forward(&self, cache: &KvLayer, from: usize, rows: usize) -> Vec<f32> {
        let part = |x: &Tensor| x.narrow(0, from, rows).unwrap();
        kv_write(
            cache,
            &part(&self.k),
            &part(&self.v),
            &self.slots(from, rows),
        )
        .unwrap();
        let sequence = SequenceRows {
            first_row: 0,
            num_rows: rows,
            start_pos: from,
            blocks: &self.blocks,
        };
        values(&attention(&part(&self.q), cache, &[sequence]).unwrap())
    }

    /// Computes causal attention by its definition, in f64.
    fn reference(&self) -> Vec<f64> {
        let (q, k, v) = (values(&self.q), values(&self.k), values(&self.v));
        let lane =
            |x: &[f32], row, head, lane| f64::from(x[(row * HEADS + head) * HEAD_DIM + lane]);
        let mut out = Vec::new();
        for row in 0..self.len {
            for head in 0..HEADS {
                let score = |at| {
                    let products =
                        (0..HEAD_DIM).map(|i| lane(&q, row, head, i) * lane(&k, at, head, i));
                    (products.sum::<f64>() / (HEAD_DIM as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = (0..=row).map(score).collect();
                let total: f64 = scores.iter().sum();
                out.extend((0..HEAD_DIM).map(|i| {
                    scores
                        .iter()
                        .enumerate()
                        .map(|(at, s)| s / total * lane(&v, at, head, i))
                        .sum::<f64>()
                }));
            }
        }
        out
    }
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

fn cache(dtype: DType) -> KvLayer {
    KvLayer::zeros(NUM_BLOCKS, HEADS, BLOCK, HEAD_DIM, dtype, &Device::Cpu).unwrap()
}

fn int8_cache() -> KvLayer {
    KvLayer::int8(NUM_BLOCKS, HEADS, BLOCK, HEAD_DIM, &Device::Cpu).unwrap()
}

#[test]
fn attention_over_shuffled_blocks_is_causal_and_correct() {
    let sequence = Sequence::new(&[7, 0, 11, 4], 13, DType::F32);
    let found = sequence.forward(&cache(DType::F32), 0, 13);
    for (at, (found, exact)) in found.iter().zip(sequence.reference()).enumerate() {
        assert!(
            (f64::from(*found) - exact).abs() <= TOL,
            "value {at}: {found} instead of {exact}"
        );
    }
}

#[test]
fn attention_over_eight_bit_integers_is_close_to_the_exact_one() {
    let sequence = Sequence::new(&[7, 0, 11, 4], 13, DType::F32);
    let found = sequence.forward(&int8_cache(), 0, 13);
    let exact = sequence.reference();
    // Values up to 4 are rounded to multiples of 4 / 127, so each has an error of 0.016, which sums
    // of weights that add up to one do not exceed. Rounded keys change scores by a few thousandths.
    let largest = found
        .iter()
        .zip(&exact)
        .map(|(found, exact)| (f64::from(*found) - exact).abs())
        .fold(0.0, f64::max);
    assert!(largest > 0.0 && largest < 0.06, "{largest}");
}

#[test]
fn eight_bit_caches_of_all_types_hold_the_same_bytes() {
    // Values that every type represents.
    let rows = |seed: usize| {
        let number = |at: usize| ((at * 37 + seed * 11) % 255) as f32 - 127.0;
        let values: Vec<f32> = (0..5 * HEADS * HEAD_DIM).map(number).collect();
        Tensor::from_vec(values, (5, HEADS, HEAD_DIM), &Device::Cpu).unwrap()
    };
    let (k, v) = (rows(1), rows(2));
    let written = |dtype| {
        let cache = int8_cache();
        let slots = [3, 9, 10, 47, 0];
        let to = |x: &Tensor| x.to_dtype(dtype).unwrap();
        kv_write(&cache, &to(&k), &to(&v), &slots).unwrap();
        cache
            .contents()
            .map(|x| x.flatten_all().unwrap().to_vec1::<u8>().unwrap())
    };
    let expected = written(DType::F32);
    assert!(expected[0] != expected[1]);
    for dtype in [DType::F16, DType::BF16] {
        assert_eq!(written(dtype), expected, "{dtype:?}");
    }
}

#[test]
fn chunks_that_cross_block_boundaries_change_no_bit() {
    for (dtype, int8) in [
        (DType::F32, false),
        (DType::F16, false),
        (DType::BF16, false),
        (DType::F32, true),
        (DType::F16, true),
        (DType::BF16, true),
    ] {
        let cache = |dtype| if int8 { int8_cache() } else { cache(dtype) };
        let sequence = Sequence::new(&[7, 0, 11, 4], 13, dtype);
        let whole = sequence.forward(&cache(dtype), 0, 13);
        let chunked = cache(dtype);
        let mut found = Vec::new();
        for (from, rows) in [(0, 3), (3, 3), (6, 1), (7, 6)] {
            found.extend(sequence.forward(&chunked, from, rows));
        }
        assert_eq!(found, whole, "{dtype:?}, int8 {int8}");
    }
}

#[test]
fn sequences_of_a_forward_batch_are_independent() {
    let dtype = DType::F16;
    let (first, second) = (
        Sequence::new(&[3, 9], 6, dtype),
        Sequence::new(&[5, 2, 8], 10, dtype),
    );
    let alone = [
        first.forward(&cache(dtype), 0, 6),
        second.forward(&cache(dtype), 0, 10),
    ]
    .concat();

    let shared = cache(dtype);
    second.forward(&shared, 0, 4);
    let join = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, &b.narrow(0, 4, 6).unwrap()], 0).unwrap();
    let slots = [first.slots(0, 6), second.slots(4, 6)].concat();
    kv_write(
        &shared,
        &join(&first.k, &second.k),
        &join(&first.v, &second.v),
        &slots,
    )
    .unwrap();
    let rows = [
        SequenceRows {
            first_row: 0,
            num_rows: 6,
            start_pos: 0,
            blocks: &first.blocks,
        },
        SequenceRows {
            first_row: 6,
            num_rows: 6,
            start_pos: 4,
            blocks: &second.blocks,
        },
    ];
    let together = values(&attention(&join(&first.q, &second.q), &shared, &rows).unwrap());
    let width = HEADS * HEAD_DIM;
    assert_eq!(together[..6 * width], alone[..6 * width]);
    assert_eq!(together[6 * width..], alone[(6 + 4) * width..]);
}

#[test]
fn slots_and_blocks_outside_the_cache_are_rejected() {
    let cache = cache(DType::F16);
    let rows = |dtype| Tensor::zeros((1, HEADS, HEAD_DIM), dtype, &Device::Cpu).unwrap();
    let half = rows(DType::F16);
    let write = |keys: &Tensor, slots: &[u32]| {
        kv_write(&cache, keys, &half, slots)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        write(&half, &[48]),
        "kv_write: `slot` is 48, expected below 48"
    );
    assert!(write(&half, &[1, 2]).contains("[1, 3, 32]"));
    assert!(write(&rows(DType::F32), &[1]).contains("`keys` is f32"));

    let attend = |start_pos, blocks: &[u32], first_row| {
        let sequence = SequenceRows {
            first_row,
            num_rows: 1,
            start_pos,
            blocks,
        };
        attention(&half, &cache, &[sequence])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        attend(4, &[1], 0),
        "attention: `blocks` is 1, expected at least 2"
    );
    assert_eq!(
        attend(0, &[12], 0),
        "attention: `block` is 12, expected below 12"
    );
    assert_eq!(
        attend(0, &[1], 1),
        "attention: `last row` is 2, expected at most 1"
    );
}

#[test]
fn overlapping_sequences_are_rejected() {
    let x = Tensor::zeros((4, HEADS, HEAD_DIM), DType::F16, &Device::Cpu).unwrap();
    let rows = |first_row, num_rows| SequenceRows {
        first_row,
        num_rows,
        start_pos: 0,
        blocks: &[1],
    };
    let attend = |second| attention(&x, &cache(DType::F16), &[rows(0, 2), second]);
    assert!(attend(rows(2, 2)).is_ok());
    for first_row in [0, 1] {
        let error = attend(rows(first_row, 2)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("attention: `first row` is {first_row}, expected at least 2")
        );
    }
}

#[test]
fn zero_extents_are_rejected_and_zero_rows_are_accepted() {
    let error = |blocks, heads, block, head_dim| {
        let cache = KvLayer::zeros(blocks, heads, block, head_dim, DType::F16, &Device::Cpu);
        cache.unwrap_err().to_string()
    };
    assert_eq!(
        error(0, 1, 1, 1),
        "kv cache: `num_blocks` is 0, expected at least 1"
    );
    assert_eq!(
        error(1, 0, 1, 1),
        "kv cache: `num_heads` is 0, expected at least 1"
    );
    assert_eq!(
        error(1, 1, 0, 1),
        "kv cache: `block_size` is 0, expected at least 1"
    );
    assert_eq!(
        error(1, 1, 1, 0),
        "kv cache: `head_dim` is 0, expected at least 1"
    );
    assert!(error(usize::MAX / 8, 16, 16, 256).contains("num_blocks"));

    let cache = cache(DType::F16);
    let rows =
        |shape: (usize, usize, usize)| Tensor::zeros(shape, DType::F16, &Device::Cpu).unwrap();
    for shape in [(1, 0, HEAD_DIM), (1, HEADS, 0)] {
        let x = rows(shape);
        assert!(
            kv_write(&cache, &x, &x, &[0])
                .unwrap_err()
                .to_string()
                .contains("expected [1, 3, 32]")
        );
        let sequence = SequenceRows {
            first_row: 0,
            num_rows: 1,
            start_pos: 0,
            blocks: &[0],
        };
        let error = attention(&x, &cache, &[sequence]).unwrap_err().to_string();
        assert!(error.contains("expected [rows, 3, 32]"), "{error}");
    }
    let none = rows((0, HEADS, HEAD_DIM));
    kv_write(&cache, &none, &none, &[]).unwrap();
    let nothing = SequenceRows {
        first_row: 0,
        num_rows: 0,
        start_pos: 0,
        blocks: &[],
    };
    assert_eq!(
        attention(&none, &cache, &[nothing]).unwrap().dims(),
        [0, HEADS * HEAD_DIM]
    );
}

#[test]
fn positions_that_overflow_are_rejected() {
    let x = Tensor::zeros((1, HEADS, HEAD_DIM), DType::F16, &Device::Cpu).unwrap();
    let attend = |first_row, num_rows, start_pos| {
        let sequence = SequenceRows {
            first_row,
            num_rows,
            start_pos,
            blocks: &[0],
        };
        attention(&x, &cache(DType::F16), &[sequence])
            .unwrap_err()
            .to_string()
    };
    assert!(attend(0, 1, usize::MAX).contains("`blocks` is 1"));
    assert!(attend(usize::MAX, 1, 0).contains("`last row`"));
}
