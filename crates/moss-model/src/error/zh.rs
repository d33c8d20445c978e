//! The same in Chinese.

use super::ModelError;

impl ModelError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Config {
                key,
                found,
                expected,
            } => {
                format!(
                    "config.json 中的 `{key}` 为 {found}，应为{}",
                    phrase(expected)
                )
            }
            Self::Checkpoint(error) => error.zh(),
            Self::Kernel { layer, op, .. } => format!("第 {layer} 层：`{op}` 失败"),
            Self::WindowFull {
                end,
                context_length,
            } => {
                format!("位置 {end} 超出模型 {context_length} 个位置的上下文窗口")
            }
            Self::CacheFull {
                needed_blocks,
                free_blocks,
            } => {
                format!("键值缓存已满：还需要 {needed_blocks} 块，剩余 {free_blocks} 块")
            }
            Self::BlocksMissing {
                sequence,
                found,
                expected,
            } => {
                format!("批次中的序列 {sequence} 有 {found} 个缓存块，需要 {expected} 个")
            }
            Self::EmptyChunk { sequence } => format!("批次中的序列 {sequence} 没有要计算的词元"),
            Self::UnknownToken { id, vocab_size } => {
                format!("词元 ID {id} 超出模型的 {vocab_size} 个嵌入行")
            }
            Self::Gpu(error) => error.zh(),
            Self::Placement(error) => error.zh(),
            Self::Stage { stage, device, .. } => format!("{device} 上的阶段 {stage} 失败"),
            Self::NothingHandedOver { layer } => {
                format!("第 {layer} 层没有得到输入：各阶段前后不衔接")
            }
            Self::GpuDtype { found } => format!("GPU 内核将激活舍入到 f16，而要求的是 {found:?}"),
            Self::ActivationsNotExact => "8 位激活值是舍入的，而运算之间的数值要求为 F32".into(),
            Self::ActivationsOffCpu { device } => {
                format!("8 位激活值只有 CPU 内核，而设备为 {device}")
            }
            Self::Interrupted => "已中断".into(),
            Self::NonFinite {
                layer,
                sequence,
                position,
                value,
            } => {
                format!("第 {layer} 层在批次中序列 {sequence} 的位置 {position} 得出 {value}")
            }
        }
    }

    /// [`ModelError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint_zh(),
            Self::Stage { source, .. } => source.hint_zh(),
            Self::WindowFull { .. } => Some("请缩短提示，或开始新的对话".into()),
            Self::NonFinite { .. } => Some(
                "权重可能已损坏：可用 `moss-cli inspect` 检查；`--dtype f32` 可排除溢出".into(),
            ),
            Self::Placement(error) => error.hint_zh(),
            Self::GpuDtype { .. } => {
                Some("请去掉 `--dtype`，或用 `--dtype f16`；`--gpu cpu` 支持 f32 和 bf16".into())
            }
            Self::ActivationsNotExact => Some(
                "使用 `--activations int8` 时请去掉 `--dtype`，或用 `--dtype f16`、`bf16`".into(),
            ),
            Self::ActivationsOffCpu { .. } => {
                Some("请去掉 `--activations`，或用 `--gpu cpu`".into())
            }
            Self::Gpu(error) | Self::Kernel { source: error, .. } => error.hint_zh(),
            _ => None,
        }
    }
}

/// What a value of config.json has to be.
fn phrase(en: &str) -> String {
    let multiple = en
        .strip_prefix("a multiple of ")
        .and_then(|rest| rest.split_once(" that divides n_embd = "));
    let lanes = en
        .strip_prefix("an even number up to the head's ")
        .and_then(|n| n.strip_suffix(" lanes"));
    let at_most = en.strip_prefix("at most ");
    let most = at_most.and_then(|n| n.strip_suffix(" on a GPU"));
    let vocabulary = en.strip_prefix("below vocab_size = ");
    match (en, multiple, lanes, most) {
        ("a number above 0", ..) => "大于 0 的数".into(),
        ("a small positive number", ..) => "小的正数".into(),
        ("a tensor that can be made up", ..) => "可以随机生成的张量".into(),
        (_, Some((n, width)), ..) => format!(" {n} 的倍数，且能整除 n_embd = {width}"),
        (_, _, Some(n), _) => format!("不超过每个头 {n} 维的偶数"),
        (_, _, _, Some(n)) => format!("至多 {n}（在 GPU 上）"),
        _ => match (at_most, vocabulary) {
            (Some(n), _) => format!("至多 {n}"),
            (_, Some(n)) => format!("小于 vocab_size = {n}"),
            _ => format!(" {en}"),
        },
    }
}
