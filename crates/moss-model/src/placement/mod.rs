//! Which layers go where: a pure function from byte counts to stages.
//!
//! A stage is a run of consecutive layers on one card; the first has the embedding, the last the
//! final norm and `lm_head`. Where a token goes through the stages one after the other, as in a
//! chat, its time is their sum; as soon as several tokens or parts of a prompt are under way, the
//! slowest stage sets the pace. So [`place`] looks for the division whose slowest stage is fastest,
//! by the bytes that it reads a token: its weights, and the cache once it is full.

mod advice;
mod bytes;
mod divide;
mod error;

use std::ops::Range;

pub use bytes::ModelBytes;
pub(crate) use bytes::product;
#[cfg_attr(not(feature = "cuda"), allow(unused_imports))]
pub use error::{Change, PlacementError, Shortfall};

use crate::WeightFormat;

/// What a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardKind {
    /// A GPU. The same ordinal in several cards is one card, whose free memory its stages share.
    Gpu {
        /// Its number.
        ordinal: usize,
    },
    /// The CPU and the host's memory, however often it stands in the list.
    Cpu,
}

/// A place for a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Its name, for people.
    pub name: String,
    /// What it is.
    pub kind: CardKind,
    /// Bytes of its memory that may be used. Cards of one device share them: the least that one of
    /// them states counts.
    pub free: u64,
    /// Bytes a second that it reads.
    pub bandwidth: f64,
}

/// What is to be placed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the network weighs.
    pub model: &'a ModelBytes,
    /// Where it may go, in the order of the stages.
    pub cards: &'a [Card],
    /// Layers of each card; `None` for the division that suits them best.
    pub layers_per_card: Option<&'a [usize]>,
    /// The same network in other formats, largest first: for advice where it does not fit.
    pub other_formats: &'a [(WeightFormat, ModelBytes)],
}

/// Consecutive layers on a card.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Index of the card in the request.
    pub card: usize,
    /// Its layers.
    pub layers: Range<usize>,
    /// It begins with the embedding.
    pub has_embedding: bool,
    /// It ends with the final norm and `lm_head`.
    pub has_head: bool,
    /// Bytes of weights of its layers, and of final norm and head.
    pub weights: u64,
    /// Bytes of the embedding on the card; 0 in a first stage that leaves it in host memory, which
    /// a row a token can afford.
    pub embedding: u64,
    /// Bytes of keys and values.
    pub cache: u64,
    /// Bytes of activations, scratch and libraries.
    pub workspace: u64,
    /// Bytes that its card has left when all stages are in place.
    pub free_after: u64,
}

impl Stage {
    /// Bytes that it takes of its card.
    pub fn needed(&self) -> u64 {
        self.weights
            .saturating_add(self.embedding)
            .saturating_add(self.cache)
            .saturating_add(self.workspace)
    }

    /// Seconds that its card takes to read what a token needs at least, with `share` of the cache
    /// in use (from 0 to 1).
    pub fn token_seconds(&self, card: &Card, share: f64) -> f64 {
        (self.weights as f64 + self.cache as f64 * share) / card.bandwidth
    }
}

/// Why a card runs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// All layers fit on the GPUs, which are what `cpu` stands in for.
    NotNeeded,
    /// It has no room for a layer.
    TooSmall,
    /// There are fewer layers than devices.
    NoLayersLeft,
    /// With a layer on it the slowest stage would be no faster.
    NoFaster,
}

/// Something about a placement that its user should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A card of the list has no stage.
    LeftOut {
        /// Index of the card.
        card: usize,
        /// Why.
        why: LeftOut,
    },
    /// The embedding stays in host memory, to make the first stage fit.
    EmbeddingOnHost,
    /// What did not fit the GPUs runs on the CPU.
    OnCpu {
        /// Layers there.
        layers: usize,
        /// Seconds of a token there, with a full cache.
        seconds: f64,
        /// Seconds of a token in all.
        of_seconds: f64,
    },
}

/// The stages, in the order of their layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Every layer once, in order; never a stage without layers.
    pub stages: Vec<Stage>,
    /// What its user should know.
    pub notes: Vec<Note>,
}

impl Placement {
    /// Whether the embedding stays in host memory.
    pub fn embedding_on_host(&self) -> bool {
        self.notes.contains(&Note::EmbeddingOnHost)
    }

    /// Seconds that a token takes at least: every stage's bytes at its card's bandwidth, one after
    /// the other. `cards` are those of the request, `share` is the part of the cache in use.
    pub fn token_seconds(&self, cards: &[Card], share: f64) -> f64 {
        self.stages
            .iter()
            .filter_map(|stage| Some(stage.token_seconds(cards.get(stage.card)?, share)))
            .sum()
    }
}

/// Shares the layers out.
///
/// Of all ways to give each card consecutive layers, or none, in the order of the list and within
/// every card's free memory, the one in which the slowest stage is fastest; of several such, the
/// most even one. Where there are GPUs and `cpu`, first the one that leaves least to the CPU. A
/// device that stands in the list several times runs several stages within its memory.
///
/// # Errors
/// [`PlacementError::DoesNotFit`] with what is missing on which card; the other variants for
/// requests that make no sense.
pub fn place(request: &Request<'_>) -> Result<Placement, PlacementError> {
    divide::check(request)?;
    let division = divide::divide(request);
    match division.shortfalls.is_empty() {
        true => Ok(division.placement(request)),
        false => Err(PlacementError::DoesNotFit {
            shortfalls: division.shortfalls,
            changes: advice::changes(request),
        }),
    }
}
