//! The same in Chinese.

use super::CheckpointError;

impl CheckpointError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Read { file, .. } => format!("无法读取 `{}`", file.display()),
            Self::WrongKind {
                file,
                found,
                expected,
            } => {
                format!(
                    "`{}` 是{}，应为{}",
                    file.display(),
                    phrase(found),
                    phrase(expected)
                )
            }
            Self::NoWeights { folder, found } => {
                format!(
                    "`{}` 中没有权重文件（{}）",
                    folder.display(),
                    listing(found)
                )
            }
            Self::NotWeights { file, found } => {
                format!("`{}` 的内容是{}，应为权重", file.display(), phrase(found))
            }
            Self::Json { file, what, .. } => {
                format!("`{}` 不是可读的{}", file.display(), phrase(what))
            }
            Self::ConfigValue {
                file,
                key,
                found,
                expected,
            } => {
                let found = if found == "missing" { "缺失" } else { found };
                format!(
                    "`{}` 中的 `{key}` 为 {found}，应为{}",
                    file.display(),
                    phrase(expected)
                )
            }
            Self::ConfigConflict {
                key,
                first,
                first_value,
                second_key,
                second,
                second_value,
            } => format!(
                "`{key}` 在 `{}` 中为 {first_value}，而 `{second_key}` 在 `{}` 中为 {second_value}",
                first.display(),
                second.display()
            ),
            Self::ConfigMismatch {
                key,
                config_file,
                config,
                name,
                file,
                tensors,
            } => format!(
                "`{}` 中的 `{key}` 为 {config}，但 `{}` 中的 `{name}` 表明应为 {}",
                config_file.display(),
                file.display(),
                shown(tensors)
            ),
            Self::StaleIndex {
                index,
                shard,
                missing,
                complete,
            } => format!(
                "索引 `{}` 已过时：其中列出的 {missing} 个文件缺失（第一个是 `{shard}`），而 `{complete}` 是完整的",
                index.display()
            ),
            Self::Encoding { file, .. } => format!("无法将 `{}` 作为文本读取", file.display()),
            Self::ShardName { index, shard } => {
                format!(
                    "索引 `{}` 将 `{shard}` 列为分片，应为不带路径的文件名",
                    index.display()
                )
            }
            Self::MissingShard {
                index,
                shard,
                tensors,
            } => {
                format!(
                    "缺少 `{}` 所列的分片 `{shard}`（其中有 {tensors} 个张量）",
                    index.display()
                )
            }
            Self::MisplacedTensor { name, file } => {
                format!("索引称张量 `{name}` 在 `{}` 中，但其中没有", file.display())
            }
            Self::DuplicateTensor {
                name,
                first,
                second,
            } => {
                format!(
                    "张量 `{name}` 同时存在于 `{}` 和 `{}`",
                    first.display(),
                    second.display()
                )
            }
            Self::Zip { file, .. } => format!("`{}` 不是完整的 PyTorch 文件", file.display()),
            Self::LegacyTorch { file } => {
                format!("`{}` 是 PyTorch 1.6 之前的旧格式", file.display())
            }
            Self::ZipEntry { file, entry, found } => {
                let (file, found) = (file.display(), entry_state(found));
                format!("`{file}` 中的条目 `{entry}` {found}，应为文件内未压缩的数据")
            }
            Self::Checksum {
                file,
                record,
                tensors,
                found,
                expected,
            } => {
                let names: Vec<_> = tensors.iter().map(|name| format!("`{name}`")).collect();
                let held = match names.is_empty() {
                    true => String::new(),
                    false => format!("（其中有 {}）", names.join("、")),
                };
                format!(
                    "`{}` 中的记录 `{record}` 已损坏：CRC-32 为 {found:#010x}，应为 {expected:#010x}{held}",
                    file.display()
                )
            }
            Self::Pickle { file, .. } => format!("无法解析 `{}` 中的 pickle", file.display()),
            Self::Safetensors { file, .. } => {
                format!("`{}` 不是完整的 safetensors 文件", file.display())
            }
            Self::TensorBounds {
                name,
                file,
                needed,
                found,
            } => format!(
                "`{}` 中的张量 `{name}` 需要其存储区的 {needed} 字节，而存储区只有 {found} 字节",
                file.display()
            ),
            Self::Write { file, .. } => format!("无法写入 `{}`", file.display()),
            Self::WrongLength { file, excess } => {
                format!(
                    "写入 `{}` 的数据比其张量多出 {excess:+} 字节",
                    file.display()
                )
            }
            Self::NotAsPlanned { file, name } => {
                format!("`{}` 中的张量与写入的不符：`{name}` 不同", file.display())
            }
            Self::MissingTensor { name, folder } => {
                format!("`{}` 中缺少张量 `{name}`", folder.display())
            }
            Self::Shape {
                name,
                file,
                found,
                expected,
            } => {
                format!(
                    "`{}` 中张量 `{name}` 的形状为 {found:?}，应为 {expected:?}",
                    file.display()
                )
            }
            Self::Dtype {
                name,
                file,
                found,
                expected,
            } => {
                let expected = phrase(expected);
                format!(
                    "`{}` 中的张量 `{name}` 以 {found} 存储，应为 {expected}",
                    file.display()
                )
            }
            Self::UnsupportedDtype { name, file, found } => format!(
                "`{}` 中的张量 `{name}` 以 {found} 存储，应为 bool、u8、i8 至 i64、f16、bf16、f32、f64 之一",
                file.display()
            ),
            Self::NonFinite {
                name,
                file,
                at,
                value,
            } => {
                format!(
                    "`{}` 中张量 `{name}` 的第 {at} 个元素为 {value}",
                    file.display()
                )
            }
            Self::Underflow {
                name,
                file,
                at,
                value,
            } => {
                format!(
                    "`{}` 中张量 `{name}` 的第 {at} 个元素为 {value:e}，在 f16 中会变成 0",
                    file.display()
                )
            }
            Self::UnexpectedBias {
                name,
                file,
                at,
                value,
            } => {
                format!(
                    "`{}` 中 `{name}` 的第 {at} 个元素为 {value}，但该层没有偏置",
                    file.display()
                )
            }
            Self::GroupAlignment {
                name,
                file,
                group_size,
                multiple,
            } => {
                format!(
                    "`{}` 中的 `{name}` 每组 {group_size} 个输入，应为 {multiple} 的倍数",
                    file.display()
                )
            }
            Self::Group {
                name,
                file,
                at,
                found,
                last,
            } => {
                format!(
                    "`{}` 中的 `{name}` 将输入 {at} 归入第 {found} 组，应为 0 至 {last}",
                    file.display()
                )
            }
            Self::BitWidth {
                name,
                file,
                rows,
                in_features,
            } => format!(
                "`{}` 中的 `{name}` 对 {in_features} 个输入有 {rows} 行打包数据，应为每个权重 4 或 8 位",
                file.display()
            ),
            Self::GroupSizeUnstated {
                name,
                file,
                groups,
                in_features,
                first,
                second,
            } => format!(
                "`{}` 中的 `{name}` 对 {in_features} 个输入有 {groups} 组，但没有任何地方说明组大小：{first} 和 {second} 都相符",
                file.display()
            ),
            Self::GroupSize {
                name,
                file,
                groups,
                in_features,
            } => format!(
                "`{}` 中的 `{name}` 对 {in_features} 个输入有 {groups} 组，没有与之相符的组大小",
                file.display()
            ),
        }
    }

    /// [`CheckpointError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        let again = "文件似乎不完整或已损坏：请重新下载，并与模型库上的大小核对";
        Some(match self {
            Self::NoWeights { .. } => {
                "检查点文件夹应有 config.json，以及 pytorch_model*.bin 或 model*.safetensors".into()
            }
            Self::NotWeights { found, .. } if found.contains("git-lfs") => {
                "请在该文件夹中运行 `git lfs pull`，或单独下载该文件".into()
            }
            Self::NotWeights { .. }
            | Self::Zip { .. }
            | Self::Safetensors { .. }
            | Self::TensorBounds { .. }
            | Self::Checksum { .. } => again.into(),
            Self::Encoding { source, .. } => return source.hint_zh(),
            Self::WrongKind { found: "an empty file", .. } => again.into(),
            Self::StaleIndex { index, complete, .. } => format!(
                "请删除 `{}` 以使用 `{complete}`；若索引才是较新的，请下载其中列出的文件",
                index.file_name().unwrap_or_default().display()
            ),
            Self::ConfigValue { expected: "gptq" | "gptq or gptq_v2", .. } => {
                "量化权重只支持 4 或 8 位的 GPTQ：请使用发布的 int4 或 int8 模型，或用 `moss-cli quantize` 量化 fp16 模型".into()
            }
            Self::ConfigValue { .. } => "请与权重一同发布的文件核对".into(),
            Self::ConfigConflict { first, second, .. } if first == second => {
                "两个键含义相同：请保留与权重量化时一致的那个".into()
            }
            Self::GroupSizeUnstated { .. } => {
                "请将 config.json 中的 `groupsize` 设为量化权重时的组大小".into()
            }
            Self::ConfigConflict { .. } => "这些文件属于不同的模型：请保留与权重一同生成的那个".into(),
            Self::ConfigMismatch { .. } => {
                "该文件被修改过、属于另一个模型，或缺少某个分片：请从同一处取得两者".into()
            }
            Self::UnexpectedBias { .. } => "权重属于另一种结构的网络；MOSS 的注意力层没有偏置".into(),
            Self::MissingShard { shard, .. } => format!("请将 `{shard}` 下载到同一文件夹"),
            Self::LegacyTorch { .. } => "请用当前版本的 PyTorch 加载，再用 `torch.save` 保存".into(),
            Self::ZipEntry { found, .. } if found.starts_with("compressed") => {
                "PyTorch 存储条目时不压缩，此文件被重新打包过：请使用原始文件".into()
            }
            Self::Pickle { .. } => {
                "只读取纯粹的 state dict，绝不执行文件中的任何内容：请使用发布的原始文件".into()
            }
            Self::MissingTensor { .. } => "文件夹中可能缺少某个分片，或 config.json 属于另一个模型".into(),
            Self::Shape { .. } => "config.json 与权重可能不属于同一个模型".into(),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "请腾出磁盘空间，再运行同一命令".into()
            }
            Self::NotAsPlanned { .. } => "磁盘或内存可能有故障：请换一处重新写入".into(),
            Self::UnsupportedDtype { .. } => "请将检查点转换为 f16，或使用发布的检查点".into(),
            _ => return None,
        })
    }
}

/// Words that errors are made with; with a space before Latin letters, where the sentence has none.
fn phrase(en: &str) -> &str {
    match en {
        "a file" => "文件",
        "a folder" => "文件夹",
        "a dangling link" => "失效的链接",
        "an empty file" => "空文件",
        "neither a file nor a folder" => "既非文件也非文件夹的东西",
        "a checkpoint's folder" => "检查点文件夹",
        "a config.json" | "config.json" => " config.json",
        "a shard index" | "shard index" => "分片索引",
        "a weight file" => "权重文件",
        "a git-lfs pointer" => " git-lfs 指针",
        "a web page" => "网页",
        "f16, bf16 or f32" => "f16、bf16 或 f32",
        "i32, or i64 within its range" => "i32，或不超出其范围的 i64",
        "a quantize_config.json" | "quantize_config.json" => " quantize_config.json",
        "a whole number of 0 or more" => "不小于 0 的整数",
        "a whole number" => "整数",
        "a number" => "数",
        "a number above 0, or -1" => "大于 0 的数或 -1",
        "a token id" => "词元 ID",
        "a string" => "字符串",
        "a JSON object" => " JSON 对象",
        "true or false" => " true 或 false",
        "4 or 8 bits a weight" => "每个权重 4 或 8 位",
        "gptq" => " gptq",
        "gptq or gptq_v2" => " gptq 或 gptq_v2",
        other => other,
    }
}

/// What tensors show, where it is no number.
fn shown(en: &str) -> String {
    let groups = en
        .strip_suffix(" inputs")
        .and_then(|en| en.split_once(" groups of "));
    match (en, groups) {
        (_, Some((groups, inputs))) => format!("{inputs} 个输入分 {groups} 组"),
        ("inputs that are not in the order of their groups", _) => "输入不按组的次序排列".into(),
        _ => en.to_owned(),
    }
}

/// What a folder holds, as `files` lists it.
fn listing(en: &str) -> String {
    let more = en
        .strip_suffix(" more")
        .and_then(|en| en.rsplit_once(" and "));
    match (en, more) {
        ("an empty folder", _) => "空文件夹".into(),
        (_, Some((names, more))) => format!("现有 {}，另有 {more} 个", names.replace(", ", "、")),
        _ => format!("现有 {}", en.replace(", ", "、")),
    }
}

/// What is wrong with a zip entry.
fn entry_state(en: &str) -> String {
    match en {
        "missing" => "缺失".into(),
        "big-endian" => "为大端序".into(),
        "larger than any state dict" => "大于任何 state dict".into(),
        "encrypted" => "已加密".into(),
        "past the end of the file" => "超出文件末尾".into(),
        _ => match en.strip_prefix("compressed with ") {
            Some(method) => format!("以 {method} 压缩"),
            None => en.to_owned(),
        },
    }
}
