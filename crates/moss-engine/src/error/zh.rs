//! The same in Chinese.

use super::EngineError;

impl EngineError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::EmptyPrompt => "提示为空，至少应有一个词元".into(),
            Self::PromptTooLong { found, allowed } => {
                format!(
                    "提示过长：共 {found} 个词元，而模型的上下文长度（含回答）为 {} 个词元",
                    allowed + 1
                )
            }
            Self::QueueFull { limit } => format!("已有 {limit} 个请求在排队"),
            Self::UnknownToken { position, id, rows } => {
                format!("提示中位置 {position} 的词元 ID {id} 超出模型的 {rows} 个嵌入行")
            }
            Self::UnknownStop { id, tokens } => {
                format!("停止词元 ID {id} 未知，从 0 起只有 {tokens} 个词元")
            }
            Self::NoTokenizer => "停止字符串需要文本，而引擎启动时没有分词器".into(),
            Self::TokenizerMismatch { tokens, rows } => {
                format!("分词器有 {tokens} 个词元，而模型只有 {rows} 个嵌入行")
            }
            Self::Model { step, .. } => format!("第 {step} 步失败"),
            Self::LogitsMissing {
                step,
                found,
                expected,
            } => {
                format!("模型为词元 {step} 给出 {found} 个 logit，应为 {expected} 个")
            }
            Self::StepPanicked { step, message } => {
                format!("选取词元 {step} 时程序崩溃：{message}")
            }
            Self::Sampling(error) => error.zh(),
            Self::Text(error) => error.zh(),
            Self::Panicked { message } => format!("引擎因内部错误停止：{message}"),
            Self::DeviceLost { .. } => "设备出现故障，本进程无法再使用它".into(),
            Self::Stalled { seconds, tokens } => {
                format!("模型在处理 {tokens} 个词元的一步中已有 {seconds} 秒没有进展")
            }
            Self::Threads { threads, reason } => format!("无法启动 {threads} 个工作线程：{reason}"),
            Self::ShutDown => "引擎已关闭".into(),
            Self::NoTurn(what) => match *what {
                "no answer to make again" => "没有可以重新生成的回答".into(),
                "no command that waits for results" => "没有等待结果的命令".into(),
                other => format!("没有对应的轮次：{other}"),
            },
        }
    }

    /// [`EngineError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::PromptTooLong { .. } => Some("请缩短提示，或开始新的对话".into()),
            Self::QueueFull { .. } => Some("请在其中一些完成后再试".into()),
            Self::Model { source, .. } => source.hint_zh(),
            Self::Sampling(error) => error.hint_zh(),
            Self::Text(error) => error.hint_zh(),
            Self::Panicked { .. } => Some("请报告此问题，并附上所用的命令".into()),
            Self::DeviceLost { .. } => Some(
                "请重新启动程序；若再次发生，请用 `nvidia-smi -q` 和系统日志查看 GPU 故障".into(),
            ),
            Self::Stalled { .. } => {
                Some("请重新启动程序；最可能的原因是内存不足或 GPU 无响应".into())
            }
            Self::TokenizerMismatch { .. }
            | Self::UnknownToken { .. }
            | Self::UnknownStop { .. } => Some("分词器或词元 ID 可能属于另一个模型".into()),
            Self::NoTokenizer => Some("请用词元 ID 给出停止词元".into()),
            Self::StepPanicked { .. } => Some("最可能的原因是该请求的 logits 处理步骤".into()),
            _ => None,
        }
    }
}
