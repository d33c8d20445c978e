//! `quantization_config` and `quantize_config.json`: the keys of AutoGPTQ and GPTQModel.

use std::path::{Path, PathBuf};

use moss_weights::GptqBits;
use serde_json::Value;

use crate::{
    CheckpointError, ZeroPoints,
    error::{ConfigRule, FileRole},
    json::{Keys, object},
    read,
};

/// The settings of quantization that configuration files declare; `None` for a missing key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QuantizationConfig {
    pub(crate) file: PathBuf,
    pub(crate) bits: Option<GptqBits>,
    /// -1 for all inputs of a layer.
    pub(crate) group_size: Option<i64>,
    pub(crate) desc_act: Option<bool>,
    pub(crate) sym: Option<bool>,
    pub(crate) zero_points: Option<ZeroPoints>,
    /// Is true if `dynamic` overrides the settings of some layers.
    pub(crate) has_overrides: bool,
}

impl QuantizationConfig {
    /// Reads `quantize_config.json`, if the folder has one.
    pub(crate) fn from_folder(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let file = folder.join("quantize_config.json");
        if std::fs::symlink_metadata(&file).is_err() {
            return Ok(None);
        }
        let role = FileRole::QuantizeConfig;
        let map = object(&read::read(&file, role)?, &file, role)?;
        Self::read(&Keys {
            map: &map,
            file: &file,
            prefix: "",
        })
        .map(Some)
    }

    /// Reads a convention of zero points at the top level of config.json. Other values of
    /// `checkpoint_format` belong to other quantizers and are ignored.
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
                let bits = |bits| GptqBits::ALL.into_iter().find(|b| b.bits() as i64 == bits);
                integer(keys, key, bits, ConfigRule::Bits)
            })?,
            group_size: aliased(keys, ["group_size", "groupsize"], |key| {
                let size = |size| (size == -1 || size > 0).then_some(size);
                integer(keys, key, size, ConfigRule::GroupSize)
            })?,
            desc_act: keys.flag("desc_act")?,
            sym: keys.flag("sym")?,
            zero_points: zero_points(keys)?,
            has_overrides: matches!(keys.map.get("dynamic"), Some(Value::Object(layers)) if !layers.is_empty()),
        })
    }

    /// Returns the group size for a layer of `in_features` inputs.
    pub(crate) fn group_size(&self, in_features: usize) -> Option<usize> {
        self.group_size
            .map(|size| usize::try_from(size).unwrap_or(in_features))
    }

    /// Combines the settings of two files. A setting that both state must be the same.
    pub(crate) fn merge(
        first: Option<Self>,
        second: Option<Self>,
    ) -> Result<Option<Self>, CheckpointError> {
        let (Some(first), Some(second)) = (&first, &second) else {
            return Ok(first.or(second));
        };
        // Errors name the file that states the sizes.
        let has_sizes =
            first.bits.is_some() || first.group_size.is_some() || first.desc_act.is_some();
        let file = if has_sizes { first } else { second }.file.clone();
        let files = [&first.file, &second.file];
        Ok(Some(Self {
            file,
            bits: same("bits", files, [first.bits, second.bits])?,
            group_size: same("group_size", files, [first.group_size, second.group_size])?,
            desc_act: same("desc_act", files, [first.desc_act, second.desc_act])?,
            sym: same("sym", files, [first.sym, second.sym])?,
            zero_points: same(
                "checkpoint_format",
                files,
                [first.zero_points, second.zero_points],
            )?,
            has_overrides: first.has_overrides || second.has_overrides,
        }))
    }
}

/// Returns the value of a key that one or both files state. Two different values are an error.
fn same<T: PartialEq + ToString>(
    key: &'static str,
    files: [&PathBuf; 2],
    values: [Option<T>; 2],
) -> Result<Option<T>, CheckpointError> {
    match values {
        [Some(first), Some(second)] if first != second => Err(CheckpointError::ConfigConflict {
            key,
            first: files[0].clone(),
            first_value: first.to_string(),
            second_key: key,
            second: files[1].clone(),
            second_value: second.to_string(),
            is_same_file: files[0] == files[1],
        }),
        [first, second] => Ok(first.or(second)),
    }
}

/// Reads a value that has two names. If both are present, they must agree.
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

/// Reads an integer and converts it; `convert` returns `None` for a value that is not `expected`.
fn integer<T>(
    keys: &Keys<'_>,
    key: &'static str,
    convert: impl Fn(i64) -> Option<T>,
    expected: ConfigRule,
) -> Result<Option<T>, CheckpointError> {
    match keys.integer(key)? {
        Some(value) => convert(value)
            .map(Some)
            .ok_or_else(|| keys.wrong(key, keys.map.get(key), expected)),
        None => Ok(None),
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

/// Rejects every method but GPTQ.
fn check_method(keys: &Keys<'_>) -> Result<(), CheckpointError> {
    // Current versions of GPTQModel write `method`.
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
    // Old files of bitsandbytes have no `quant_method`. `is_marlin_format` says that the weights
    // are packed in Marlin's layout.
    for key in ["load_in_8bit", "load_in_4bit", "is_marlin_format"] {
        if keys.flag(key)? == Some(true) {
            return Err(keys.wrong(key, keys.map.get(key), ConfigRule::Gptq));
        }
    }
    Ok(())
}
