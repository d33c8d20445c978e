//! The results of `bench --batch`, as text and as JSON.

use moss_bench::batch::{BatchTime, CLIFF_RATIO, Cliff};
use moss_messages::{Language, Text, msg};
use serde_json::{Value, json};

use crate::fold::right;

/// Widths of the columns of the table.
const WIDTHS: [usize; 6] = [12, 10, 11, 10, 11, 8];

/// The steps of each size.
pub(super) struct Batches {
    /// In ascending order of sequences.
    pub(super) times: Vec<BatchTime>,
    pub(super) limit: Option<Limit>,
}

/// The sequences for whose cache there is memory, if larger sizes were requested.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) sequences: usize,
    /// Positions of each.
    pub(super) positions: usize,
}

impl Batches {
    pub(super) fn text(&self, bandwidth: f64, language: Language) -> String {
        let heads = language.text(&msg!("bench-batch-columns"));
        let cells = heads.split(" | ").zip(WIDTHS);
        let mut text: String = cells.map(|(head, width)| right(head, width)).collect();
        text.push('\n');
        for time in &self.times {
            text += &format!(
                "{:>12}{:>10.1}{:>11.3}{:>10.1}{:>11.3}{:>8.3}\n",
                time.sequences,
                time.context,
                time.step_s * 1e3,
                time.tokens_per_s(),
                time.bytes.seconds(bandwidth) * 1e3,
                time.share(bandwidth),
            );
        }
        let lines = self.notes().into_iter();
        text + &lines
            .map(|line| format!("  {}\n", language.text(&line)))
            .collect::<String>()
    }

    /// Returns the lines below the table: the cliffs, and the sizes without memory.
    fn notes(&self) -> Vec<Text> {
        let cliff = |cliff: &Cliff| {
            let Cliff {
                sequences,
                next,
                ratio,
            } = *cliff;
            msg!("bench-cliff", sequences, ratio, next)
        };
        let mut lines: Vec<Text> = self.cliffs().iter().map(cliff).collect();
        if lines.is_empty() && self.times.len() > 1 {
            lines.push(msg!("bench-no-cliff", ratio = CLIFF_RATIO));
        }
        if let Some(Limit {
            sequences,
            positions,
        }) = self.limit
        {
            lines.push(msg!("bench-batch-limit", sequences, positions));
        }
        lines
    }

    fn cliffs(&self) -> Vec<Cliff> {
        Cliff::find(&self.times)
    }

    /// Adds the results to the JSON of the report.
    pub(super) fn add_json(&self, bandwidth: f64, report: &mut Value) {
        let time = |time: &BatchTime| {
            json!({
                "sequences": time.sequences, "context": time.context, "steps": time.steps,
                "step_s": time.step_s, "tokens_per_s": time.tokens_per_s(),
                "weight_bytes": time.bytes.weights, "cache_bytes": time.bytes.cache,
                "floor_s": time.bytes.seconds(bandwidth), "share": time.share(bandwidth),
            })
        };
        let cliff = |cliff: &Cliff| json!({ "sequences": cliff.sequences, "next": cliff.next, "ratio": cliff.ratio });
        let limit =
            |limit: Limit| json!({ "sequences": limit.sequences, "positions": limit.positions });
        report["batches"] = self.times.iter().map(time).collect();
        report["cliffs"] = self.cliffs().iter().map(cliff).collect();
        report["batch_limit"] = self.limit.map(limit).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use moss_bench::roofline::DecodeStep;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn batches(step_s: [f64; 3]) -> Batches {
        let sizes = [1, 16, 17].into_iter().zip(step_s);
        let time = |(sequences, step_s)| BatchTime {
            sequences,
            steps: 32,
            step_s,
            bytes: DecodeStep {
                weights: 2e9,
                cache: 1e9,
            },
            context: 528.0,
        };
        Batches {
            times: sizes.map(time).collect(),
            limit: None,
        }
    }

    #[test]
    fn the_share_compares_the_step_with_the_floor_of_its_bytes() {
        let batches = batches([4e-3, 6e-3, 6e-3]);
        let text = batches.text(1e12, Language::En);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1], ["1", "528.0", "4.000", "250.0", "3.000", "0.750"]);
        assert_eq!(rows[2][3..], ["2666.7", "3.000", "0.500"]);
    }

    #[test]
    fn a_cliff_is_named_in_the_text_and_listed_in_json() {
        let cliff = batches([4e-3, 8e-3, 5e-3]);
        let text = cliff.text(1e12, Language::En);
        assert!(
            text.contains(
                "\n  cliff: a step of 16 sequences takes 1.60 times as long as one of 17"
            ),
            "{text}"
        );
        assert!(!text.contains("no cliff"), "{text}");
        let mut report = json!({});
        cliff.add_json(1e12, &mut report);
        let expected = json!([{ "sequences": 16, "next": 17, "ratio": 1.6 }]);
        assert_eq!(report["cliffs"], expected);
        assert!(report["batch_limit"].is_null());
    }

    #[test]
    fn steps_without_a_cliff_say_so() {
        let flat = batches([4e-3, 5e-3, 5e-3]);
        let text = flat.text(1e12, Language::En);
        assert!(text.contains("\n  no cliff: "), "{text}");
        let mut report = json!({});
        flat.add_json(1e12, &mut report);
        assert_eq!(report["cliffs"], json!([]));
        let text = flat.text(1e12, Language::Zh);
        assert!(text.contains("无断崖"), "{text}");
    }

    #[test]
    fn sizes_without_memory_are_reported() {
        let limited = Batches {
            limit: Some(Limit {
                sequences: 96,
                positions: 547,
            }),
            ..batches([4e-3, 5e-3, 5e-3])
        };
        let text = limited.text(1e12, Language::En);
        assert!(text.contains("96 sequences of 547 tokens"), "{text}");
        let mut report = json!({});
        limited.add_json(1e12, &mut report);
        assert_eq!(report["batch_limit"]["sequences"], 96);
    }

    #[test]
    fn heads_are_aligned_with_their_numbers_in_both_languages() {
        for language in Language::ALL {
            let text = batches([4e-3, 5e-3, 5e-3]).text(1e12, language);
            let widths: Vec<_> = text.lines().take(4).map(UnicodeWidthStr::width).collect();
            assert_eq!(widths, [WIDTHS.iter().sum::<usize>(); 4], "{text}");
        }
    }
}
