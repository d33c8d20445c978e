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
                format!(
                    "`{}` 第 {line} 行是 `{found}`，应为两个词元，中间一个空格",
                    file.display()
                )
            }
            Self::Bpe { folder, reason } => {
                format!(
                    "`{}` 中的 vocab.json 与 merges.txt 不相配：{reason}",
                    folder.display()
                )
            }
            Self::LineEnd { file, line } => {
                format!(
                    "`{}` 第 {line} 行含有回车符，行尾应为 LF 或 CRLF",
                    file.display()
                )
            }
            Self::MergePart {
                file,
                line,
                found,
                part,
            } => {
                format!(
                    "`{}` 第 {line} 行合并 `{found}`，但此前没有一行生成 `{part}`",
                    file.display()
                )
            }
            Self::MergeTwice { file, line, found } => {
                format!("`{}` 第 {line} 行重复了合并规则 `{found}`", file.display())
            }
            Self::MergeOrder {
                file,
                line,
                id,
                before,
            } => format!(
                "`{}` 第 {line} 行生成词元 {id}，而此前的一行已生成词元 {before}，ID 应递增",
                file.display()
            ),
            Self::NoMerge {
                file,
                id,
                found,
                count,
            } => format!(
                "`{}` 中没有一行生成词元 {id}（`{found}`）；vocab.json 中有 {count} 个词元没有合并规则",
                file.display()
            ),
            Self::MissingByte { folder, byte } => {
                format!(
                    "`{}` 中的 vocab.json 没有字节 {byte} 的词元，0 至 255 应各有一个",
                    folder.display()
                )
            }
            Self::AddedTokens {
                folder,
                decoder,
                listed,
            } => format!(
                "`{}`：tokenizer_config.json 中的词元 {} 为 `{}`，而 added_tokens.json 或 vocab.json 中的词元 {} 为 `{}`",
                folder.display(),
                decoder.1,
                decoder.0,
                listed.1,
                listed.0
            ),
            Self::Unsupported {
                file,
                option,
                token,
            } => {
                let of = token
                    .as_ref()
                    .map_or_else(String::new, |token| format!(" `{token}` 的"));
                format!("`{}` 中{of} `{option}` 为 true，应为 false", file.display())
            }
            Self::TokenizerJson { file } => {
                format!(
                    "有 `{}`，但缺少所读取的 vocab.json 和 merges.txt",
                    file.display()
                )
            }
            Self::UnknownId {
                position,
                id,
                tokens,
            } => {
                format!("位置 {position} 的词元 ID {id} 未知，分词器共有 {tokens} 个词元")
            }
            Self::Ids {
                folder,
                id,
                found,
                last,
            } => format!(
                "`{}` 中的词元 ID {id} {}，0 至 {last} 的每个 ID 应各出现一次",
                folder.display(),
                phrase(found)
            ),
            Self::Token { folder, id, found } => {
                format!(
                    "`{}` 中的词元 {id} 为 `{found}`，应由字节级字符组成",
                    folder.display()
                )
            }
            Self::MissingSpecial { folder, name } => {
                format!("`{}` 中的分词器缺少特殊词元 `{name}`", folder.display())
            }
            Self::Encode { bytes, reason } => format!("无法对 {bytes} 字节的文本分词：{reason}"),
            Self::NoPluginApi { plugin } => {
                format!("无法启用插件 `{plugin}`：从未公布过它的 API")
            }
            Self::UnknownPlugin { found, expected } => {
                format!(
                    "没有插件 `{found}`，应为以下之一：{}",
                    expected.replace(", ", "、")
                )
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
            Self::Read { source, .. } if source.kind() != std::io::ErrorKind::NotFound => return None,
            Self::Read { .. } => {
                "发布的分词器由 vocab.json、merges.txt 和 added_tokens.json 组成，与权重放在一起".into()
            }
            Self::Json { .. }
            | Self::Merge { .. }
            | Self::Bpe { .. }
            | Self::Ids { .. }
            | Self::MissingByte { .. }
            | Self::Unsupported { .. }
            | Self::Token { .. } => "请使用检查点发布时的分词器文件".into(),
            Self::LineEnd { .. } => {
                "请转换行尾，例如使用 `tr '\\r' '\\n'`，或使用发布的 merges.txt".into()
            }
            Self::MergePart { .. }
            | Self::MergeTwice { .. }
            | Self::MergeOrder { .. }
            | Self::NoMerge { .. } => {
                "merges.txt 不完整、顺序被打乱或属于另一个模型：请使用随检查点发布的文件".into()
            }
            Self::AddedTokens { .. } => "请保留属于该检查点的文件，并移除另一个".into(),
            Self::TokenizerJson { .. } => {
                "请用 transformers 保存慢速分词器（`AutoTokenizer.from_pretrained(FOLDER, use_fast=False)\
                 .save_pretrained(FOLDER)`），或复制所发布检查点的 vocab.json、merges.txt 和 added_tokens.json"
                    .into()
            }
            Self::MissingSpecial { .. } => {
                "它列在 added_tokens.json 或 tokenizer_config.json 的 `added_tokens_decoder` 中：请复制发布的文件".into()
            }
            Self::UnknownId { .. } => "这些 ID 可能来自另一个模型的分词器".into(),
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
        "tokenizer configuration" => "分词器配置",
        "map of special tokens" => "特殊词元表",
        "there twice" => "出现两次",
        "beyond the number of tokens" => "超出词元总数",
        "missing" => "缺失",
        other => other,
    }
}
