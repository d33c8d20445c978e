//! What the chat says, in both languages. Help texts are in `help`, errors in `errors` and `usage`.

mod download;
mod ending;
mod language;
mod placement;
mod serve;
mod units;

use moss::Outcome;

pub(crate) use self::{
    download::DownloadMessage,
    ending::Ending,
    language::{Language, Words},
    placement::placement_note,
    serve::ServeMessage,
    units::size,
};

impl From<Message<'_>> for Words {
    fn from(message: Message<'_>) -> Self {
        message.words()
    }
}

/// Upstream's own welcome, as its published command-line demo prints it, in every language.
pub(crate) const WELCOME: &str = "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";

/// Everything the chat has to say for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message<'a> {
    Help,
    /// The first Ctrl-C at an empty prompt.
    InterruptAgain,
    /// Ctrl-C for an answer that was told to stop already.
    StillStopping,
    /// Why an answer ended.
    Ended(Ending<'a>),
    /// Ctrl-C in a message of several lines.
    Discarded,
    MultiEnds,
    TookBack {
        user: &'a str,
    },
    NothingToTakeBack,
    /// An answer failed.
    Kept,
    PublishedSystem,
    Saved {
        turns: usize,
        file: &'a str,
    },
    Loaded {
        turns: usize,
    },
    Window {
        used: usize,
        window: usize,
        turns: usize,
    },
    LastAnswer(&'a Outcome),
    TurnsDropped {
        count: usize,
    },
    /// Labels before parts of a plugin model's turn.
    Thoughts,
    Commands,
    GiveResults,
    /// A line of a pipe, counted from 1, with the first byte that fits nowhere.
    NotUtf8 {
        line: usize,
        offset: usize,
        byte: u8,
    },
    NotUtf8Typed,
    /// At a line editor, which gives up what it has read behind that byte.
    NotUtf8Edited,
    SetUtf8,
    NoCommand {
        name: &'a str,
    },
    SlashText,
    NeedsFile {
        name: &'a str,
    },
    NeedsText {
        name: &'a str,
    },
    NeedsNothing {
        name: &'a str,
    },
    SeeHelp,
    NoParam {
        key: &'a str,
    },
    NoValue {
        key: &'a str,
        value: &'a str,
    },
    SeeParams,
    /// A shard that an earlier run finished.
    KeptShard {
        file: &'a str,
    },
    /// Label of the bar while weight files are read to find damage.
    Checking,
    /// Label of the bar while a checkpoint is converted.
    Converting,
    /// Label of the bar while a checkpoint is quantised.
    Quantizing {
        tokens: usize,
    },
    /// `quantize` was given no texts.
    BuiltInCalibration {
        texts: usize,
    },
    /// `quantize` rounds without texts.
    RoundingToNearest,
    /// `quantize` wrote its folder and cannot say what a model is worth.
    NotMeasured {
        folder: &'a str,
        causes: &'a str,
    },
    /// A new checkpoint is whole.
    Wrote {
        folder: &'a str,
    },
    Serve(ServeMessage<'a>),
    Ready {
        name: &'a str,
    },
    /// A server has been told to stop.
    Draining,
    /// Label of the bar while a prompt is read.
    ReadingPrompt,
    Download(DownloadMessage<'a>),
}

impl Message<'_> {
    pub(crate) fn text(self, language: Language) -> String {
        self.words().of(language).to_owned()
    }

    fn words(self) -> Words {
        Words::from(match self {
            Self::Help => (help(Language::En).into(), help(Language::Zh).into()),
            Self::InterruptAgain => (
                "(press Ctrl-C again to exit, or Ctrl-D)".into(),
                "（再按一次 Ctrl-C 退出，也可按 Ctrl-D）".into(),
            ),
            Self::StillStopping => (
                "(stopping after the current step of the model; Ctrl-\\ ends the program)".into(),
                "（模型完成当前一步后停止；按 Ctrl-\\ 强制结束程序）".into(),
            ),
            Self::Ended(ending) => ending.texts(),
            Self::Discarded => ("(the message was dropped)".into(), "（消息已丢弃）".into()),
            Self::MultiEnds => (
                "(a line with a dot alone ends the message, Ctrl-C drops it)".into(),
                "（以单独一个点的行结束，Ctrl-C 丢弃）".into(),
            ),
            Self::TookBack { user } => (format!("(took back: {user})"), format!("（已撤回：{user}）")),
            Self::NothingToTakeBack => {
                ("(there is nothing to take back)".into(), "（没有可撤回的内容）".into())
            }
            Self::Kept => (
                "(the conversation is kept: `/regen` answers once more, `/undo` takes the last turn back)".into(),
                "（对话已保留：`/regen` 重新回答，`/undo` 撤回上一轮）".into(),
            ),
            Self::PublishedSystem => ("(the published instruction)".into(), "（发布时的指令）".into()),
            Self::Saved { turns, file } => {
                (format!("({turns} turn(s) in `{file}`)"), format!("（{turns} 轮对话已存入 `{file}`）"))
            }
            Self::Loaded { turns } => (format!("({turns} turn(s))"), format!("（{turns} 轮对话）")),
            Self::Window { used, window, turns } => (
                format!("window: {used} of {window} tokens, {turns} turn(s)"),
                format!("窗口：{window} 个词元中已用 {used} 个，{turns} 轮对话"),
            ),
            Self::LastAnswer(outcome) => last_answer(outcome),
            Self::TurnsDropped { count } => (
                format!("(the window is full: the {count} oldest turn(s) are no longer seen by the model)"),
                format!("（窗口已满：模型不再看到最早的 {count} 轮对话）"),
            ),
            Self::Thoughts => ("[thoughts] ".into(), "[思考] ".into()),
            Self::Commands => ("\n[commands] ".into(), "\n[命令] ".into()),
            Self::GiveResults => {
                ("(give the results with `/results TEXT`)".into(), "（请用 `/results 文本` 提供结果）".into())
            }
            Self::NotUtf8 { line, offset, byte } => (
                format!(
                    "line {line} is not UTF-8 at offset {offset} (byte {byte:#04x}); the line was dropped"
                ),
                format!("第 {line} 行在偏移 {offset} 处不是 UTF-8（字节 {byte:#04x}）；该行已忽略"),
            ),
            Self::NotUtf8Typed => (
                "what was typed is not UTF-8; the line was dropped".into(),
                "输入的内容不是 UTF-8；该行已忽略".into(),
            ),
            Self::NotUtf8Edited => (
                "what was typed is not UTF-8; the line was dropped, with all that was typed ahead behind it".into(),
                "输入的内容不是 UTF-8；该行以及在其后预先输入的内容已忽略".into(),
            ),
            Self::SetUtf8 => (
                "set the terminal and the locale to UTF-8 (`export LANG=C.UTF-8`), or convert the input: `iconv -f GBK -t UTF-8`".into(),
                "请将终端和区域设置设为 UTF-8（`export LANG=zh_CN.UTF-8`），或转换输入：`iconv -f GBK -t UTF-8`".into(),
            ),
            Self::NoCommand { name } => (format!("`{name}` is no command"), format!("没有命令 `{name}`")),
            Self::SlashText => (
                "`/help` lists them; a message may begin with a space".into(),
                "`/help` 列出所有命令；消息可以空格开头".into(),
            ),
            Self::NeedsFile { name } => (format!("`{name}` needs a file"), format!("`{name}` 需要文件名")),
            Self::NeedsText { name } => (format!("`{name}` needs a text"), format!("`{name}` 需要文本")),
            Self::NeedsNothing { name } => {
                (format!("`{name}` takes nothing behind it"), format!("`{name}` 之后不能有内容"))
            }
            Self::SeeHelp => ("`/help` lists the commands".into(), "`/help` 列出所有命令".into()),
            Self::NoParam { key } => (format!("`{key}` is no parameter"), format!("没有参数 `{key}`")),
            Self::NoValue { key, value } => {
                (format!("`{value}` is no value for `{key}`"), format!("`{value}` 不能作为 `{key}` 的值"))
            }
            Self::SeeParams => (
                "`/params` alone shows them all; `none` takes a limit away".into(),
                "`/params` 列出所有参数；`none` 取消限制".into(),
            ),
            Self::KeptShard { file } => {
                (format!("kept `{file}` of an earlier run"), format!("保留上次已完成的 `{file}`"))
            }
            Self::Checking => ("checking".into(), "正在校验".into()),
            Self::Converting => ("converting".into(), "正在转换".into()),
            Self::Quantizing { tokens: 0 } => ("quantising".into(), "正在量化".into()),
            Self::Quantizing { tokens } => (
                format!("quantising with {tokens} calibration tokens"),
                format!("正在用 {tokens} 个校准词元量化"),
            ),
            Self::BuiltInCalibration { texts } => (
                format!("calibrating with {texts} short dialogues that come with this program; `--calibration FILE` takes text of your model's kind"),
                format!("使用本程序自带的 {texts} 段简短对话校准；可用 `--calibration 文件` 提供适合您的模型的文本"),
            ),
            Self::RoundingToNearest => {
                ("rounding to the nearest, without calibration".into(), "就近舍入，不做校准".into())
            }
            Self::NotMeasured { folder, causes } => (
                format!("the perplexity of `{folder}` was not measured (`moss-cli eval --gpu cpu` needs no card): {causes}"),
                format!("未测量 `{folder}` 的困惑度（`moss-cli eval --gpu cpu` 不需要显卡）：{causes}"),
            ),
            Self::Wrote { folder } => (format!("wrote `{folder}`"), format!("已写入 `{folder}`")),
            Self::Serve(message) => message.texts(),
            Self::Ready { name } => (format!("ready: {name}"), format!("已就绪：{name}")),
            Self::Draining => (
                "stopping: running answers are finished first (once more ends them)".into(),
                "正在停止：先完成进行中的回答（再按一次立即结束）".into(),
            ),
            Self::ReadingPrompt => ("reading the prompt".into(), "正在读取提示".into()),
            Self::Download(message) => message.texts(),
        })
    }
}

fn last_answer(outcome: &Outcome) -> (String, String) {
    let Outcome { usage, timings, .. } = outcome;
    let (prompt, reused, run) = (
        usage.prompt_tokens,
        usage.reused_tokens,
        usage.prefilled_tokens,
    );
    let (seconds, generated) = (timings.prefill.as_secs_f64(), usage.generated_tokens);
    let rate = timings.decode_rate(usage);
    (
        format!(
            "last answer: {prompt} prompt tokens ({reused} from the cache, {run} run in {seconds:.2} s), {generated} generated at {rate:.1} tok/s"
        ),
        format!(
            "上次回答：提示 {prompt} 个词元（缓存 {reused} 个，计算 {run} 个，用时 {seconds:.2} 秒），生成 {generated} 个，每秒 {rate:.1} 个"
        ),
    )
}

fn help(language: Language) -> &'static str {
    match language {
        Language::En => {
            "\
clear            forget the conversation, clear the screen
stop, /quit      leave
/help            this list
/regen           answer the last message once more
/undo            take the last turn back
/system [TEXT]   show or set what stands before the first turn; `/system -` for the published instruction
/params [K V]    show or set how answers are made, such as `/params temperature 0.5`
/save FILE       keep the conversation as JSON; `/save --force FILE` replaces a file
/load FILE       go on with a saved conversation
/stats           tokens, times, and how full the window is
/multi           several lines, ended by a line with a dot alone
/results TEXT    give a plugin model the results of its commands
Ctrl-C           stop an answer, or clear the line (Ctrl-Y brings it back); twice on an empty line: leave
Ctrl-D           on an empty line: leave, or end a message of several lines
Text typed during an answer is not shown until the next prompt."
        }
        Language::Zh => {
            "\
clear            清空对话历史并清屏
stop, /quit      退出
/help            显示本列表
/regen           重新回答上一条消息
/undo            撤回上一轮
/system [文本]   查看或设置首轮之前的系统文本；`/system -` 恢复发布时的指令
/params [项 值]  查看或设置生成参数，例如 `/params temperature 0.5`
/save 文件       将对话存为 JSON；`/save --force 文件` 替换已有文件
/load 文件       继续已保存的对话
/stats           词元数、用时和窗口占用
/multi           多行输入，以单独一个点的行结束
/results 文本    向插件模型提供命令的结果
Ctrl-C           停止回答，或清除当前行（Ctrl-Y 可恢复）；在空行按两次退出
Ctrl-D           在空行：退出，或结束多行输入
回答期间输入的内容在下一个提示符处显示。"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::names::NAMES;

    #[test]
    fn the_help_of_both_languages_names_every_command() {
        for language in [Language::En, Language::Zh] {
            for name in NAMES {
                assert!(help(language).contains(name), "{name} in {language:?}");
            }
        }
    }
}
