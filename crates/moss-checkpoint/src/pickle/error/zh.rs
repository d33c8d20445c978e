//! The same in Chinese.

use super::PickleError;

impl PickleError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Truncated { at } => format!("在第 {at} 字节处中断，指令不完整"),
            Self::Opcode { opcode, at } => {
                format!("第 {at} 字节处的操作码 {opcode:#04x} 不是 state dict 所需要的")
            }
            Self::Global { name, at } => {
                format!("第 {at} 字节处引用了 `{name}`，它不在 state dict 可引用的名单上")
            }
            Self::Value { expected, at } => format!("第 {at} 字节处：应为{}", phrase(expected)),
            Self::Attached { name, what } => format!("张量 `{name}` 带有{}，应没有", phrase(what)),
            Self::Unreached { count, record } => format!(
                "有 {count} 个张量不是最外层字典中字符串键的值，第一个的数据在 `{record}` 中"
            ),
            Self::Limit { what, at } => {
                format!("第 {at} 字节处：{}比任何 state dict 都多", phrase(what))
            }
        }
    }
}

/// Words that errors are made with; with a space before Latin letters, where the sentence has none.
fn phrase(en: &str) -> &str {
    match en {
        "a state dict" => " state dict",
        "every tensor's name once" => "互不相同的张量名",
        "text in UTF-8" => " UTF-8 文本",
        "a value on the stack" => "栈上的一个值",
        "values on the stack" => "栈上的若干值",
        "a mark on the stack" => "栈上的标记",
        "a string" => "字符串",
        "a list" => "列表",
        "a dict" => "字典",
        "a value for every key" => "每个键各有一个值",
        "a tuple of arguments" => "参数元组",
        "an offset of 0 or more" => "不小于 0 的偏移",
        "as many strides as axes" => "与轴数相同的步长",
        "extents of 0 or more" => "不小于 0 的各轴长度",
        "extents of this machine's size" => "本机可表示的各轴长度",
        "a tensor, a parameter or an empty dict to be built" => "待构建的张量、参数或空字典",
        "six or seven arguments of a tensor" => "张量的六个或七个参数",
        "a dict of hooks or metadata" => "钩子或元数据的字典",
        "attributes of a dict" => "字典的属性",
        "backward hooks" => "反向传播钩子",
        "tensor metadata" => "张量元数据",
        "a storage reference" => "存储区引用",
        "a remembered value" => "已记住的值",
        "characters in a string" => "字符串的字符",
        "digits in a number" => "数字的位数",
        "values" => "值的个数",
        "axes" => "轴数",
        "remembered values" => "记住的值",
        other => other,
    }
}
