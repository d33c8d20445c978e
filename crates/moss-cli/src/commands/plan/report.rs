//! A plan for people and for programs.

use moss::model::placement::{Card, CardKind, Note, Placement, Stage};
use moss_bench::roofline::Prediction;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{subject::Subject, words};
use crate::{
    fold::{left, right},
    messages::{Language, placement_note, size},
};

pub(super) struct Report<'a> {
    pub(super) subject: &'a Subject,
    pub(super) cards: &'a [Card],
    pub(super) placement: &'a Placement,
    pub(super) prediction: &'a Prediction,
}

impl Report<'_> {
    /// `by_name` says that the cards are those of the built-in table.
    pub(super) fn text(&self, language: Language, by_name: bool) -> String {
        let Subject {
            name,
            format,
            config,
            cache,
            ..
        } = self.subject;
        let mut lines = vec![words::title(
            language,
            name,
            format,
            config.num_layers,
            cache.positions(),
        )];
        let mut rows = vec![words::columns(language).map(str::to_owned)];
        rows.extend(
            self.placement
                .stages
                .iter()
                .enumerate()
                .map(|(index, stage)| self.row(index, stage)),
        );
        lines.extend(table(&rows));
        lines.extend(
            self.placement
                .notes
                .iter()
                .map(|note| placement_note(language, note, &self.names())),
        );
        lines.push(words::ceiling(language, self.prediction));
        lines.push(words::first_token(language, self.prediction));
        if by_name {
            lines.push(words::data_sheets(language));
        }
        lines.join("\n") + "\n"
    }

    fn row(&self, index: usize, stage: &Stage) -> [String; 8] {
        let layers = format!("{}–{}", stage.layers.start, stage.layers.end - 1);
        let [weights, embedding, cache, workspace, free] = [
            stage.weights,
            stage.embedding,
            stage.cache,
            stage.workspace,
            stage.free_after,
        ]
        .map(bytes);
        let device = self.cards.get(stage.card).map_or_else(String::new, label);
        [
            index.to_string(),
            device,
            layers,
            weights,
            embedding,
            cache,
            workspace,
            free,
        ]
    }

    fn names(&self) -> Vec<String> {
        self.cards.iter().map(label).collect()
    }

    pub(super) fn json(&self) -> Value {
        let Subject {
            name,
            format,
            config,
            cache,
            ..
        } = self.subject;
        let Prediction {
            rate_empty,
            rate_full,
            prompt,
            share,
            first_token,
        } = self.prediction;
        let stage = |stage: &Stage| {
            json!({
                "device": self.cards.get(stage.card).map(label), "layers": [stage.layers.start, stage.layers.end],
                "weights": stage.weights, "embedding": stage.embedding, "cache": stage.cache,
                "workspace": stage.workspace, "free_after": stage.free_after,
            })
        };
        let note = |note: &Note| placement_note(Language::En, note, &self.names());
        json!({
            "model": name, "format": format, "num_layers": config.num_layers, "context": cache.positions(),
            "stages": self.placement.stages.iter().map(stage).collect::<Vec<_>>(),
            "notes": self.placement.notes.iter().map(note).collect::<Vec<_>>(),
            "embedding_on_host": self.placement.embedding_on_host(),
            "predicted": {
                "tokens_per_s_empty": rate_empty, "tokens_per_s_full": rate_full, "prompt_tokens": prompt,
                "first_token_s": first_token, "share_of_tensor_peak": share,
            },
        })
    }
}

fn bytes(bytes: u64) -> String {
    if bytes == 0 { "-".into() } else { size(bytes) }
}

fn label(card: &Card) -> String {
    match card.kind {
        CardKind::Cpu => card.name.clone(),
        CardKind::Gpu { ordinal } => format!("{ordinal}: {}", card.name),
    }
}

/// Columns as wide as their widest cell on a terminal, where a Chinese character takes two places;
/// numbers to the right.
fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].width())
            .max()
            .unwrap_or(0)
    };
    let cell = |column: usize, text: &str| match column < 2 {
        true => left(text, width(column)),
        false => right(text, width(column)),
    };
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, text)| cell(column, text))
            .collect();
        format!("  {}", cells.join("  "))
    };
    rows.iter().map(line).collect()
}
