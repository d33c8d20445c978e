//! What to change about a request that cannot be met: for each kind of change, the smallest that
//! helps, found by trying.

use super::{Card, CardKind, Change, ModelBytes, Request, divide::divide};
use crate::CacheShape;

/// Fewer positions are no conversation.
const LEAST_CONTEXT: usize = 256;

/// More cards than this are no advice.
const MOST_CARDS: usize = 8;

/// Cards of a CPU whose memory is as large as it takes.
const ANY_HOST: Card = Card {
    name: String::new(),
    kind: CardKind::Cpu,
    free: u64::MAX,
    bandwidth: 1e9,
};

/// Changes that make `request` fit, from the least to the most.
pub(super) fn changes(request: &Request<'_>) -> Vec<Change> {
    let fits = |changed: &Request<'_>| divide(changed).shortfalls.is_empty();
    let anyhow = Request {
        layers_per_card: None,
        ..*request
    };
    if request.layers_per_card.is_some() && fits(&anyhow) {
        return vec![Change::Division];
    }
    let shorter = context(&anyhow).map(|positions| Change::Context { positions });
    let formats = request.other_formats.iter();
    let format = formats
        .clone()
        .find(|(_, model)| fits(&Request { model, ..anyhow }));
    let format = format.map(|(format, _)| Change::Format(*format));
    [shorter, format, more_cards(&anyhow), cpu(&anyhow)]
        .into_iter()
        .flatten()
        .collect()
}

/// The longest context that fits, in whole blocks.
fn context(request: &Request<'_>) -> Option<usize> {
    let fits = |blocks: &usize| {
        let model = ModelBytes {
            positions: blocks * CacheShape::BLOCK_SIZE,
            ..request.model.clone()
        };
        divide(&Request {
            model: &model,
            ..*request
        })
        .shortfalls
        .is_empty()
    };
    let (mut least, mut most) = (
        LEAST_CONTEXT / CacheShape::BLOCK_SIZE,
        request.model.positions / CacheShape::BLOCK_SIZE,
    );
    if least >= most || !fits(&least) {
        return None;
    }
    // `least` fits; more than `most` does not, nor need `most` itself.
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        if fits(&middle) {
            least = middle
        } else {
            most = middle - 1
        }
    }
    Some(least * CacheShape::BLOCK_SIZE)
}

/// The fewest more of the GPU with most memory.
fn more_cards(request: &Request<'_>) -> Option<Change> {
    let gpus = request
        .cards
        .iter()
        .enumerate()
        .filter(|(_, card)| card.kind != CardKind::Cpu);
    let (like, model) = gpus.max_by_key(|(index, card)| (card.free, std::cmp::Reverse(*index)))?;
    let unused = request.cards.iter().filter_map(|card| match card.kind {
        CardKind::Gpu { ordinal } => Some(ordinal),
        CardKind::Cpu => None,
    });
    let first_unused = unused.max()?.saturating_add(1);
    let mut cards = request.cards.to_vec();
    (1..=MOST_CARDS).find_map(|count| {
        let kind = CardKind::Gpu {
            ordinal: first_unused.saturating_add(count - 1),
        };
        cards.push(Card {
            kind,
            ..model.clone()
        });
        let division = divide(&Request {
            cards: &cards,
            ..*request
        });
        division
            .shortfalls
            .is_empty()
            .then_some(Change::MoreCards { count, like })
    })
}

/// What the CPU would have to take over.
fn cpu(request: &Request<'_>) -> Option<Change> {
    if request.cards.iter().any(|card| card.kind == CardKind::Cpu) {
        return None;
    }
    let cards = [request.cards, &[ANY_HOST]].concat();
    let request = Request {
        cards: &cards,
        ..*request
    };
    let placement = divide(&request).placement(&request);
    let stage = placement
        .stages
        .last()
        .filter(|stage| stage.card == cards.len() - 1)?;
    Some(Change::Cpu {
        layers: stage.layers.len(),
        bytes: stage.needed(),
    })
}
