//! Why layers cannot be shared out, and what would help.

use moss_messages::Message;

use crate::WeightFormat;

/// Errors of sharing layers out over cards.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum PlacementError {
    /// Nothing to place anything on.
    NoCards,
    /// More places than can be divided over.
    TooManyCards {
        /// Cards.
        found: usize,
        /// The most that are taken.
        expected: usize,
    },
    /// A network without layers.
    NoLayers,
    /// A card whose speed is no speed.
    Bandwidth {
        /// The card.
        card: String,
        /// Its bandwidth.
        found: f64,
    },
    /// A list of layers that does not go with the list of cards.
    Counts {
        /// Numbers in the list.
        found: usize,
        /// Cards.
        expected: usize,
    },
    /// A card that was told to run nothing.
    Empty {
        /// Index of the card.
        card: usize,
    },
    /// A list of layers that does not make the model.
    Sum {
        /// Layers in the list.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// Too little memory, however the layers are shared out, or as they were asked to be.
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
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(display)]
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
    /// Bytes that are missing.
    pub missing: u64,
}

/// Something else to ask for, which would fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(display)]
pub enum Change {
    /// The layers as they fit best, not as they were asked to be.
    Division,
    /// A cache of this many positions.
    Context {
        /// Positions.
        positions: usize,
    },
    /// The same network in another format.
    Format(#[message(display)] WeightFormat),
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
