//! Order of the inputs of a packed weight.

use bytes::Bytes;

use crate::{GptqWeight, GroupIndex, kernels::gptq::Segment};

/// Index of a column that pads a word.
const PADDING: u32 = u32::MAX;

/// Groups and order of the inputs of a packed weight.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) segments: Vec<Segment>,
    /// Input of each packed column if they are permuted. An index past the inputs is padding.
    pub(super) order: Option<Vec<u32>>,
}

impl Layout {
    /// Returns the layout of a checked weight. With act-order, repacks it with its inputs sorted by
    /// group and each group padded to whole words.
    pub(super) fn new(weight: &mut GptqWeight) -> Self {
        match &weight.groups {
            GroupIndex::Sequential => Self {
                segments: consecutive(weight),
                order: None,
            },
            GroupIndex::Permuted(groups) => {
                let (segments, order) = sort_by_group(weight, groups);
                weight.qweight = permute(weight, &order);
                // Copied too, so that the mapped file is not used any more.
                weight.qzeros = Bytes::copy_from_slice(&weight.qzeros);
                weight.scales = Bytes::copy_from_slice(&weight.scales);
                let order = Some(order);
                Self { segments, order }
            }
        }
    }
}

/// Returns the segments of consecutive groups.
fn consecutive(weight: &GptqWeight) -> Vec<Segment> {
    let rows = weight.in_features / weight.bits.per_word();
    let rows_per_group = weight.group_size.min(weight.in_features) / weight.bits.per_word();
    let segment = |group: usize| {
        let first_row = group * rows_per_group;
        Segment {
            first_row,
            rows: rows_per_group.min(rows - first_row),
            group,
        }
    };
    (0..weight.num_groups()).map(segment).collect()
}

/// Returns the segments of permuted groups, and the input of each of their columns.
fn sort_by_group(weight: &GptqWeight, groups: &[u32]) -> (Vec<Segment>, Vec<u32>) {
    let per_word = weight.bits.per_word();
    let mut order = Vec::with_capacity(weight.in_features);
    let mut segments = Vec::new();
    for group in 0..weight.num_groups() {
        let first_row = order.len() / per_word;
        let inputs = 0..groups.len() as u32;
        order.extend(inputs.filter(|input| groups[*input as usize] as usize == group));
        order.resize(order.len().next_multiple_of(per_word), PADDING);
        segments.push(Segment {
            first_row,
            rows: order.len() / per_word - first_row,
            group,
        });
    }
    (segments, order)
}

/// Returns `qweight` with its inputs in another order.
fn permute(weight: &GptqWeight, order: &[u32]) -> Bytes {
    let (per_word, bits) = (weight.bits.per_word(), weight.bits.bits());
    let outputs = weight.out_features;
    let mask = u32::MAX >> (32 - bits);
    let mut packed = vec![0u8; order.len() / per_word * outputs * 4];
    for (row, inputs) in packed
        .chunks_exact_mut(outputs * 4)
        .zip(order.chunks_exact(per_word))
    {
        let inputs = inputs.iter().enumerate();
        for (field, &input) in inputs.filter(|(_, input)| **input != PADDING) {
            let (from_row, from_shift) =
                (input as usize / per_word, input as usize % per_word * bits);
            let from = &weight.qweight[from_row * outputs * 4..][..outputs * 4];
            for (to, from) in row.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                let word = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
                let value = (word >> from_shift & mask) << (field * bits);
                let sum = u32::from_le_bytes([to[0], to[1], to[2], to[3]]) | value;
                to.copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    Bytes::from(packed)
}
