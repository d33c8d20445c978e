//! The permutation of a packed weight's inputs into the order that the GPU kernels read, computed
//! without a GPU.
//!
//! The kernels take inputs in blocks of 64, and every block has one scale and zero point an output.
//! So the inputs of a group fill whole blocks: in their own order where the groups do so already,
//! sorted by group otherwise (act-order, or groups of an odd size).

use crate::{BLOCK, GptqWeight, GroupIndex};

/// A place that no input stands at.
pub const FILL: u32 = u32::MAX;

/// The plan for one weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Blocks of 64 places.
    pub blocks: usize,
    /// Groups in the order of the places.
    pub groups: usize,
    /// `ceil(2^32 / blocks of a group)`, or 0 where every block counts as a group of its own.
    pub group_magic: u32,
    /// Input at each place, where it is not the place's own number.
    pub order: Option<Vec<u32>>,
    /// Published group of each group, where it is not its own number.
    pub group_of: Option<Vec<u32>>,
}

impl Places {
    /// For a weight whose inputs have no groups.
    pub fn dense(in_features: usize) -> Self {
        Self {
            blocks: in_features.div_ceil(BLOCK),
            groups: 0,
            group_magic: 0,
            order: None,
            group_of: None,
        }
    }

    /// Plans the order of a packed weight's inputs.
    pub fn of(weight: &GptqWeight) -> Self {
        let (inputs, size) = (
            weight.in_features,
            weight.group_size.min(weight.in_features).max(1),
        );
        let blocks = inputs.div_ceil(BLOCK);
        let group_of_input: Vec<u32> = match &weight.groups {
            GroupIndex::Sequential if size == inputs => {
                return Self {
                    groups: 1,
                    group_magic: magic(blocks),
                    ..Self::dense(inputs)
                }
                .or_blockwise(blocks);
            }
            GroupIndex::Sequential if size.is_multiple_of(BLOCK) => {
                let groups = inputs.div_ceil(size);
                return Self {
                    groups,
                    group_magic: magic(size / BLOCK),
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
            order.resize(order.len().next_multiple_of(BLOCK), FILL);
            group_of.resize(order.len() / BLOCK, group);
        }
        let blocks = order.len() / BLOCK;
        Self {
            blocks,
            groups: blocks,
            group_magic: 0,
            order: Some(order),
            group_of: Some(group_of),
        }
    }

    /// One group of one block needs no division.
    fn or_blockwise(self, blocks: usize) -> Self {
        if blocks == 1 {
            Self {
                group_magic: 0,
                ..self
            }
        } else {
            self
        }
    }

    /// Place of each input: what writes an input for this weight puts it there.
    pub fn scatter(&self, in_features: usize) -> Option<Vec<u32>> {
        let order = self.order.as_ref()?;
        let mut places = vec![FILL; in_features];
        for (place, input) in order
            .iter()
            .enumerate()
            .filter(|(_, input)| **input != FILL)
        {
            places[*input as usize] = place as u32;
        }
        Some(places)
    }
}

/// A factor that turns a division by `n` into a multiplication: exact for blocks below 2^16.
fn magic(n: usize) -> u32 {
    if n == 1 {
        0
    } else {
        (1u64 << 32).div_ceil(n as u64) as u32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::GptqBits;

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

    /// As the kernels compute it.
    fn group_of_block(places: &Places, block: u32) -> u32 {
        match places.group_magic {
            0 => block,
            magic => ((u64::from(block) * u64::from(magic)) >> 32) as u32,
        }
    }

    #[test]
    fn the_published_layout_keeps_its_order() {
        let places = Places::of(&weight(6144, 128, GroupIndex::Sequential));
        assert_eq!(
            (places.blocks, places.groups, places.order.as_ref()),
            (96, 48, None)
        );
        assert!((0..96).all(|block| group_of_block(&places, block) == block / 2));
    }

    #[test]
    fn the_multiplication_divides_exactly() {
        for blocks_of_group in 1..400 {
            let magic = magic(blocks_of_group);
            let places = Places {
                group_magic: magic,
                ..Places::dense(64)
            };
            for block in (0..65_536).step_by(7).chain([65_535]) {
                assert_eq!(
                    group_of_block(&places, block),
                    block / blocks_of_group as u32,
                    "{block} / {blocks_of_group}"
                );
            }
        }
    }

    #[test]
    fn one_group_covers_every_block() {
        for inputs in [8, 64, 100, 384, 24_576] {
            let places = Places::of(&weight(inputs, inputs, GroupIndex::Sequential));
            assert!(
                (0..places.blocks as u32).all(|block| group_of_block(&places, block) == 0),
                "{inputs}"
            );
        }
    }

    #[test]
    fn every_input_of_an_act_order_weight_stands_in_a_block_of_its_group() {
        let groups: Vec<u32> = (0..384u32).map(|input| input * 7 % 3).collect();
        let places = Places::of(&weight(384, 128, GroupIndex::Permuted(groups.clone())));
        let order = places.order.clone().unwrap();
        let group_of = places.group_of.clone().unwrap();
        assert_eq!(order.len(), 384);
        for (place, input) in order.iter().enumerate() {
            assert_eq!(groups[*input as usize], group_of[place / BLOCK]);
        }
        let scatter = places.scatter(384).unwrap();
        assert!((0..384).all(|input| order[scatter[input] as usize] == input as u32));
    }

    #[test]
    fn groups_that_fill_no_whole_block_are_filled_up() {
        let places = Places::of(&weight(96, 32, GroupIndex::Sequential));
        assert_eq!((places.blocks, places.groups), (3, 3));
        let order = places.order.unwrap();
        assert_eq!(order[31], 31);
        assert_eq!(order[32], FILL);
        assert_eq!(order[64], 32);
    }
}
