//! Zero points as `gptq_v2` stores them, brought into the convention that the kernels read.
//!
//! Kernels compute `scale * (q - (stored + 1))`. `gptq_v2` stores the zero point itself, so one
//! less has to be stored. A zero point of 0 has no such form; there the group is turned around:
//! with `max` the largest field, `-scale * ((max - q) - max) = scale * q`.

use bytes::Bytes;
use half::f16;

use crate::{GroupIndex, Tensor};

/// The three matrices of a layer, to be rewritten in place.
pub(crate) struct Packed<'a> {
    pub(crate) bits: u32,
    pub(crate) qweight: &'a mut Tensor,
    pub(crate) qzeros: &'a mut Tensor,
    /// f16
    pub(crate) scales: &'a mut Tensor,
}

/// Makes plain zero points zero points less one. The shapes have been checked.
pub(crate) fn less_one(
    packed: Packed<'_>,
    groups: &GroupIndex,
    group_size: usize,
    out_features: usize,
) {
    let Packed {
        bits,
        qweight,
        qzeros,
        scales,
    } = packed;
    let (per_word, largest) = (32 / bits as usize, (1u32 << bits) - 1);
    let num_groups = qzeros.shape.first().copied().unwrap_or(0);
    let mut zeros = words(&qzeros.data);
    let row_words = out_features.div_ceil(per_word);
    let mut turned: Vec<Vec<usize>> = vec![Vec::new(); num_groups];
    for (row, turned) in zeros.chunks_exact_mut(row_words.max(1)).zip(&mut turned) {
        for output in 0..out_features {
            let (word, shift) = (
                &mut row[output / per_word],
                output % per_word * bits as usize,
            );
            let stored = match *word >> shift & largest {
                0 => {
                    turned.push(output);
                    largest - 1
                }
                zero => zero - 1,
            };
            *word = *word & !(largest << shift) | stored << shift;
        }
    }
    qzeros.data = bytes_of(&zeros);
    if turned.iter().all(Vec::is_empty) {
        return;
    }
    let mut halves = scales.data.to_vec();
    for (group, outputs) in turned.iter().enumerate() {
        for output in outputs {
            let at = 2 * (group * out_features + output);
            let scale = f16::from_le_bytes([halves[at], halves[at + 1]]);
            halves[at..at + 2].copy_from_slice(&(-scale).to_le_bytes());
        }
    }
    scales.data = Bytes::from(halves);
    let mut weights = words(&qweight.data);
    for (row, weights) in weights.chunks_exact_mut(out_features.max(1)).enumerate() {
        for field in 0..per_word {
            let input = row * per_word + field;
            let group = match groups {
                GroupIndex::Sequential => input / group_size.max(1),
                GroupIndex::Permuted(groups) => {
                    groups.get(input).map_or(0, |group| *group as usize)
                }
            };
            for output in turned.get(group).into_iter().flatten() {
                weights[*output] ^= largest << (field * bits as usize);
            }
        }
    }
    qweight.data = bytes_of(&weights);
}

/// Whether some zero point is not the middle of the fields, as symmetric quantisation has it: the
/// first such, as stored.
pub(crate) fn off_centre(
    bits: u32,
    qzeros: &Tensor,
    out_features: usize,
    stored_middle: u32,
) -> Option<u32> {
    let (per_word, largest) = (32 / bits as usize, (1u32 << bits) - 1);
    let row_words = out_features.div_ceil(per_word).max(1);
    words(&qzeros.data).chunks_exact(row_words).find_map(|row| {
        let field =
            |output: usize| row[output / per_word] >> (output % per_word * bits as usize) & largest;
        (0..out_features)
            .map(field)
            .find(|zero| *zero != stored_middle)
    })
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
