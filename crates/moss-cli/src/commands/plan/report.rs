//! The report of `plan`, as text and as JSON.

use moss::EngineOptions;
use moss::model::placement::{Capacity, Device, DeviceKind, Note, Placement, Stage};
use moss_bench::{
    hardware::{DISPLAY_MEMORY, DRIVER_MEMORY},
    roofline::Prediction,
};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use moss_messages::{Language, Text, msg};

use super::subject::Subject;
use crate::{
    fold::{left, right},
    messages::{placement_note, size},
};

pub(super) struct Report<'a> {
    pub(super) subject: &'a Subject,
    pub(super) devices: &'a [Device],
    pub(super) placement: &'a Placement,
    pub(super) prediction: &'a Prediction,
    /// The KV cache that fits, and the concurrent answers of a server.
    pub(super) capacity: Capacity,
}

/// Tokens of a typical conversation, for the number that fits.
const TYPICAL_TOKENS: usize = 512;

impl Report<'_> {
    /// Returns the text. `by_name` is true if the GPUs are from the built-in table.
    pub(super) fn text(&self, language: Language, by_name: bool) -> String {
        let Subject {
            name,
            format,
            config,
            options,
            ..
        } = self.subject;
        let mut lines = vec![language.text(&msg!(
            "plan-title",
            name,
            format,
            layers = config.num_layers,
            positions = options.cache.positions(),
        ))];
        let heads = language.text(&msg!("plan-columns"));
        let mut heads = heads.split(" | ").map(str::to_owned);
        let mut rows = vec![std::array::from_fn(|_| heads.next().unwrap_or_default())];
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
                .map(|note| language.text(&placement_note(note, &self.names()))),
        );
        let texts = [self.conversations()].into_iter();
        let texts = texts.chain(predicted(self.prediction));
        let data_sheets = by_name.then(data_sheets);
        lines.extend(texts.chain(data_sheets).map(|text| language.text(&text)));
        lines.join("\n") + "\n"
    }

    /// Returns the number of conversations of each length for which the KV cache has room.
    fn conversations_of(&self, tokens: usize) -> usize {
        self.capacity.positions / tokens.max(1)
    }

    fn conversations(&self) -> Text {
        let context = self.subject.config.context_length;
        let full = self.conversations_of(context);
        let typical = self.conversations_of(TYPICAL_TOKENS.min(context));
        let tokens = self.capacity.positions;
        let parallel = self.capacity.sequences;
        let on_cpu = |device: &Device| device.kind == DeviceKind::Cpu;
        if self.devices.iter().any(on_cpu) {
            let default = EngineOptions::server().cache_tokens(context);
            msg!(
                "plan-conversations-cpu",
                tokens,
                full,
                context,
                typical,
                of = TYPICAL_TOKENS.min(context),
                parallel,
                default,
            )
        } else {
            msg!(
                "plan-conversations",
                tokens,
                full,
                context,
                typical,
                of = TYPICAL_TOKENS.min(context),
                parallel,
            )
        }
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
        let device = self
            .devices
            .get(stage.device)
            .map_or_else(String::new, label);
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
        self.devices.iter().map(label).collect()
    }

    pub(super) fn json(&self) -> Value {
        let Subject {
            name,
            format,
            config,
            options,
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
                "device": self.devices.get(stage.device).map(label), "layers": [stage.layers.start, stage.layers.end],
                "weights": stage.weights, "embedding": stage.embedding, "cache": stage.cache,
                "workspace": stage.workspace, "free_after": stage.free_after,
            })
        };
        let note = |note: &Note| placement_note(note, &self.names()).to_string();
        json!({
            "model": name, "format": format, "num_layers": config.num_layers, "context": options.cache.positions(),
            "stages": self.placement.stages.iter().map(stage).collect::<Vec<_>>(),
            "notes": self.placement.notes.iter().map(note).collect::<Vec<_>>(),
            "embedding_on_host": self.placement.embedding_on_host(),
            "kv_cache": {
                "tokens": self.capacity.positions,
                "conversations": self.conversations_of(config.context_length),
                "conversations_of_512": self.conversations_of(TYPICAL_TOKENS),
                "parallel": self.capacity.sequences,
            },
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

fn label(device: &Device) -> String {
    match device.kind {
        DeviceKind::Cpu => device.name.clone(),
        DeviceKind::Gpu { ordinal } => format!("{ordinal}: {}", device.name),
    }
}

/// Formats columns as wide as their widest cell on a terminal, with numbers aligned to the right.
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

/// Returns the upper bounds from memory bandwidth and tensor cores.
fn predicted(prediction: &Prediction) -> [Text; 2] {
    let Prediction {
        rate_empty,
        rate_full,
        prompt,
        share,
        first_token,
    } = prediction;
    let rate = msg!("plan-rate", empty = rate_empty, full = rate_full);
    let first_token = match first_token {
        Some(seconds) => msg!("plan-first-token", prompt, seconds, share),
        None => msg!("plan-first-token-unknown", prompt),
    };
    [rate, first_token]
}

fn data_sheets() -> Text {
    let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
    msg!(
        "plan-data-sheets",
        driver = gib(DRIVER_MEMORY),
        display = gib(DISPLAY_MEMORY),
    )
}
