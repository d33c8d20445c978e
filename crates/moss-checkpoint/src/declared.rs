//! What `quantization_config` and `quantize_config.json` say of the weights: AutoGPTQ's and
//! GPTQModel's keys.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    CheckpointError, RawConfig,
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

    /// Reads the convention of zero points where config.json states it beside the sizes of the
    /// network. Other formats of that name are not GPTQ's.
    pub(crate) fn from_top_level(keys: &Keys<'_>) -> Option<Self> {
        let format = keys.map.get("checkpoint_format")?.as_str()?;
        Some(Self {
            file: keys.file.to_owned(),
            bits: None,
            group_size: None,
            desc_act: None,
            sym: None,
            zero_points: Some(ZeroPoints::parse(format)?),
            has_overrides: false,
        })
    }

    pub(crate) fn read(keys: &Keys<'_>) -> Result<Self, CheckpointError> {
        check_method(keys)?;
        Ok(Self {
            file: keys.file.to_owned(),
            bits: aliased(keys, ["bits", "wbits"], |key| {
                let is_legal = |bits| matches!(bits, 4 | 8);
                integer(keys, key, is_legal, ConfigRule::Bits)
            })?,
            group_size: aliased(keys, ["group_size", "groupsize"], |key| {
                let is_legal = |size| size == -1 || size > 0;
                integer(keys, key, is_legal, ConfigRule::GroupSize)
            })?,
            desc_act: keys.flag("desc_act")?,
            sym: keys.flag("sym")?,
            zero_points: zero_points(keys)?,
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
                is_same_file: first == second,
                key,
                first,
                first_value,
                second_key: key,
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

/// Refuses a `groupsize` of config.json that contradicts the `group_size` of today's keys. Both
/// sizes may fit the tensors, so the tensors cannot tell which one is right.
pub(crate) fn check_legacy(
    config: &RawConfig,
    config_file: PathBuf,
    declared: Option<&Declared>,
) -> Result<(), CheckpointError> {
    let legacy = config.groupsize.filter(|_| config.is_quantised());
    let Some((declared, group_size)) = declared.and_then(|all| Some((all, all.group_size?))) else {
        return Ok(());
    };
    match legacy {
        Some(groupsize) if groupsize != group_size => Err(CheckpointError::ConfigConflict {
            key: "groupsize",
            is_same_file: config_file == declared.file,
            first: config_file,
            first_value: groupsize.to_string(),
            second_key: "group_size",
            second: declared.file.clone(),
            second_value: group_size.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Reads a value that goes by two names, which must not contradict each other.
fn aliased<T: PartialEq + ToString>(
    keys: &Keys<'_>,
    names: [&'static str; 2],
    read: impl Fn(&'static str) -> Result<Option<T>, CheckpointError>,
) -> Result<Option<T>, CheckpointError> {
    match (read(names[0])?, read(names[1])?) {
        (Some(first), Some(second)) if first != second => Err(CheckpointError::ConfigConflict {
            key: names[0],
            first: keys.file.to_owned(),
            first_value: first.to_string(),
            second_key: names[1],
            second: keys.file.to_owned(),
            second_value: second.to_string(),
            is_same_file: true,
        }),
        (first, second) => Ok(first.or(second)),
    }
}

fn integer(
    keys: &Keys<'_>,
    key: &'static str,
    is_legal: impl Fn(i64) -> bool,
    expected: ConfigRule,
) -> Result<Option<i64>, CheckpointError> {
    match keys.integer(key)? {
        Some(value) if !is_legal(value) => Err(keys.wrong(key, keys.map.get(key), expected)),
        value => Ok(value),
    }
}

/// Reads the convention of zero points, which `meta` may state too.
fn zero_points(keys: &Keys<'_>) -> Result<Option<ZeroPoints>, CheckpointError> {
    const NAMES: [&str; 2] = ["checkpoint_format", "format"];
    let format = |keys: &Keys<'_>, key: &'static str| {
        let Some(format) = keys.text(key)? else {
            return Ok(None);
        };
        ZeroPoints::parse(&format)
            .map(Some)
            .ok_or_else(|| keys.wrong(key, keys.map.get(key), ConfigRule::GptqFormat))
    };
    let own = aliased(keys, NAMES, |key| format(keys, key))?;
    let Some(Value::Object(meta)) = keys.map.get("meta") else {
        return Ok(own);
    };
    let meta = Keys {
        map: meta,
        file: keys.file,
        prefix: "meta.",
    };
    let names = ["checkpoint_format", "meta.checkpoint_format"];
    aliased(keys, names, |key| {
        if key == names[0] {
            Ok(own)
        } else {
            format(&meta, NAMES[0])
        }
    })
}

impl std::fmt::Display for ZeroPoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ZeroPoints {
    /// The convention of this name, in upper or lower case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::LessOne, Self::Plain]
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
    }

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
    // The second name is that of current GPTQModel versions.
    let mut is_named = false;
    for key in ["quant_method", "method"] {
        match keys.text(key)? {
            Some(method) if method.eq_ignore_ascii_case("gptq") => is_named = true,
            Some(_) => return Err(keys.wrong(key, keys.map.get(key), ConfigRule::Gptq)),
            None => {}
        }
    }
    if is_named {
        return Ok(());
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
