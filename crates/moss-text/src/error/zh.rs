//! The same in Chinese.

use super::TextError;

impl TextError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Read { file, .. } => format!("无法读取 `{}`", file.display()),
            Self::Json { file, what, .. } => {
                format!("`{}` 不是可读的{}", file.display(), phrase(what))
            }
            Self::Merge { file, line, found } => {
                format!("`{}` 第 {line} 行是 `{found}`，应为两个词元，中间一个空格", file.display())
            }
            Self::Bpe { folder, reason } => {
                format!("`{}` 中的 vocab.json 与 merges.txt 不相配：{reason}", folder.display())
            }
            Self::Ids { folder, id, found, last } => format!(
                "`{}` 中的词元 ID {id} {}，0 至 {last} 的每个 ID 应各出现一次",
                folder.display(),
                phrase(found)
            ),
            Self::Token { folder, id, found } => {
                format!("`{}` 中的词元 {id} 为 `{found}`，应由字节级字符组成", folder.display())
            }
            Self::MissingSpecial { folder, name } => {
                format!("`{}` 中的分词器缺少特殊词元 `{name}`", folder.display())
            }
            Self::Encode { bytes, reason } => format!("无法对 {bytes} 字节的文本分词：{reason}"),
            Self::NoPluginApi { plugin } => {
                format!("无法启用插件 `{plugin}`：从未公布过它的 API")
            }
            Self::UnknownPlugin { found, expected } => {
                format!("没有插件 `{found}`，应为以下之一：{}", expected.replace(", ", "、"))
            }
            Self::TurnTooLong { found, allowed } => {
                format!("指令加上这一条消息共 {found} 个词元，除回答外最多容纳 {allowed} 个")
            }
            Self::Conversation { .. } => "这不是保存的对话".into(),
            Self::ConversationVersion { found, expected } => {
                format!("该对话以格式 {found} 保存，应为 {expected}")
            }
        }
    }

    /// [`TextError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => {
                "发布的分词器由 vocab.json、merges.txt 和 added_tokens.json 组成，与权重放在一起".into()
            }
            Self::Json { .. }
            | Self::Merge { .. }
            | Self::Bpe { .. }
            | Self::Ids { .. }
            | Self::Token { .. } => "请使用检查点发布时的分词器文件".into(),
            Self::NoPluginApi { .. } => {
                "已公布 API 的有 web-search、calculator、equation-solver 和 text-to-image".into()
            }
            Self::TurnTooLong { .. } => "请缩短消息或系统文本".into(),
            _ => return None,
        })
    }
}

/// Words that errors are made with.
fn phrase(en: &str) -> &str {
    match en {
        "vocabulary" => "词表",
        "list of added tokens" => "附加词元列表",
        "map of special tokens" => "特殊词元表",
        "there twice" => "出现两次",
        "beyond the number of tokens" => "超出词元总数",
        "missing" => "缺失",
        other => other,
    }
}
