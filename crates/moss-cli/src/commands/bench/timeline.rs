//! The timeline of stages: one line per stage, and a digit for the micro-batch that it works on.

use std::time::Duration;

use moss::model::StageSpan;
use serde_json::{Value, json};

use moss_messages::{Language, Text, msg};

/// Width of the whole time, in columns.
const COLUMNS: usize = 72;

/// The work of the stages during one forward pass.
pub(super) struct Timeline {
    /// A description of the forward pass.
    pub(super) what: Text,
    pub(super) spans: Vec<StageSpan>,
}

impl Timeline {
    /// Returns the timelines of a prompt of `prompt` tokens and of a token after it.
    pub(super) fn of(prompt: usize, [whole, token]: [Vec<StageSpan>; 2]) -> [Self; 2] {
        [
            Self {
                what: msg!("bench-prompt", prompt),
                spans: whole,
            },
            Self {
                what: msg!("bench-token", prompt),
                spans: token,
            },
        ]
    }

    pub(super) fn text(&self, language: Language) -> String {
        let end = self.end().as_secs_f64();
        let (what, ms) = (&self.what, end * 1e3);
        let mut text = format!("  {}\n", language.text(&msg!("bench-timeline", what, ms)));
        let stages = self
            .spans
            .iter()
            .map(|span| span.stage + 1)
            .max()
            .unwrap_or(0);
        for stage in 0..stages {
            let of_stage = || self.spans.iter().filter(|span| span.stage == stage);
            let busy: f64 = of_stage()
                .map(|span| (span.end - span.begin).as_secs_f64())
                .sum();
            let mut line = [' '; COLUMNS];
            for span in of_stage() {
                let column = |at: Duration| (at.as_secs_f64() / end * COLUMNS as f64) as usize;
                let first = column(span.begin).min(COLUMNS - 1);
                let digit = char::from_digit(span.pass as u32 % 10, 10).unwrap_or('#');
                line[first..column(span.end).clamp(first + 1, COLUMNS)].fill(digit);
            }
            let line: String = line.iter().collect();
            let share = format!("{:>3.0}", busy / end * 100.0);
            text += &format!(
                "  {}\n",
                language.text(&msg!("bench-timeline-stage", stage, line, share))
            );
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let span = |span: &StageSpan| {
            json!({
                "stage": span.stage, "pass": span.pass, "rows": span.rows,
                "begin_s": span.begin.as_secs_f64(), "end_s": span.end.as_secs_f64(),
            })
        };
        json!({ "what": self.what.to_string(), "spans": self.spans.iter().map(span).collect::<Vec<_>>() })
    }

    fn end(&self) -> Duration {
        self.spans
            .iter()
            .map(|span| span.end)
            .max()
            .unwrap_or_default()
            .max(Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_stages_are_drawn_below_each_other() {
        let ms = Duration::from_millis;
        let span = |stage, pass, begin, end| StageSpan {
            stage,
            pass,
            rows: 512,
            begin: ms(begin),
            end: ms(end),
        };
        let spans = vec![
            span(0, 0, 0, 24),
            span(0, 1, 24, 48),
            span(1, 0, 24, 48),
            span(1, 1, 48, 72),
        ];
        let timeline = Timeline {
            what: msg!("bench-prompt", prompt = 3),
            spans,
        };
        let text = timeline.text(Language::En);
        let (zeros, ones, idle) = ("0".repeat(24), "1".repeat(24), " ".repeat(24));
        let expected = [
            "  a prompt of 3 tokens, 72.00 ms; the digit is the micro-batch".to_owned(),
            format!("  stage 0 |{zeros}{ones}{idle}|  67 % busy"),
            format!("  stage 1 |{idle}{zeros}{ones}|  67 % busy"),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let chinese = timeline.text(Language::Zh);
        assert!(
            chinese.contains(&format!("\n  阶段 1 |{idle}{zeros}{ones}| 忙碌  67 %\n")),
            "{chinese}"
        );
    }

    #[test]
    fn an_empty_timeline_and_spans_without_length_are_drawn() {
        let text = |what: &str, spans| {
            Timeline {
                what: msg!("plain", value = what),
                spans,
            }
            .text(Language::En)
        };
        assert_eq!(text("nothing", Vec::new()).lines().count(), 1);
        let at = Duration::from_millis(3);
        let spans = vec![StageSpan {
            stage: 0,
            pass: 0,
            rows: 1,
            begin: at,
            end: at,
        }];
        assert!(text("a moment", spans).contains('0'));
    }
}
