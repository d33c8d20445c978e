//! The tokens of a timed forward batch, and their places in the cache.

use moss_cuda::BLOCK_POSITIONS;

/// The tokens of a forward batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tokens {
    /// A token of each of `rows` sequences, the last of `context` positions.
    Generated { rows: usize, context: usize },
    /// A prompt of `rows` tokens.
    Prompt { rows: usize },
}

impl Tokens {
    /// Returns the number of tokens.
    pub(super) fn rows(self) -> usize {
        match self {
            Self::Generated { rows, .. } | Self::Prompt { rows } => rows,
        }
    }

    /// Returns the number of sequences, which is also that of the tokens that pass through lm_head.
    pub(super) fn outputs(self) -> usize {
        match self {
            Self::Generated { rows, .. } => rows,
            Self::Prompt { .. } => 1,
        }
    }

    /// Returns the positions of one sequence.
    pub(super) fn context(self) -> usize {
        match self {
            Self::Generated { context, .. } => context,
            Self::Prompt { rows } => rows,
        }
    }

    /// Returns the blocks of one sequence. Those of sequence `i` follow those of sequence `i - 1`.
    pub(super) fn blocks(self) -> usize {
        self.context().div_ceil(BLOCK_POSITIONS)
    }

    /// Returns the positions of all sequences.
    pub(super) fn cached(self) -> usize {
        self.outputs() * self.context()
    }

    /// Returns the sum over the tokens of the positions to which they attend. A token of a prompt
    /// attends to itself and those before it.
    pub(super) fn seen(self) -> usize {
        match self {
            Self::Generated { rows, context } => rows * context,
            Self::Prompt { rows } => rows * (rows + 1) / 2,
        }
    }

    /// Returns the position of each token.
    pub(super) fn positions(self) -> Vec<u32> {
        match self {
            Self::Generated { rows, context } => vec![context as u32 - 1; rows],
            Self::Prompt { rows } => (0..rows as u32).collect(),
        }
    }

    /// Returns the cache slot of each token.
    pub(super) fn slots(self) -> Vec<u32> {
        match self {
            Self::Generated { rows, context } => (0..rows)
                .map(|sequence| (sequence * self.blocks() * BLOCK_POSITIONS + context - 1) as u32)
                .collect(),
            Self::Prompt { .. } => self.positions(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_a_step_have_separate_blocks_and_the_same_position() {
        let step = Tokens::Generated {
            rows: 3,
            context: 17,
        };
        assert_eq!(step.positions(), [16, 16, 16]);
        assert_eq!(step.slots(), [16, 48, 80]);
        assert_eq!((step.blocks(), step.cached(), step.seen()), (2, 51, 51));
        assert_eq!((step.rows(), step.outputs()), (3, 3));
    }

    #[test]
    fn a_prompt_is_one_sequence_from_position_0() {
        let prompt = Tokens::Prompt { rows: 4 };
        assert_eq!(prompt.positions(), [0, 1, 2, 3]);
        assert_eq!(prompt.slots(), [0, 1, 2, 3]);
        assert_eq!(
            (prompt.cached(), prompt.seen(), prompt.outputs()),
            (4, 10, 1)
        );
    }
}
