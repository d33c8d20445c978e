//! The permutation of a packed weight's inputs into the order that the GPU kernels read, computed
//! without a GPU.
//!
//! The kernels read inputs in blocks of 64, and all inputs of a block share one scale and zero
//! point per output. So a group must consist of whole blocks. Where the published groups do, the
//! inputs keep their order. Otherwise (act-order, or group sizes that are not multiples of 64) they
//! are sorted by group, with padding at the end of each group.

use moss_weights::{GptqWeight, GroupIndex};

use crate::layout::BLOCK;

/// Returns the place of a column in `InputOrder::Fragments`: in each block of 32
/// columns, pairs of neighbours are ordered as the lanes of a warp take them, so that tensor cores
/// read them from shared memory (`kernels/linear_sm90.cu`).
pub const fn fragment_column(column: usize) -> usize {
    let (lane, step, pair) = (column / 8 % 4, column / 4 % 2, column / 2 % 2);
    column / 32 * 32 + 16 * step + 8 * pair + 2 * lane + column % 2
}

/// A column without an input.
pub const PADDING: u32 = u32::MAX;

/// The input permutation of one weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPermutation {
    /// Blocks of 64 columns.
    pub blocks: usize,
    /// Groups, in the order of the columns.
    pub groups: usize,
    /// Blocks of a group; all of them without groups.
    pub group_blocks: usize,
    /// Input of each column, or [`PADDING`]; `None` if column `i` has input `i`.
    pub order: Option<Vec<u32>>,
    /// Published group of each group; `None` if they are the same.
    pub group_of: Option<Vec<u32>>,
}

impl InputPermutation {
    /// Returns the identity for a weight without groups.
    pub fn dense(in_features: usize) -> Self {
        let blocks = in_features.div_ceil(BLOCK);
        Self {
            blocks,
            groups: 0,
            group_blocks: blocks,
            order: None,
            group_of: None,
        }
    }

    /// Returns the permutation of a packed weight's inputs.
    pub fn of(weight: &GptqWeight) -> Self {
        let (inputs, size) = (
            weight.in_features,
            weight.group_size.min(weight.in_features).max(1),
        );
        let group_of_input: Vec<u32> = match &weight.groups {
            GroupIndex::Sequential if size == inputs => {
                return Self {
                    groups: 1,
                    ..Self::dense(inputs)
                };
            }
            GroupIndex::Sequential if size.is_multiple_of(BLOCK) => {
                let groups = inputs.div_ceil(size);
                return Self {
                    groups,
                    group_blocks: size / BLOCK,
                    ..Self::dense(inputs)
                };
            }
            GroupIndex::Sequential => (0..inputs).map(|input| (input / size) as u32).collect(),
            GroupIndex::Permuted(groups) => groups.clone(),
        };
        let mut order = Vec::with_capacity(inputs);
        let mut group_of = Vec::new();
        for group in 0..weight.num_groups() as u32 {
            order.extend(
                (0..inputs as u32).filter(|input| group_of_input[*input as usize] == group),
            );
            order.resize(order.len().next_multiple_of(BLOCK), PADDING);
            group_of.resize(order.len() / BLOCK, group);
        }
        let blocks = order.len() / BLOCK;
        Self {
            blocks,
            groups: blocks,
            group_blocks: 1,
            order: Some(order),
            group_of: Some(group_of),
        }
    }

    /// Returns the column of each input; `None` if input `i` is in column `i`.
    pub fn scatter(&self, in_features: usize) -> Option<Vec<u32>> {
        let order = self.order.as_ref()?;
        let mut columns = vec![PADDING; in_features];
        for (column, input) in order
            .iter()
            .enumerate()
            .filter(|(_, input)| **input != PADDING)
        {
            columns[*input as usize] = column as u32;
        }
        Some(columns)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use moss_weights::GptqBits;

    fn weight(in_features: usize, group_size: usize, groups: GroupIndex) -> GptqWeight {
        let empty = Bytes::new();
        GptqWeight {
            bits: GptqBits::Four,
            group_size,
            in_features,
            out_features: 8,
            qweight: empty.clone(),
            qzeros: empty.clone(),
            scales: empty,
            groups,
        }
    }

    /// Computes the group as the kernels do.
    fn group_of_block(permutation: &InputPermutation, block: usize) -> usize {
        block / permutation.group_blocks
    }

    #[test]
    fn groups_of_whole_blocks_keep_the_order_of_the_inputs() {
        let permutation = InputPermutation::of(&weight(6144, 128, GroupIndex::Sequential));
        assert_eq!(
            (
                permutation.blocks,
                permutation.groups,
                permutation.order.as_ref()
            ),
            (96, 48, None)
        );
        assert!((0..96).all(|block| group_of_block(&permutation, block) == block / 2));
    }

    #[test]
    fn one_group_covers_every_block() {
        for inputs in [8, 64, 100, 384, 24_576] {
            let permutation = InputPermutation::of(&weight(inputs, inputs, GroupIndex::Sequential));
            assert!(
                (0..permutation.blocks).all(|block| group_of_block(&permutation, block) == 0),
                "{inputs}"
            );
        }
    }

    #[test]
    fn every_input_of_an_act_order_weight_is_in_a_block_of_its_group() {
        let groups: Vec<u32> = (0..384u32).map(|input| input * 7 % 3).collect();
        let permutation =
            InputPermutation::of(&weight(384, 128, GroupIndex::Permuted(groups.clone())));
        let order = permutation.order.clone().unwrap();
        let group_of = permutation.group_of.clone().unwrap();
        assert_eq!(order.len(), 384);
        for (column, input) in order.iter().enumerate() {
            assert_eq!(groups[*input as usize], group_of[column / BLOCK]);
        }
        let scatter = permutation.scatter(384).unwrap();
        assert!((0..384).all(|input| order[scatter[input] as usize] == input as u32));
    }

    #[test]
    fn groups_that_are_not_whole_blocks_are_padded() {
        let permutation = InputPermutation::of(&weight(96, 32, GroupIndex::Sequential));
        assert_eq!((permutation.blocks, permutation.groups), (3, 3));
        let order = permutation.order.unwrap();
        assert_eq!(order[31], 31);
        assert_eq!(order[32], PADDING);
        assert_eq!(order[64], 32);
    }
}
