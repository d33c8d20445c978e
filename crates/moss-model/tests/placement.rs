//! Who gets which layers: laws that hold for any sizes and cards, the optimum against trying
//! everything, and the model's own sizes.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use moss_model::{
    CacheShape, ComputeDtype, MossConfig, WeightFormat,
    placement::{
        Card, CardKind, Change, LeftOut, ModelBytes, Note, Placement, PlacementError, Request,
        place,
    },
};
use moss_weights::GptqBits;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn model(layers: &[u64], embedding: u64, head: u64, cache: u64, workspace: u64) -> ModelBytes {
    ModelBytes {
        layers: layers.to_vec(),
        embedding,
        head,
        cache_per_position: cache,
        positions: 1,
        workspace,
    }
}

fn gpu(ordinal: usize, free: u64, bandwidth: f64) -> Card {
    Card {
        name: format!("card {ordinal}"),
        kind: CardKind::Gpu { ordinal },
        free,
        bandwidth,
    }
}

fn cpu(free: u64, bandwidth: f64) -> Card {
    Card {
        name: "cpu".into(),
        kind: CardKind::Cpu,
        free,
        bandwidth,
    }
}

fn request<'a>(model: &'a ModelBytes, cards: &'a [Card]) -> Request<'a> {
    Request {
        model,
        cards,
        layers_per_card: None,
        other_formats: &[],
    }
}

fn counts(placement: &Placement) -> Vec<usize> {
    placement
        .stages
        .iter()
        .map(|stage| stage.layers.len())
        .collect()
}

/// Sizes of the same order as what is free, so that some fit and some do not; times that tie often.
fn any_model(most_layers: usize) -> impl Strategy<Value = ModelBytes> {
    let layers = prop_oneof![
        prop::collection::vec(1u64..30, 1..=most_layers),
        (1u64..30, 1..=most_layers).prop_map(|(bytes, count)| vec![bytes; count]),
    ];
    (layers, 0u64..30, 0u64..40, 0u64..5, 0u64..10).prop_map(
        |(layers, embedding, head, cache, workspace)| {
            model(&layers, embedding, head, cache, workspace)
        },
    )
}

fn any_card() -> impl Strategy<Value = Card> {
    let kind = prop_oneof![
        4 => (0usize..4).prop_map(|ordinal| CardKind::Gpu { ordinal }),
        1 => Just(CardKind::Cpu),
    ];
    (kind, 0u64..200, 1u32..5).prop_map(|(kind, free, bandwidth)| Card {
        name: "any".into(),
        kind,
        free,
        bandwidth: f64::from(bandwidth),
    })
}

/// Cards of one device are alike.
fn any_cards(most: usize) -> impl Strategy<Value = Vec<Card>> {
    prop::collection::vec(any_card(), 1..=most).prop_map(|mut cards| {
        for index in 0..cards.len() {
            let first = cards
                .iter()
                .position(|card| card.kind == cards[index].kind)
                .unwrap();
            (cards[index].free, cards[index].bandwidth) =
                (cards[first].free, cards[first].bandwidth);
        }
        cards
    })
}

fn has_gpu(cards: &[Card]) -> bool {
    cards.iter().any(|card| card.kind != CardKind::Cpu)
}

fn read(model: &ModelBytes, layers: &Range<usize>) -> u64 {
    let head = if layers.end == model.layers.len() {
        model.head
    } else {
        0
    };
    model.layers[layers.clone()].iter().sum::<u64>()
        + model.cache_per_layer() * layers.len() as u64
        + head
}

/// Bytes that the CPU reads where there are GPUs, and nanoseconds of the slowest stage.
fn cost(model: &ModelBytes, cards: &[Card], stages: &[(usize, Range<usize>)]) -> (u64, u64) {
    let on_cpu = stages
        .iter()
        .filter(|(card, _)| has_gpu(cards) && cards[*card].kind == CardKind::Cpu);
    let time = |(card, layers): &(usize, Range<usize>)| {
        (read(model, layers) as f64 / cards[*card].bandwidth * 1e9).round() as u64
    };
    (
        on_cpu.map(|(_, layers)| read(model, layers)).sum(),
        stages.iter().map(time).max().unwrap_or(0),
    )
}

fn cost_of(model: &ModelBytes, cards: &[Card], placement: &Placement) -> (u64, u64) {
    let stages: Vec<_> = placement
        .stages
        .iter()
        .map(|stage| (stage.card, stage.layers.clone()))
        .collect();
    cost(model, cards, &stages)
}

/// Whether no device is asked for more than it has, the embedding left out.
fn fits(model: &ModelBytes, cards: &[Card], stages: &[(usize, Range<usize>)]) -> bool {
    cards.iter().all(|card| {
        let here = stages
            .iter()
            .filter(|(other, _)| cards[*other].kind == card.kind);
        here.map(|(_, layers)| read(model, layers) + model.workspace)
            .sum::<u64>()
            <= card.free
    })
}

/// The best cost of all divisions that fit, by trying every one.
fn best_of_all(model: &ModelBytes, cards: &[Card]) -> Option<(u64, u64)> {
    fn go(
        model: &ModelBytes,
        cards: &[Card],
        card: usize,
        start: usize,
        stages: &mut Vec<(usize, Range<usize>)>,
        best: &mut Option<(u64, u64)>,
    ) {
        if card == cards.len() {
            if start == model.layers.len() && fits(model, cards, stages) {
                let found = cost(model, cards, stages);
                *best = Some(best.map_or(found, |best| best.min(found)));
            }
            return;
        }
        go(model, cards, card + 1, start, stages, best);
        for end in start + 1..=model.layers.len() {
            stages.push((card, start..end));
            go(model, cards, card + 1, end, stages, best);
            stages.pop();
        }
    }
    let mut best = None;
    go(model, cards, 0, 0, &mut Vec::new(), &mut best);
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_division_is_better(model in any_model(7), cards in any_cards(4)) {
        let found = place(&request(&model, &cards)).ok().map(|placement| cost_of(&model, &cards, &placement));
        prop_assert_eq!(found, best_of_all(&model, &cards));
    }

    #[test]
    fn every_layer_is_placed_once_in_order_and_within_every_budget(model in any_model(12), cards in any_cards(6)) {
        let Ok(placement) = place(&request(&model, &cards)) else { return Ok(()) };
        let (mut layer, mut next_card) = (0, 0);
        for (index, stage) in placement.stages.iter().enumerate() {
            prop_assert!(stage.card >= next_card && !stage.layers.is_empty());
            prop_assert_eq!(stage.layers.start, layer);
            prop_assert_eq!(stage.has_embedding, index == 0);
            prop_assert_eq!(stage.has_head, index + 1 == placement.stages.len());
            (layer, next_card) = (stage.layers.end, stage.card + 1);
        }
        prop_assert_eq!(layer, model.layers.len());
        for card in &cards {
            let here = placement.stages.iter().filter(|stage| cards[stage.card].kind == card.kind);
            let used: u64 = here.clone().map(moss_model::placement::Stage::needed).sum();
            prop_assert!(used <= card.free);
            for stage in here {
                prop_assert_eq!(stage.free_after, card.free - used);
            }
        }
        let weights: u64 = placement.stages.iter().map(|stage| stage.weights).sum();
        prop_assert_eq!(weights, model.layers.iter().sum::<u64>() + model.head);
        let left_out = placement.notes.iter().filter(|note| matches!(note, Note::LeftOut { .. })).count();
        prop_assert_eq!(left_out + placement.stages.len(), cards.len());
    }

    #[test]
    fn more_memory_never_refuses_nor_slows(
        model in any_model(8), cards in any_cards(4), index in any::<prop::sample::Index>(), more in 1u64..100,
    ) {
        let Ok(before) = place(&request(&model, &cards)) else { return Ok(()) };
        let mut larger = cards.clone();
        let kind = cards[index.index(cards.len())].kind;
        larger.iter_mut().filter(|card| card.kind == kind).for_each(|card| card.free += more);
        let after = place(&request(&model, &larger));
        prop_assert!(after.is_ok());
        // What the CPU stands in for comes first: with less of it, a GPU may have more to do.
        prop_assert!(cost_of(&model, &larger, &after.unwrap()) <= cost_of(&model, &cards, &before));
    }

    #[test]
    fn every_shortfall_is_real_and_every_change_helps(model in any_model(8), cards in any_cards(4)) {
        let half = ModelBytes { layers: model.layers.iter().map(|bytes| bytes / 2).collect(), ..model.clone() };
        let formats = [(WeightFormat::Gptq(GptqBits::Eight), half.clone())];
        let asked = Request { other_formats: &formats, ..request(&model, &cards) };
        let Err(error) = place(&asked) else { return Ok(()) };
        let PlacementError::DoesNotFit { shortfalls, changes } = &error else {
            return Err(TestCaseError::fail(error.to_string()));
        };
        prop_assert!(!shortfalls.is_empty() && shortfalls.iter().all(|card| card.missing() > 0));
        // Memory as large as what is lacking makes it fit.
        let mut larger = cards.clone();
        for short in shortfalls {
            let kind = cards[short.card].kind;
            larger.iter_mut().filter(|card| card.kind == kind).for_each(|card| card.free += short.missing());
        }
        prop_assert!(place(&request(&model, &larger)).is_ok());
        for change in changes {
            let fits = match *change {
                Change::Format(_) => place(&request(&half, &cards)).is_ok(),
                Change::MoreCards { count, like } => {
                    let new = |number| Card { kind: CardKind::Gpu { ordinal: 10 + number }, ..cards[like].clone() };
                    let with = |count| [cards.clone(), (0..count).map(new).collect()].concat();
                    let fewer = with(count - 1);
                    prop_assert!(place(&request(&model, &fewer)).is_err(), "fewer would do");
                    place(&request(&model, &with(count))).is_ok()
                }
                Change::Cpu { bytes, .. } => {
                    let with = [cards.clone(), vec![cpu(bytes, 1.0)]].concat();
                    place(&request(&model, &with)).is_ok()
                }
                Change::Division | Change::Context { .. } => false,
            };
            prop_assert!(fits, "{change:?}");
        }
    }
}

fn moon(format: WeightFormat, positions: usize) -> ModelBytes {
    let config = MossConfig::moon_003();
    ModelBytes::in_format(
        &config,
        format,
        CacheShape::for_positions(positions),
        ComputeDtype::F16,
    )
}

fn t4s(count: usize) -> Vec<Card> {
    (0..count)
        .map(|ordinal| gpu(ordinal, 14 * GIB + GIB / 2, 320e9))
        .collect()
}

const INT8: WeightFormat = WeightFormat::Gptq(GptqBits::Eight);
const INT4: WeightFormat = WeightFormat::Gptq(GptqBits::Four);

#[test]
fn four_equal_cards_share_fp16_so_that_the_head_weighs_as_much_as_it_reads() {
    let model = moon(WeightFormat::F16, 2048);
    let placement = place(&request(&model, &t4s(4))).unwrap();
    assert_eq!(counts(&placement), [9, 9, 9, 7]);
    assert!(placement.notes.is_empty() && placement.stages[0].embedding == model.embedding);
}

#[test]
fn a_smaller_card_gets_fewer_layers() {
    let model = moon(WeightFormat::F16, 2048);
    let mut cards = t4s(4);
    cards[1].free = 6 * GIB;
    let placement = place(&request(&model, &cards)).unwrap();
    assert_eq!(counts(&placement), [10, 6, 10, 8]);
}

#[test]
fn the_published_sizes_are_those_of_the_files() {
    // Resident bytes of weights, without the embedding, as the model reads them a token; tables of
    // scales are kept wider.
    for (format, gigabytes) in [(WeightFormat::F16, 32.1), (INT8, 17.1), (INT4, 9.3)] {
        let model = moon(format, 2048);
        let read = (model.layers.iter().sum::<u64>() + model.head) as f64 / 1e9;
        assert!((read / gigabytes - 1.0).abs() < 0.04, "{format}: {read}");
        assert_eq!(model.cache_per_layer() * 34, 2048 * 816 * 1024);
    }
}

#[test]
fn the_embedding_stays_in_host_memory_where_that_makes_it_fit() {
    let model = model(&[10, 10], 5, 5, 0, 1);
    let needed = 10 + 10 + 5 + 1;
    let exact = [gpu(0, needed, 1.0)];
    let placement = place(&request(&model, &exact)).unwrap();
    assert!(placement.embedding_on_host() && placement.stages[0].embedding == 0);
    let roomy = [gpu(0, needed + 5, 1.0)];
    let placement = place(&request(&model, &roomy)).unwrap();
    assert!(!placement.embedding_on_host() && placement.stages[0].free_after == 0);
    assert!(place(&request(&model, &[gpu(0, needed - 1, 1.0)])).is_err());
}

#[test]
fn the_cpu_gets_what_does_not_fit_and_nothing_else() {
    let model = model(&[10; 6], 0, 0, 0, 0);
    let spilled = [gpu(0, 40, 100.0), cpu(1000, 1.0)];
    let placement = place(&request(&model, &spilled)).unwrap();
    assert_eq!(counts(&placement), [4, 2]);
    assert_eq!(
        placement.notes,
        [Note::OnCpu {
            layers: 2,
            seconds: 20.0,
            of_seconds: 20.4
        }]
    );
    let roomy = [gpu(0, 60, 100.0), cpu(1000, 1000.0)];
    let placement = place(&request(&model, &roomy)).unwrap();
    assert_eq!(counts(&placement), [6]);
    assert_eq!(
        placement.notes,
        [Note::LeftOut {
            card: 1,
            why: LeftOut::NotNeeded
        }]
    );
    let only = [cpu(60, 1.0), cpu(60, 1.0)];
    assert_eq!(counts(&place(&request(&model, &only)).unwrap()), [3, 3]);
}

#[test]
fn devices_beyond_the_layers_are_left_out_with_a_note() {
    let model = model(&[10, 10], 0, 0, 0, 0);
    let cards: Vec<Card> = (0..3).map(|ordinal| gpu(ordinal, 100, 1.0)).collect();
    let placement = place(&request(&model, &cards)).unwrap();
    assert_eq!(counts(&placement), [1, 1]);
    assert_eq!(
        placement.notes,
        [Note::LeftOut {
            card: 2,
            why: LeftOut::NoLayersLeft
        }]
    );
}

#[test]
fn a_card_listed_four_times_runs_four_stages_within_its_memory() {
    let model = model(&[10; 8], 0, 0, 0, 5);
    let cards = |free| vec![gpu(0, free, 1.0); 4];
    assert_eq!(
        counts(&place(&request(&model, &cards(100))).unwrap()),
        [2, 2, 2, 2]
    );
    assert_eq!(
        place(&request(&model, &cards(85))).unwrap().stages.len(),
        1,
        "room for one workspace"
    );
    let Err(PlacementError::DoesNotFit { shortfalls, .. }) = place(&request(&model, &cards(84)))
    else {
        panic!("80 of weights and 5 of workspace are not in 84")
    };
    assert_eq!(
        (
            shortfalls.len(),
            shortfalls[0].missing(),
            shortfalls[0].layers
        ),
        (1, 1, 8)
    );
}

#[test]
fn layers_by_hand_are_taken_or_refused_with_what_was_found_and_expected() {
    let model = moon(WeightFormat::F16, 2048);
    let cards = t4s(4);
    let by_hand = |counts| {
        place(&Request {
            layers_per_card: Some(counts),
            ..request(&model, &cards)
        })
    };
    assert_eq!(counts(&by_hand(&[7, 9, 9, 9]).unwrap()), [7, 9, 9, 9]);
    assert_eq!(
        by_hand(&[9, 9, 16]).unwrap_err(),
        PlacementError::Counts {
            found: 3,
            expected: 4
        }
    );
    assert_eq!(
        by_hand(&[17, 0, 9, 8]).unwrap_err(),
        PlacementError::Empty { card: 1 }
    );
    assert_eq!(
        by_hand(&[9, 9, 9, 9]).unwrap_err(),
        PlacementError::Sum {
            found: 36,
            expected: 34
        }
    );
    let Err(PlacementError::DoesNotFit {
        shortfalls,
        changes,
    }) = by_hand(&[31, 1, 1, 1])
    else {
        panic!("31 layers of fp16 do not fit a T4")
    };
    assert_eq!((shortfalls[0].card, changes), (0, vec![Change::Division]));
}

#[test]
fn an_impossible_plan_names_what_would_fit() {
    let model = moon(WeightFormat::F16, 2048);
    let formats = [(INT8, moon(INT8, 2048)), (INT4, moon(INT4, 2048))];
    let cards = t4s(2);
    let error = place(&Request {
        other_formats: &formats,
        ..request(&model, &cards)
    })
    .unwrap_err();
    let PlacementError::DoesNotFit {
        shortfalls,
        changes,
    } = &error
    else {
        panic!("{error}")
    };
    assert!(!shortfalls.is_empty());
    assert!(changes.contains(&Change::Format(INT8)), "{changes:?}");
    assert!(
        changes.contains(&Change::MoreCards { count: 1, like: 0 }),
        "{changes:?}"
    );
    assert!(
        matches!(changes[..], [.., Change::Cpu { .. }]),
        "{changes:?}"
    );
    assert!(error.hint().unwrap().contains("int8"));
}

#[test]
fn the_longest_context_that_fits_is_exact() {
    let model = moon(INT4, 2048);
    let without_cache = model.layers.iter().sum::<u64>() + model.head + model.workspace;
    for blocks in [16, 50, 127] {
        let cards = [gpu(0, without_cache + blocks * 16 * 816 * 1024, 320e9)];
        let Err(PlacementError::DoesNotFit { changes, .. }) = place(&request(&model, &cards))
        else {
            panic!("{blocks} blocks are not 2048 positions")
        };
        assert_eq!(
            changes[0],
            Change::Context {
                positions: blocks as usize * 16
            }
        );
    }
}

#[test]
fn requests_that_make_no_sense_are_errors() {
    let none = model(&[], 0, 0, 0, 0);
    let one = model(&[1], 0, 0, 0, 0);
    assert_eq!(place(&request(&one, &[])), Err(PlacementError::NoCards));
    assert_eq!(
        place(&request(&none, &[gpu(0, 1, 1.0)])),
        Err(PlacementError::NoLayers)
    );
    for bandwidth in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = place(&request(&one, &[gpu(0, 1, bandwidth)]));
        assert!(
            matches!(refused, Err(PlacementError::Bandwidth { .. })),
            "{bandwidth}"
        );
    }
    let huge = model(&[u64::MAX; 3], u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    assert!(place(&request(&huge, &[gpu(0, 1, 1.0), gpu(1, 1, 1.0)])).is_err());
}

#[test]
fn cards_that_take_turns_share_their_memory() {
    let layers: Vec<u64> = (0..34).map(|layer| 1000 + layer * layer % 7).collect();
    let model = model(&layers, 0, 1450, 3, 10);
    let cards = |free| -> Vec<Card> { (0..8).map(|index| gpu(index % 2, free, 1.0)).collect() };
    assert_eq!(
        place(&request(&model, &cards(25_000)))
            .unwrap()
            .stages
            .len(),
        8
    );
    assert!(
        place(&request(&model, &cards(18_600))).is_ok(),
        "18 layers, and 16 with the head"
    );
    assert!(
        place(&request(&model, &cards(18_000))).is_err(),
        "17 layers, and no room for 17 with the head"
    );
}

#[test]
fn layers_of_many_sizes_on_cards_that_take_turns_are_no_trouble() {
    let layers: Vec<u64> = (0..34u64)
        .map(|layer| 1000 + layer * 2_654_435_761 % 700)
        .collect();
    let model = model(&layers, 0, 1450, 3, 10);
    let cards: Vec<Card> = (0..16).map(|index| gpu(index % 4, 13_500, 1.0)).collect();
    let placement = place(&request(&model, &cards)).unwrap();
    assert!(placement.stages.len() > 8);
}

#[test]
fn sixty_four_cards_and_hundreds_of_layers_are_no_trouble() {
    let model = model(&[1000; 300], 0, 1450, 3, 10);
    let cards: Vec<Card> = (0..64).map(|ordinal| gpu(ordinal, 10_000, 1.0)).collect();
    let placement = place(&request(&model, &cards)).unwrap();
    assert_eq!(
        placement
            .stages
            .iter()
            .map(|stage| stage.layers.len())
            .max(),
        Some(5)
    );
}
