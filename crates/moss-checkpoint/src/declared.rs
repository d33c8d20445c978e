//! What `quantization_config` and `quantize_config.json` say of the weights: AutoGPTQ's and
//! GPTQModel's keys.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    CheckpointError,
    config::{Keys, object},
    error::{ConfigRule, FileRole},
    files,
};

/// How zero points are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroPoints {
    /// Less one, as in the published checkpoints (`gptq`).
    #[default]
    LessOne,
    /// As they are (`gptq_v2`).
    Plain,
}

/// Keys of one file; a key that is missing is `None`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    pub(crate) file: PathBuf,
    pub(crate) bits: Option<i64>,
    /// -1 for all inputs of a layer.
    pub(crate) group_size: Option<i64>,
    pub(crate) desc_act: Option<bool>,
    pub(crate) sym: Option<bool>,
    pub(crate) zero_points: Option<ZeroPoints>,
    /// Some layers have settings of their own (`dynamic`).
    pub(crate) has_overrides: bool,
}

impl Declared {
    /// Reads `quantize_config.json`, where the folder has one.
    pub(crate) fn from_folder(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let file = folder.join("quantize_config.json");
        if std::fs::symlink_metadata(&file).is_err() {
            return Ok(None);
        }
        let map = object(
            &files::read(&file, FileRole::QuantizeConfig)?,
            &file,
            FileRole::QuantizeConfig,
        )?;
        Self::read(&Keys {
            map: &map,
            file: &file,
            prefix: "",
        })
        .map(Some)
    }

    pub(crate) fn read(keys: &Keys<'_>) -> Result<Self, CheckpointError> {
        check_method(keys)?;
        let mut zero_points = None;
        for key in ["checkpoint_format", "format"] {
            let Some(format) = keys.text(key)? else {
                continue;
            };
            zero_points = Some(match format.to_ascii_lowercase().as_str() {
                "gptq" => ZeroPoints::LessOne,
                "gptq_v2" => ZeroPoints::Plain,
                _ => return Err(keys.wrong(key, keys.map.get(key), ConfigRule::GptqFormat)),
            });
            break;
        }
        let positive =
            |key: &'static str, alias: &'static str, is_legal: fn(i64) -> bool, expected| {
                let key = if keys.map.get(key).is_some_and(|value| !value.is_null()) {
                    key
                } else {
                    alias
                };
                match keys.integer(key)? {
                    Some(value) if !is_legal(value) => {
                        Err(keys.wrong(key, keys.map.get(key), expected))
                    }
                    value => Ok(value),
                }
            };
        Ok(Self {
            file: keys.file.to_owned(),
            bits: positive(
                "bits",
                "wbits",
                |bits| matches!(bits, 4 | 8),
                ConfigRule::Bits,
            )?,
            group_size: positive(
                "group_size",
                "groupsize",
                |size| size == -1 || size > 0,
                ConfigRule::GroupSize,
            )?,
            desc_act: keys.flag("desc_act")?,
            sym: keys.flag("sym")?,
            zero_points,
            has_overrides: matches!(keys.map.get("dynamic"), Some(Value::Object(layers)) if !layers.is_empty()),
        })
    }

    /// The group size for a layer of these many inputs.
    pub(crate) fn group_size(&self, in_features: usize) -> Option<usize> {
        self.group_size
            .map(|size| usize::try_from(size).unwrap_or(in_features))
    }

    /// What both files say together.
    pub(crate) fn merge(
        first: Option<Self>,
        second: Option<Self>,
    ) -> Result<Option<Self>, CheckpointError> {
        let (Some(first), Some(second)) = (&first, &second) else {
            return Ok(first.or(second));
        };
        let conflict = |key, values: [String; 2]| {
            let [first_value, second_value] = values;
            let (first, second) = (first.file.clone(), second.file.clone());
            CheckpointError::ConfigConflict {
                key,
                first,
                first_value,
                second,
                second_value,
            }
        };
        fn both<T: PartialEq + Copy>(
            first: Option<T>,
            second: Option<T>,
        ) -> Result<Option<T>, [T; 2]> {
            match (first, second) {
                (Some(first), Some(second)) if first != second => Err([first, second]),
                _ => Ok(first.or(second)),
            }
        }
        let integers = |key, a, b| {
            both(a, b).map_err(|values| conflict(key, values.map(|n: i64| n.to_string())))
        };
        let flags = |key, a, b| {
            both(a, b).map_err(|values| conflict(key, values.map(|is: bool| is.to_string())))
        };
        let zero_points = both(first.zero_points, second.zero_points);
        let is_silent =
            first.bits.is_none() && first.group_size.is_none() && first.desc_act.is_none();
        Ok(Some(Self {
            file: if is_silent {
                second.file.clone()
            } else {
                first.file.clone()
            },
            bits: integers("bits", first.bits, second.bits)?,
            group_size: integers("group_size", first.group_size, second.group_size)?,
            desc_act: flags("desc_act", first.desc_act, second.desc_act)?,
            sym: flags("sym", first.sym, second.sym)?,
            zero_points: zero_points.map_err(|values| {
                conflict(
                    "checkpoint_format",
                    values.map(|found| found.name().to_owned()),
                )
            })?,
            has_overrides: first.has_overrides || second.has_overrides,
        }))
    }
}

impl ZeroPoints {
    /// The convention's name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::LessOne => "gptq",
            Self::Plain => "gptq_v2",
        }
    }
}

/// Refuses every method but GPTQ.
fn check_method(keys: &Keys<'_>) -> Result<(), CheckpointError> {
    const KEY: &str = "quant_method";
    if let Some(method) = keys.text(KEY)? {
        return match method.eq_ignore_ascii_case("gptq") {
            true => Ok(()),
            false => Err(keys.wrong(KEY, keys.map.get(KEY), ConfigRule::Gptq)),
        };
    }
    // bitsandbytes named no method at first; Marlin's own flag says that the weights are packed in
    // its way.
    for key in ["load_in_8bit", "load_in_4bit", "is_marlin_format"] {
        if keys.flag(key)? == Some(true) {
            return Err(keys.wrong(key, keys.map.get(key), ConfigRule::Gptq));
        }
    }
    Ok(())
}
