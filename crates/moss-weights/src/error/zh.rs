//! The same in Chinese.

use super::{KernelError, cublas_package, mebibytes};

impl KernelError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Argument {
                op,
                arg,
                found,
                rule,
            } => {
                format!("{op}：`{arg}` 为 {found}，应为{}", phrase(rule))
            }
            Self::Shape {
                op,
                arg,
                found,
                expected,
            } => {
                format!("{op}：`{arg}` 的形状为 {found:?}，应为 {expected}")
            }
            Self::Dtype { op, arg, found } => {
                format!("{op}：`{arg}` 的类型为 {found}，应为 f32、f16 或 bf16")
            }
            Self::NotPacked { op, found } => {
                format!("{op}：8 位激活值只能与 int4、int8 权重相乘，实为 {found:?}")
            }
            Self::NotCompiled { op } => format!("{op}：此构建只含 CPU 内核"),
            Self::NoSuchGpu { ordinal, found } => match found {
                0 => format!("没有 GPU {ordinal}：驱动未报告任何 GPU"),
                1 => format!("没有 GPU {ordinal}：驱动只报告一张，即 GPU 0"),
                n => format!("没有 GPU {ordinal}：驱动报告 {n} 张，GPU 0 至 {}", n - 1),
            },
            Self::DriverTooOld { found, needed } => {
                let version = |number: u32| format!("{}.{}", number / 1000, number % 1000 / 10);
                let (found, needed) = (version(*found), version(*needed));
                format!("NVIDIA 驱动支持到 CUDA {found}，此构建需要 {needed} 或更新")
            }
            Self::NoDriver => "未找到 NVIDIA 驱动：动态加载器找不到 libcuda.so.1".into(),
            Self::LibraryMissing {
                library, reason, ..
            } => {
                format!("此处需要 {library}，但无法加载：{reason}")
            }
            Self::OutOfMemory { gpu, needed, free } => {
                let (needed, free) = (mebibytes(*needed), mebibytes(*free));
                format!("GPU {gpu} 显存不足：还需要 {needed}，可用 {free}")
            }
            Self::Read { .. } => "无法读取权重".into(),
            Self::NotOpened { gpu, message, .. } => format!("无法打开 GPU {gpu}：{message}"),
            Self::Driver { what, message, .. } => format!("无法{}：{message}", phrase(what)),
            #[cfg(feature = "candle")]
            Self::Tensor(error) => format!("张量运算失败：{error}"),
        }
    }

    /// [`KernelError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::NotCompiled { .. } => {
                Some("使用 GPU 请以 `cargo build --release --features cuda` 构建".into())
            }
            Self::NotPacked { .. } => Some("请去掉 `--activations`，或改用 int4 或 int8 检查点".into()),
            Self::NoSuchGpu { .. } => Some(
                "`nvidia-smi` 可列出显卡，`CUDA_VISIBLE_DEVICES` 可能隐藏了一些；`--gpu cpu` 不需要显卡"
                    .into(),
            ),
            Self::NoDriver => Some("请安装 NVIDIA 驱动（之后 `nvidia-smi` 可列出显卡），或去掉 `--gpu` 在 CPU 上运行".into()),
            Self::LibraryMissing { version, .. } => Some(format!(
                "请用 `pip install {}` 安装，或安装 CUDA {version} 工具包；也可用 `LD_LIBRARY_PATH` 指定它所在的目录",
                cublas_package(*version)
            )),
            Self::DriverTooOld { needed, .. } => Some(format!(
                "请安装支持 CUDA {}.{} 或更新版本的驱动，或用较旧的工具包构建；`--gpu cpu` 不需要驱动",
                needed / 1000,
                needed % 1000 / 10
            )),
            Self::OutOfMemory { .. } => {
                Some("请关闭占用显卡的其他程序，改用更小的格式或更短的上下文，或使用 CPU".into())
            }
            Self::Driver { code: 100, .. } => {
                Some("是否已安装 NVIDIA 驱动？`nvidia-smi` 应能列出显卡；`--gpu cpu` 不需要显卡".into())
            }
            Self::Driver { code: 803, .. } => Some(
                "驱动不完整：更新后需重启机器，容器内须使用本机驱动的库；`--gpu cpu` 不需要驱动".into(),
            ),
            Self::NotOpened { code: 46, .. } => Some(
                "显卡可能被其他程序独占（计算模式“独占”）：`nvidia-smi` 可查看两者；请另选一张，或用 `--gpu cpu`"
                    .into(),
            ),
            Self::NotOpened { code: 2, .. } => Some(
                "显存已被占用：`nvidia-smi` 可查看是哪些程序；请另选一张，或用 `--gpu cpu`".into(),
            ),
            Self::Driver { .. } | Self::NotOpened { .. } => {
                Some("`nvidia-smi` 可查看驱动和显卡；`--gpu cpu` 两者都不需要".into())
            }
            _ => None,
        }
    }
}

/// Words that errors are made with: what was being done, and rules of arguments; with a space
/// before Latin letters, where the sentence has none. Names of kernels stay.
fn phrase(en: &str) -> String {
    let whole = match en {
        "ask for free memory" => "查询可用显存",
        "ask for the driver's version" => "查询驱动版本",
        "ask what the GPU is" => "查询 GPU 的型号",
        "copy from the GPU" => "从 GPU 复制数据",
        "copy to the GPU" => "向 GPU 复制数据",
        "copy within the GPU" => "在 GPU 内复制数据",
        "find a kernel" => "找到内核",
        "hand over to the next stage" => "将数据交给下一阶段",
        "load the kernels" => "加载内核",
        "look for GPUs" => "查找 GPU",
        "measure" => "测量",
        "open the GPU" => "打开 GPU",
        "prepare cuBLAS" => "初始化 cuBLAS",
        "record a step" => "录制一步",
        "set memory" => "写显存",
        "start a step" => "启动一步",
        "take memory" => "分配显存",
        "take page-locked host memory" => "分配锁页内存",
        "wait for the GPU" => "等待 GPU 完成",
        "dense" => "非打包的权重",
        "even" => "偶数",
        "few enough for every element to have an address" => "足够小的数，使每个元素都有地址",
        "a value that f16 holds, at every index" => "f16 可表示的值",
        _ => "",
    };
    let rules = [
        ("a multiple of ", "", " 的倍数"),
        ("at least ", "至少 ", ""),
        ("at most ", "至多 ", ""),
        ("below ", "小于 ", ""),
        ("from ", "", ""),
        ("as few as memory holds: ", "内存可容纳的数量：需要 ", ""),
    ];
    let rule = rules.iter().find_map(|(words, before, after)| {
        en.strip_prefix(words).map(|n| {
            format!(
                "{before}{}{after}",
                n.replace(" to ", " 至 ").replace(" were asked for", "")
            )
        })
    });
    let text = match whole {
        "" => rule.unwrap_or_else(|| en.to_owned()),
        whole => whole.to_owned(),
    };
    if text.starts_with(|c: char| c.is_ascii()) {
        format!(" {text}")
    } else {
        text
    }
}
