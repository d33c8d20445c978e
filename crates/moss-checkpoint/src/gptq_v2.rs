//! Conversion of `gptq_v2` weights to the published layout.
//!
//! Kernels compute `scale * (q - (stored + 1))`. `gptq_v2` stores the zero point itself, so the
//! conversion subtracts one. A zero point of 0 has no such form. There the group is negated: with
//! `max` the largest field, `-scale * ((max - q) - max) = scale * q`.

use bytes::Bytes;
use half::f16;
use moss_weights::{GptqBits, GptqWeight, GroupIndex};

/// Converts zero points stored as they are to zero points minus one. The shapes have been checked.
pub(crate) fn to_less_one(weight: &mut GptqWeight) {
    let fields = Fields::new(weight.bits);
    let (outputs, row_words) = (weight.out_features, weight.zero_words());
    let mut zeros = words(&weight.qzeros);
    let mut negated: Vec<Vec<usize>> = vec![Vec::new(); zeros.len() / row_words.max(1)];
    for (row, negated) in zeros.chunks_exact_mut(row_words.max(1)).zip(&mut negated) {
        for output in 0..outputs {
            let word = &mut row[output / fields.per_word];
            let shift = output % fields.per_word * fields.bits;
            let stored = match *word >> shift & fields.largest {
                0 => {
                    negated.push(output);
                    fields.largest - 1
                }
                zero => zero - 1,
            };
            *word = *word & !(fields.largest << shift) | stored << shift;
        }
    }
    weight.qzeros = bytes_of(&zeros);
    if negated.iter().any(|outputs| !outputs.is_empty()) {
        negate_scales(weight, &negated);
        complement_weights(weight, &negated);
    }
}

/// Negates the scales of the listed outputs of each group.
fn negate_scales(weight: &mut GptqWeight, negated: &[Vec<usize>]) {
    let mut halves = weight.scales.to_vec();
    for (group, outputs) in negated.iter().enumerate() {
        for output in outputs {
            let at = 2 * (group * weight.out_features + output);
            let scale = f16::from_le_bytes([halves[at], halves[at + 1]]);
            halves[at..at + 2].copy_from_slice(&(-scale).to_le_bytes());
        }
    }
    weight.scales = Bytes::from(halves);
}

/// Replaces the fields `q` of the listed outputs of each group by `max - q`.
fn complement_weights(weight: &mut GptqWeight, negated: &[Vec<usize>]) {
    let fields = Fields::new(weight.bits);
    let mut weights = words(&weight.qweight);
    let rows = weights.chunks_exact_mut(weight.out_features.max(1));
    for (row, weights) in rows.enumerate() {
        for field in 0..fields.per_word {
            let input = row * fields.per_word + field;
            let group = match &weight.groups {
                GroupIndex::Sequential => input / weight.group_size.max(1),
                GroupIndex::Permuted(groups) => {
                    groups.get(input).map_or(0, |group| *group as usize)
                }
            };
            for output in negated.get(group).into_iter().flatten() {
                weights[*output] ^= fields.largest << (field * fields.bits);
            }
        }
    }
    weight.qweight = bytes_of(&weights);
}

/// Returns the first zero point, as stored, that differs from `middle`, the one of symmetric
/// quantization; `None` if all are equal to it.
pub(crate) fn off_centre(
    bits: GptqBits,
    qzeros: &[u8],
    out_features: usize,
    middle: u32,
) -> Option<u32> {
    let fields = Fields::new(bits);
    let row_words = out_features.div_ceil(fields.per_word).max(1);
    words(qzeros).chunks_exact(row_words).find_map(|row| {
        let field = |output: usize| {
            row[output / fields.per_word] >> (output % fields.per_word * fields.bits)
                & fields.largest
        };
        (0..out_features).map(field).find(|zero| *zero != middle)
    })
}

/// The layout of packed fields in a word.
struct Fields {
    bits: usize,
    per_word: usize,
    largest: u32,
}

impl Fields {
    fn new(bits: GptqBits) -> Self {
        Self {
            bits: bits.bits(),
            per_word: bits.per_word(),
            largest: (1 << bits.bits()) - 1,
        }
    }
}

fn words(data: &[u8]) -> Vec<u32> {
    data.chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn bytes_of(words: &[u32]) -> Bytes {
    Bytes::from(
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}
