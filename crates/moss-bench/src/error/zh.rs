//! The same in Chinese.

use std::path::Path;

use super::BenchError;

impl BenchError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        let cannot_read = |file: &Path| format!("无法读取 `{}`", file.display());
        match self {
            Self::Model(error) => error.zh(),
            Self::Engine(error) => error.zh(),
            Self::Sampling(error) => error.zh(),
            Self::NothingMeasured => "没有测量到任何结果".into(),
            Self::NoAnswer => "模型没有给出结果".into(),
            Self::NoLogits => "模型没有给出 logits".into(),
            Self::NoExpectedValues { file, .. }
            | Self::Read { file, .. }
            | Self::Decode { file, .. }
            | Self::Json { file, .. }
            | Self::Safetensors { file, .. } => cannot_read(file),
            Self::TensorType { file, name, found } => format!(
                "`{}` 中的张量 `{name}` 为 {found}，应为 F32、I32 或 I64",
                file.display()
            ),
            Self::MissingTensor { name } => format!("期望值中没有张量 `{name}`"),
            Self::MissingPrompt { index } => {
                format!("期望值引用了提示 {index}，但没有这个提示")
            }
            Self::Positions {
                name,
                found,
                expected,
            } => {
                format!("张量 `{name}` 有 {found} 个位置，应为 {expected} 个")
            }
        }
    }

    /// [`BenchError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint_zh(),
            Self::Engine(error) => error.hint_zh(),
            Self::Sampling(error) => error.hint_zh(),
            Self::NoExpectedValues { .. } => Some(
                "`verify` 需要权重旁的 expected.json 和 expected.safetensors，或 `--expected DIR`"
                    .into(),
            ),
            _ => None,
        }
    }
}
