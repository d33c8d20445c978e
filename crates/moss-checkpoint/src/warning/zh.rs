//! The same in Chinese.

use super::{Warning, name_of};

impl Warning {
    /// The warning in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::BitWidth { config, tensors } => {
                format!(
                    "config.json 称 `wbits` = {config}，而权重宽 {tensors} 位；按 {tensors} 处理"
                )
            }
            Self::TorchDtype { config, tensors } => {
                format!(
                    "config.json 称 `torch_dtype` = {config}，而权重以 {tensors} 存储；按 {tensors} 处理"
                )
            }
            Self::SeveralSets { used, ignored } => format!(
                "有多套权重：使用 `{used}`；其余 {} 个文件未读取，第一个是 `{}`",
                ignored.len(),
                name_of(ignored.first())
            ),
            Self::StaleIndex {
                index,
                missing,
                used,
            } => {
                format!(
                    "`{}` 已过时：其中列出的 {missing} 个文件缺失；使用 `{used}`",
                    name_of(Some(index))
                )
            }
            Self::GroupSize { config, tensors } => format!(
                "config.json 称 `groupsize` = {config}，而权重每组 {tensors} 个输入；按 {tensors} 处理"
            ),
            Self::UnusedGroups {
                name,
                unused,
                groups,
                linears,
            } => format!(
                "`{name}` 的 {groups} 组中有 {unused} 组未被使用，共有 {linears} 个线性层如此：权重可能已损坏"
            ),
            Self::Symmetry {
                name,
                format,
                expected,
                found,
                linears,
            } => format!(
                "配置称 `sym`，但 `{name}` 存储的是 {found}，而 `{format}` 格式的对称权重应为 {expected}，共有 {linears} 个线性层如此：`sym` 或 `checkpoint_format` 可能有误"
            ),
            Self::GroupSizeAssumed {
                name,
                size,
                linears,
            } => format!(
                "没有任何地方说明 `{name}` 的组大小（共有 {linears} 个线性层如此），且有多个大小相符；按 {size} 处理"
            ),
            Self::OwnHead => {
                "config.json 称 `tie_word_embeddings`，但嵌入之外另有 `lm_head`；使用后者".into()
            }
            Self::NoHeadBias => {
                "缺少 `lm_head.bias`，而发布的检查点都有它；在没有它的情况下继续".into()
            }
            Self::NoChecksums { file } => {
                format!("`{}` 写入时未带校验和，其损坏可能无法发现", file.display())
            }
            Self::UnknownTensors { count, first } => {
                format!("有 {count} 个此模型用不到的张量，第一个是 `{first}`；已忽略")
            }
        }
    }
}
