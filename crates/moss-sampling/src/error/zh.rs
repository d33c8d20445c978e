//! The same in Chinese.

use super::SamplingError;

impl SamplingError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Parameter {
                name,
                found,
                expected,
            } => {
                format!("`{name}` 为 {found}，应为{}", phrase(expected))
            }
            Self::UnknownBias { id, tokens } => {
                format!("`logit_bias` 指定了词元 ID {id}，但从 0 起只有 {tokens} 个词元")
            }
            Self::BadLogits { step, id, value } => {
                format!("第 {step} 步，词元 {id} 的 logit 为 {value}，应为有限的数")
            }
            Self::NothingLeft { step } => format!("第 {step} 步，所有词元的 logit 都是 -inf"),
        }
    }

    /// [`SamplingError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::BadLogits { .. } => Some("权重可能已损坏；`--dtype f32` 可排除溢出".into()),
            Self::UnknownBias { .. } => Some("该 ID 可能来自另一个模型的分词器".into()),
            _ => None,
        }
    }
}

/// Ranges of parameters.
fn phrase(en: &str) -> &str {
    match en {
        "0 or more" => "不小于 0 的数",
        "0 to 1" => " 0 至 1",
        "above 0" => "大于 0 的数",
        "a number" => "数字",
        "a number or -inf" => "数字或 -inf",
        other => other,
    }
}
