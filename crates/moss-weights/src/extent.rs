//! Shapes that operations expect, in the notation of the documentation: `[rows, n * 256]`.

use std::fmt;

/// One extent of an expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Any extent, by its name.
    Any(&'static str),
    /// This extent.
    Exactly(usize),
    /// This extent or a larger one.
    AtLeast(usize),
    /// A multiple of this extent.
    MultipleOf(usize),
}

/// The expected shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedShape(pub Vec<Extent>);

impl From<&'static str> for Extent {
    fn from(name: &'static str) -> Self {
        Self::Any(name)
    }
}

impl From<usize> for Extent {
    fn from(extent: usize) -> Self {
        Self::Exactly(extent)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(name) => f.write_str(name),
            Self::Exactly(extent) => extent.fmt(f),
            Self::AtLeast(extent) => write!(f, ">= {extent}"),
            Self::MultipleOf(extent) => write!(f, "n * {extent}"),
        }
    }
}

impl fmt::Display for ExpectedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, extent) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            extent.fmt(f)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_displayed_in_the_notation_of_the_documentation() {
        let extents = vec![
            "rows".into(),
            3.into(),
            Extent::AtLeast(2),
            Extent::MultipleOf(4),
        ];
        assert_eq!(ExpectedShape(extents).to_string(), "[rows, 3, >= 2, n * 4]");
        assert_eq!(ExpectedShape(vec![7.into()]).to_string(), "[7]");
    }
}
