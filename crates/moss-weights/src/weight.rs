//! Dense and packed weights in their stored layout, and checks of their sizes for the kernels.

use bytes::Bytes;

use crate::{DenseDtype, KernelError, Rule};

/// A dense matrix `[out_features, in_features]`, row-major, of any alignment.
#[derive(Debug, Clone)]
pub struct DenseWeight {
    /// Element type.
    pub dtype: DenseDtype,
    /// Rows.
    pub out_features: usize,
    /// Columns.
    pub in_features: usize,
    /// The elements, little-endian.
    pub data: Bytes,
}

/// Bits of a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GptqBits {
    Four,
    Eight,
}

impl GptqBits {
    /// Returns 4 or 8.
    pub fn bits(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Returns the weights per 32-bit word.
    pub fn per_word(self) -> usize {
        32 / self.bits()
    }
}

impl GptqBits {
    /// Both widths.
    pub const ALL: [Self; 2] = [Self::Four, Self::Eight];
}

impl std::fmt::Display for GptqBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.bits().fmt(f)
    }
}

/// Group size of the published checkpoints, and the default of the quantizer that made them.
pub const PUBLISHED_GROUP_SIZE: usize = 128;

/// Group of each input feature of a packed weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupIndex {
    /// Input `i` belongs to group `i / group_size`.
    Sequential,
    /// Act-order: the group of each input, `[in_features]`.
    Permuted(Vec<u32>),
}

/// A GPTQ-packed matrix in the published layout: `w[out][in] = scales[g][out] * (q[in][out] -
/// (stored_zero[g][out] + 1))`. Source: GPTQ, arXiv 2210.17323.
#[derive(Debug, Clone)]
pub struct GptqWeight {
    /// Bits of a weight.
    pub bits: GptqBits,
    /// Input features that share a scale.
    pub group_size: usize,
    /// Columns of the weight.
    pub in_features: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// i32 `[in_features / per_word, out_features]`, lowest bits first along the inputs.
    pub qweight: Bytes,
    /// i32 `[groups, ceil(out_features / per_word)]`, zero points less one, lowest bits first along
    /// the outputs.
    pub qzeros: Bytes,
    /// f16 `[groups, out_features]`.
    pub scales: Bytes,
    /// The group of each input.
    pub groups: GroupIndex,
}

/// The weight of a linear layer.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum LinearWeight {
    Dense(DenseWeight),
    Gptq(GptqWeight),
}

/// A linear layer in its stored form, with the bias converted to f32.
#[derive(Debug, Clone)]
pub struct LinearParts {
    /// `[out_features, in_features]`, dense or packed.
    pub weight: LinearWeight,
    /// `[out_features]`, if the layer has a bias.
    pub bias: Option<Vec<f32>>,
}

impl LinearWeight {
    /// Returns `(in_features, out_features)`.
    pub fn extents(&self) -> (usize, usize) {
        match self {
            Self::Dense(dense) => (dense.in_features, dense.out_features),
            Self::Gptq(gptq) => (gptq.in_features, gptq.out_features),
        }
    }
}

impl DenseWeight {
    /// Checks the number of bytes.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if it is not that of the matrix.
    pub fn check(&self, op: &'static str) -> Result<(), KernelError> {
        expect_len(
            op,
            "weight bytes",
            self.data.len(),
            &[self.out_features, self.in_features, self.dtype.bytes()],
        )
    }
}

impl GptqWeight {
    /// Returns the number of groups of input features.
    pub fn num_groups(&self) -> usize {
        self.in_features.div_ceil(self.group_size.max(1))
    }

    /// Returns the number of words of zero points of a group.
    pub fn zero_words(&self) -> usize {
        self.out_features.div_ceil(self.bits.per_word())
    }

    /// Checks that the kernels support the shape, and the number of bytes of every matrix.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for the first violation.
    pub fn check(&self, op: &'static str) -> Result<(), KernelError> {
        let per_word = self.bits.per_word();
        let rule = |arg, found, ok: bool, rule: Rule| match ok {
            true => Ok(()),
            false => Err(KernelError::Argument {
                op,
                arg,
                found,
                rule,
            }),
        };
        let whole = |n: usize| n > 0 && n.is_multiple_of(per_word);
        rule(
            "in_features",
            self.in_features,
            whole(self.in_features),
            Rule::MultipleOf(per_word),
        )?;
        // A word may not span two groups.
        let one_group = self.group_size >= self.in_features;
        rule(
            "group_size",
            self.group_size,
            one_group || whole(self.group_size),
            Rule::MultipleOf(per_word),
        )?;
        let groups = self.num_groups();
        expect_len(
            op,
            "qweight bytes",
            self.qweight.len(),
            &[self.in_features / per_word, self.out_features, 4],
        )?;
        expect_len(
            op,
            "qzeros bytes",
            self.qzeros.len(),
            &[groups, self.zero_words(), 4],
        )?;
        expect_len(
            op,
            "scales bytes",
            self.scales.len(),
            &[groups, self.out_features, 2],
        )?;
        if let GroupIndex::Permuted(index) = &self.groups {
            expect_len(op, "group index", index.len(), &[self.in_features])?;
            if let Some(&group) = index.iter().find(|group| **group as usize >= groups) {
                rule("group index", group as usize, false, Rule::Below(groups))?;
            }
        }
        Ok(())
    }
}

fn expect_len(
    op: &'static str,
    arg: &'static str,
    found: usize,
    extents: &[usize],
) -> Result<(), KernelError> {
    let expected = extents
        .iter()
        .try_fold(1usize, |product, n| product.checked_mul(*n));
    if expected == Some(found) {
        return Ok(());
    }
    let extents: Vec<_> = extents.iter().map(usize::to_string).collect();
    Err(KernelError::Argument {
        op,
        arg,
        found,
        rule: Rule::Product(extents.join(" x ")),
    })
}
