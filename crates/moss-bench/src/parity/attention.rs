//! Attention over the paged KV cache: one query per sequence, and tiles of queries. The blocks of a
//! sequence are not in order, and positions that no sequence has written are NaN, so that a kernel
//! that reads them fails its case.

use moss_weights::synthetic::Grouping;

use super::{
    harness::{Case, Prepared},
    paged::{DecodeTokens, Paged, PagedOnGpu, padded},
    tolerance::{HALF_STEP, Tolerance},
    weights::Stored,
};

pub(super) const DECODE: Tolerance = Tolerance {
    allowed: HALF_STEP + 1.0 / 32_768.0,
    reason: "f32 sums and exponentials in parts of 32 positions, then rounded to f16: half a step of 2^-10",
};

const PREFILL: Tolerance = Tolerance {
    allowed: 8.0 * HALF_STEP,
    reason: "weights are rounded to f16, half a step of 2^-10 of the values, which are several times the usual output; outputs are rounded too",
};

/// Number of heads and `head_dim`: those of the test checkpoints and of the published model, and
/// some that are not multiples of 16 bytes or of the size of a kernel.
pub(super) const HEADS: [(usize, usize); 8] = [
    (4, 32),
    (8, 16),
    (4, 256),
    (3, 20),
    (2, 6),
    (2, 72),
    (2, 200),
    (5, 130),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let dense = Stored::F16;
    let act_order = Stored::Int4(Grouping::Permuted(64));
    for heads in HEADS {
        for context in [1, 15, 16, 17, 511, 2047] {
            cases.push(decode(heads, vec![context], dense));
        }
        for (context, rows) in [
            (1, 1),
            (15, 15),
            (63, 63),
            (64, 64),
            (65, 65),
            (127, 127),
            (128, 128),
            (129, 129),
            (211, 150),
            (300, 257),
            (300, 1),
        ] {
            cases.push(prefill(heads, vec![(context, rows)], dense));
        }
    }
    // Several sequences, and outputs in the input permutation of an act-order weight.
    for stored in [dense, act_order] {
        cases.push(decode((4, 32), vec![33, 1, 700, 32, 96], stored));
        cases.push(prefill(
            (4, 32),
            vec![(65, 65), (1, 1), (100, 64), (40, 3)],
            stored,
        ));
    }
    cases.push(decode((24, 256), vec![2048], dense));
    for n in [2, 8, 16, 17, 32, 64, 65, 256] {
        cases.push(decode((2, 256), mixed_contexts(n), dense));
    }
    for heads in HEADS.into_iter().chain([(24, 256)]) {
        cases.push(decode_drafts(
            heads,
            vec![(66, 4), (1, 1), (33, 3), (700, 8)],
            dense,
        ));
        cases.push(decode_of_any_size(heads, mixed_contexts(40)));
    }
    cases.push(prefill((24, 256), vec![(512, 512)], dense));
    for heads in HEADS.into_iter().chain([(24, 256)]) {
        cases.push(tiles_of_any_size(heads));
    }
    cases
}

/// Returns the contexts of `n` sequences: the ends of groups, splits and blocks among them.
pub(super) fn mixed_contexts(n: usize) -> Vec<usize> {
    const CONTEXTS: [usize; 11] = [1, 700, 16, 31, 2048, 17, 15, 512, 33, 511, 32];
    CONTEXTS.into_iter().cycle().take(n).collect()
}

pub(super) fn words((heads, head_dim): (usize, usize), stored: Stored) -> String {
    let order = if stored == Stored::F16 {
        ""
    } else {
        ", for act-order"
    };
    format!("{heads} heads of {head_dim}{order}")
}

/// Lists sequences of `(positions, tokens)`; of many, the first ones.
pub(super) fn listed(sequences: &[(usize, usize)]) -> String {
    let first: Vec<String> = sequences
        .iter()
        .take(6)
        .map(|(positions, tokens)| format!("{tokens} of {positions}"))
        .collect();
    let more = sequences.len() - first.len();
    if more == 0 {
        first.join(", ")
    } else {
        format!("{} and {more} more", first.join(", "))
    }
}

/// One token for each sequence; `contexts` are their positions.
fn decode(heads: (usize, usize), contexts: Vec<usize>, stored: Stored) -> Case {
    let sequences = contexts.into_iter().map(|context| (context, 1)).collect();
    decode_drafts(heads, sequences, stored)
}

/// Sequences of `(positions, tokens)` with the tokens at their last positions, each token with the
/// block table of its sequence.
fn decode_drafts(heads: (usize, usize), sequences: Vec<(usize, usize)>, stored: Stored) -> Case {
    let shape = format!("{}, tokens {}", words(heads, stored), listed(&sequences));
    Case::new("attention_decode", shape, DECODE, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = stored.weight(heads.0 * heads.1, 16, 54);
        let expected = paged.expected(&out_proj)?;
        let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
        let tokens = DecodeTokens::new(harness.gpu, &paged)?;
        let run = move || device.decode(&tokens, &device.q);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// A token has the same bits alone and with others, in any number of thread blocks.
fn decode_of_any_size(heads: (usize, usize), contexts: Vec<usize>) -> Case {
    let shape = format!(
        "{}, {} sequences at once and alone",
        words(heads, Stored::F16),
        contexts.len()
    );
    Case::new("attention_decode", shape, Tolerance::NONE, move |harness| {
        let sequences: Vec<_> = contexts.iter().map(|context| (*context, 1)).collect();
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 57);
        let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
        let all = DecodeTokens::new(harness.gpu, &paged)?;
        let queries = padded(paged.layout, &paged.queries());
        let stride = queries.len() / paged.rows();
        let mut expected = Vec::new();
        for (token, query) in queries.chunks_exact(stride).enumerate() {
            let alone = DecodeTokens::one(harness.gpu, &paged, token)?;
            let out = device.decode(&alone, &harness.halves(query)?)?;
            expected.extend(&out[..out.len() / paged.rows()]);
        }
        let run = move || device.decode(&all, &device.q);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Sequences of `(positions, tokens)`; the tokens are at the last positions.
fn prefill(heads: (usize, usize), sequences: Vec<(usize, usize)>, stored: Stored) -> Case {
    let shape = format!("{}, tokens {}", words(heads, stored), listed(&sequences));
    Case::new("attention_prefill", shape, PREFILL, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = stored.weight(heads.0 * heads.1, 16, 55);
        let expected = paged.expected(&out_proj)?;
        let (gpu, n) = (harness.gpu, paged.rows());
        let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
        let tiles = tiles(&sequences, gpu.prefill_tile());
        let run = move || device.prefill(&tiles, n);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Returns the tiles of sequences of `(positions, tokens)`, of up to `size` tokens.
pub(super) fn tiles(sequences: &[(usize, usize)], size: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = Vec::new();
    let mut first_row = 0;
    for (sequence, (positions, rows)) in sequences.iter().enumerate() {
        for first in (0..*rows).step_by(size) {
            let tile = [
                sequence,
                first_row + first,
                size.min(rows - first),
                positions - rows + first,
            ];
            numbers.extend(tile.map(|number| number as u32));
        }
        first_row += rows;
    }
    numbers
}

/// Tokens have the same bits in tiles of any size.
fn tiles_of_any_size(heads: (usize, usize)) -> Case {
    const SIZES: [usize; 5] = [1, 7, 16, 33, 64];
    let shape = format!("{}, tiles of {SIZES:?} tokens", words(heads, Stored::F16));
    Case::new(
        "attention_prefill",
        shape,
        Tolerance::NONE,
        move |harness| {
            let sequences = vec![(300, 300), (130, 1), (512, 129)];
            let paged = Paged::new(heads, sequences.clone());
            let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 56);
            let (gpu, n) = (harness.gpu, paged.rows());
            let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
            let mut expected = Vec::new();
            for size in SIZES {
                expected.extend(device.prefill(&tiles(&sequences, size), n)?);
            }
            let largest = tiles(&sequences, gpu.prefill_tile());
            let run = move || Ok(device.prefill(&largest, n)?.repeat(SIZES.len()));
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}
