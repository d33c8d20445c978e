//! Why layers cannot be shared out, and what would help.

mod zh;

use std::fmt;

use crate::WeightFormat;

/// Errors of sharing layers out over cards.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// Nothing to place anything on.
    #[error("no device to place the model on, expected at least one")]
    NoCards,
    /// More places than can be divided over.
    #[error("{found} devices are listed, expected at most {expected}")]
    TooManyCards {
        /// Cards.
        found: usize,
        /// The most that are taken.
        expected: usize,
    },
    /// A network without layers.
    #[error("the model has no layers, expected at least one")]
    NoLayers,
    /// A card whose speed is no speed.
    #[error("`{card}` reads {found} bytes a second, expected a number above 0")]
    Bandwidth {
        /// The card.
        card: String,
        /// Its bandwidth.
        found: f64,
    },
    /// A list of layers that does not go with the list of cards.
    #[error("layers are given for {found} devices, expected {expected}")]
    Counts {
        /// Numbers in the list.
        found: usize,
        /// Cards.
        expected: usize,
    },
    /// A card that was told to run nothing.
    #[error("device {card} is given 0 layers, expected at least 1")]
    Empty {
        /// Index of the card.
        card: usize,
    },
    /// A list of layers that does not make the model.
    #[error("the devices are given {found} layers in all, expected the model's {expected}")]
    Sum {
        /// Layers in the list.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// Too little memory, however the layers are shared out, or as they were asked to be.
    #[error("the model does not fit: {}", list(shortfalls, "; "))]
    DoesNotFit {
        /// Cards without room for their part, by the division that lacks fewest bytes in all; at
        /// least one.
        shortfalls: Vec<Shortfall>,
        /// For each kind of change, the smallest that would fit; may be none.
        changes: Vec<Change>,
    },
}

/// A card without room for what would be placed there. A card that stands in the list several times
/// is counted once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// Index of the card, the first where it stands in the list several times.
    pub card: usize,
    /// Its name.
    pub name: String,
    /// Layers that would be placed there.
    pub layers: usize,
    /// Bytes that they need, with cache and workspace, the embedding left in host memory.
    pub needed: u64,
    /// Bytes that the card has free.
    pub free: u64,
}

impl Shortfall {
    /// Bytes that are missing.
    pub fn missing(&self) -> u64 {
        self.needed.saturating_sub(self.free)
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            card,
            name,
            layers,
            needed,
            free,
        } = self;
        let [needed, free, missing] = [*needed, *free, self.missing()].map(gb);
        write!(
            f,
            "device {card} ({name}) with {layers} layers needs {needed}, has {free} free, lacks {missing}"
        )
    }
}

/// Something else to ask for, which would fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The layers as they fit best, not as they were asked to be.
    Division,
    /// A cache of this many positions.
    Context {
        /// Positions.
        positions: usize,
    },
    /// The same network in another format.
    Format(WeightFormat),
    /// More cards like the one of the list that has most memory.
    MoreCards {
        /// How many more.
        count: usize,
        /// Index of the card that they are like.
        like: usize,
    },
    /// The CPU as the last stage.
    Cpu {
        /// Layers that it would run.
        layers: usize,
        /// Host memory that it would take, in bytes.
        bytes: u64,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Division => f.write_str("leave the division of the layers to the program"),
            Self::Context { positions } => write!(f, "a context of {positions} tokens"),
            Self::Format(format) => write!(f, "the {format} model"),
            Self::MoreCards { count, like } => write!(f, "{count} more like device {like}"),
            Self::Cpu { layers, bytes } => {
                write!(
                    f,
                    "`cpu` at the end of the list ({layers} layers in {} of host memory)",
                    gb(*bytes)
                )
            }
        }
    }
}

impl PlacementError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DoesNotFit { changes, .. } if changes.is_empty() => Some(
                "no other format, context or single device more makes it fit: it needs other cards"
                    .into(),
            ),
            Self::DoesNotFit { changes, .. } if changes.len() == 1 => {
                Some(format!("this would fit: {}", list(changes, "")))
            }
            Self::DoesNotFit { changes, .. } => Some(format!(
                "any one of these would fit: {}",
                list(changes, "; ")
            )),
            Self::Counts { .. } | Self::Empty { .. } | Self::Sum { .. } => Some(
                "give each device its layers, such as `9,9,9,7`, or leave the numbers out".into(),
            ),
            _ => None,
        }
    }
}

fn list<T: fmt::Display>(items: &[T], separator: &str) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(separator)
}

fn gb(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
