//! What its user is told, in Chinese. Bodies of answers are English.

use super::ServerError;

impl ServerError {
    /// The error in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Self::Tokenizer(_) => "没有可用于对话的分词器，无法提供该模型的服务",
            Self::AlreadyOpen => "服务器已有模型",
            Self::Listen(_) => "无法接受连接",
        }
        .into()
    }

    /// [`ServerError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::Tokenizer(Some(error)) => error.hint_zh(),
            Self::Tokenizer(None) => Some("请将发布的分词器文件与权重放在一起".into()),
            _ => None,
        }
    }
}
