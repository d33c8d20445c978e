//! What the chat says, in both languages.

use clap::ValueEnum;

/// Language of messages. Answers are in whatever language MOSS chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    En,
    Zh,
}

impl Language {
    pub(crate) fn of_locale() -> Self {
        match sys_locale::get_locale() {
            Some(locale) if locale.to_lowercase().starts_with("zh") => Self::Zh,
            _ => Self::En,
        }
    }

    /// One of the two.
    pub(crate) fn pick<T>(self, en: T, zh: T) -> T {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    pub(crate) fn help(self) -> &'static str {
        self.pick(
            "\
clear            forget the conversation, clear the screen
stop, /quit      leave
/help            this list
/regen           answer the last message once more
/undo            take the last turn back
/system [TEXT]   show or set what stands before the first turn; `/system -` for the published instruction
/params [K V]    show or set how answers are made, such as `/params temperature 0.5`
/save FILE       keep the conversation as JSON
/load FILE       go on with a saved conversation
/stats           tokens, times, and how full the window is
/multi           several lines, ended by a line with a dot alone
/results TEXT    give a plugin model the results of its commands
Ctrl-C stops an answer; twice at the prompt leaves. Ctrl-D leaves.",
            "\
clear            清空对话历史并清屏
stop, /quit      退出
/help            显示本列表
/regen           重新回答上一条消息
/undo            撤回上一轮
/system [文本]   查看或设置首轮之前的系统文本；`/system -` 恢复发布时的指令
/params [项 值]  查看或设置生成参数，例如 `/params temperature 0.5`
/save 文件       将对话存为 JSON
/load 文件       继续已保存的对话
/stats           词元数、用时和窗口占用
/multi           多行输入，以单独一个点的行结束
/results 文本    向插件模型提供命令的结果
Ctrl-C 停止回答；在提示符处按两次退出。Ctrl-D 退出。",
        )
    }

    pub(crate) fn not_utf8(self, line: usize, offset: usize, byte: Option<u8>) -> String {
        let byte = byte.map_or(String::new(), |byte| {
            self.pick(format!(" (byte {byte:#04x})"), format!("（字节 {byte:#04x}）"))
        });
        self.pick(
            format!("line {line} is not UTF-8 at offset {offset}{byte}; the line was dropped\nhint: set the terminal to UTF-8, or convert the input: `iconv -f GBK -t UTF-8`"),
            format!("第 {line} 行在偏移 {offset} 处不是 UTF-8{byte}；该行已忽略\nhint: 请将终端设为 UTF-8，或转换输入：`iconv -f GBK -t UTF-8`"),
        )
    }

    pub(crate) fn turns_dropped(self, count: usize) -> String {
        self.pick(
            format!("(the window is full: the {count} oldest turn(s) are no longer seen by the model)"),
            format!("（窗口已满：模型不再看到最早的 {count} 轮对话）"),
        )
    }
}

/// Upstream's own welcome, as its published command-line demo prints it.
pub(crate) const WELCOME: &str =
    "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";
