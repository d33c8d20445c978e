//! The same in Chinese.

use super::QuantizeError;

impl QuantizeError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Checkpoint(error) => error.zh(),
            Self::Model(error) => error.zh(),
            Self::Text(error) => error.zh(),
            Self::Io { what, path, .. } => format!("无法{} `{}`", phrase(what), path.display()),
            Self::Exists { path } => format!("`{}` 已存在，应为新名称或空文件夹", path.display()),
            Self::NotReplaced { path, why } => {
                format!("`{}` {}，不会被替换", path.display(), phrase(why))
            }
            Self::ForeignFile { path } => {
                format!(
                    "`{}` 不是检查点的一部分，因此不替换其所在文件夹",
                    path.display()
                )
            }
            Self::Busy { path } => format!("另一进程正在写入 `{}`", path.display()),
            Self::DiskSpace { path, needed, free } => {
                let [needed, free] = [needed, free].map(|bytes| *bytes as f64 / 1e9);
                format!(
                    "`{}` 需要 {needed:.1} GB 磁盘空间，只剩 {free:.1} GB",
                    path.display()
                )
            }
            Self::Damaged {
                file,
                found,
                expected,
            } => {
                format!(
                    "`{}` 读回的内容为 {found}，应为 {expected}（张量的 SHA-256）",
                    file.display()
                )
            }
            Self::AlreadyQuantized { folder, bits } => {
                format!(
                    "`{}` 已量化为 {bits} 位，应为 fp16 检查点",
                    folder.display()
                )
            }
            Self::GroupSize {
                found,
                in_features,
                bits,
            } => format!(
                "组大小 {found} 不适合有 {in_features} 个输入的 {bits} 位层，应为 {} 的倍数",
                32 / bits
            ),
            Self::TooWide { linear } => {
                format!("`{linear}` 的权重含有非数值，或过大而无法用 f16 表示缩放因子")
            }
            Self::NotPositive { linear, dampening } => {
                format!("`{linear}` 的输入得不到正定的 Hessian，尽管已加 {dampening} 的阻尼")
            }
            Self::Kernel { layer, .. } => format!("无法量化第 {layer} 层"),
            Self::OutOfMemory {
                layer,
                device,
                free,
                total,
            } => {
                let [free, total] = [free, total].map(|bytes| super::gibibytes(*bytes));
                format!(
                    "第 {layer} 层所需的显存超出 {device}：共 {total:.1} GiB，开始时可用 {free:.1} GiB"
                )
            }
            Self::Decode { file, .. } => format!("无法将 `{}` 作为文本读取", file.display()),
            Self::Sample { file, line, .. } => {
                format!("`{}` 第 {line} 行既不是对话也不是文本", file.display())
            }
            Self::NoSamples { what } => format!("{}中没有可用的词元", phrase(what)),
            Self::Windows {
                window,
                stride,
                context_length,
            } => format!(
                "每 {stride} 个词元取 {window} 个词元的窗口，窗口应为 2 至 {context_length}，间隔应为 1 至窗口的一半"
            ),
            Self::Vocabularies { first, second } => {
                format!("两个模型的词表分别有 {first} 和 {second} 行，应相同")
            }
            Self::Interrupted => "已中断".into(),
        }
    }

    /// [`QuantizeError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        Some(match self {
            Self::Checkpoint(error) => return error.hint_zh(),
            Self::Model(error) => return error.hint_zh(),
            Self::Text(error) => return error.hint_zh(),
            Self::Kernel { source, .. } => return source.hint_zh(),
            Self::OutOfMemory { .. } => {
                "请关闭占用显卡的其他程序，用 `--gpu` 另选一张，或使用 CPU：`--gpu cpu`".into()
            }
            Self::Exists { .. } => "请另取文件夹名、删除已有的，或用 `--force` 替换".into(),
            Self::NotReplaced { .. } => "请另取文件夹名".into(),
            Self::ForeignFile { .. } => "请将其移到别处，或另取文件夹名".into(),
            Self::Decode { source, .. } => return source.hint_zh(),
            Self::Busy { .. } => "请等待其完成，或另取文件夹名".into(),
            Self::DiskSpace { .. } => "请腾出空间，或写到另一块磁盘的文件夹".into(),
            Self::Damaged { .. } => "磁盘或内存可能有故障：请写到另一块磁盘".into(),
            Self::AlreadyQuantized { .. } => {
                "请量化 fp16 检查点；只换容器可用 `moss-cli convert`".into()
            }
            Self::GroupSize { .. } => "发布的组大小为 128；-1 表示整层一组".into(),
            Self::NotPositive { .. } => "请使用更多校准文本，或 `--method rtn`".into(),
            Self::Sample { .. } => {
                r#"每行应为 {"turns": [{"user": "…", "moss": "…"}]} 或 {"text": "…"}；扩展名不是 .jsonl 的文件视为一篇文本"#
                    .into()
            }
            _ => return None,
        })
    }
}

/// Words that errors are made with.
fn phrase(en: &str) -> &str {
    match en {
        "copy" => "复制",
        "is not a checkpoint folder" => "不是检查点文件夹",
        "holds the checkpoint to read" => "含有要读取的检查点",
        "create" => "创建",
        "measure" => "测量剩余空间",
        "read" => "读取",
        "remove" => "删除",
        "rename" => "重命名",
        "replace" => "替换",
        "write" => "写入",
        "the calibration texts" => "校准文本",
        "the texts to measure" => "待测量的文本",
        other => other,
    }
}
