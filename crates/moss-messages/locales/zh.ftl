# 各库的消息，编号与 en.ftl 相同。每条消息一行；`.hint` 是给用户的建议。
# 值若以拉丁字母开头，而插入处没有空格，则以 {" "} 开头。

# moss-unicode
DecodeError-Wide = 文本的编码为 { $encoding }，应为 UTF-8
    .hint = 请转换编码：`iconv -f { $encoding } -t UTF-8`
DecodeError-NotUtf8 = 文本在第 { $line } 行、偏移 { $offset } 处不是 UTF-8（字节 { HEX($byte, digits: 2) }）
    .hint = 请转换编码：`iconv -f GBK -t UTF-8`

# moss-files
FileKind-Folder = 文件夹
FileKind-NamedPipe = 命名管道
FileKind-Device = 设备
FileKind-Socket = 套接字
FileKind-DanglingLink = 失效的链接
FileKind-Empty = 空文件
FileKind-Special = 特殊文件
FileKind-File = 文件
FileError-Kind = 这是{ $found }，应为普通文件
    .hint = { $found_id ->
        [DanglingLink] 链接的目标已被移动或删除：请重新下载或复制该文件
       *[other] 请给出磁盘上文件的路径；不读取管道和设备
    }
FileError-TooLarge = 文件超过 { $limit } 字节的上限

# moss-checkpoint
-damaged-file = 文件似乎不完整或已损坏：请重新下载，并与模型库所列的大小核对
FileRole-CheckpointFolder = 检查点文件夹
FileRole-Config = {" "}config.json
FileRole-QuantizeConfig = {" "}quantize_config.json
FileRole-ShardIndex = 分片索引
FileRole-Weights = 权重文件
Lookalike-GitLfsPointer = {" "}git-lfs 指针
Lookalike-WebPage = 网页
ConfigRule-Size = 不小于 0 的整数
ConfigRule-Integer = 整数
ConfigRule-Number = 数
ConfigRule-TokenId = 词元 ID
ConfigRule-Text = 字符串
ConfigRule-Object = {" "}JSON 对象
ConfigRule-Flag = {" "}true 或 false
ConfigRule-Bits = 每个权重 4 或 8 位
ConfigRule-GroupSize = 大于 0 的数或 -1
ConfigRule-Gptq = {" "}gptq
ConfigRule-GptqFormat = {" "}gptq 或 gptq_v2
Evidence-Value = {" "}{ $value }
Evidence-Groups = {" "}{ $inputs } 个输入分 { $groups } 组
Evidence-Unordered = 输入不按组的次序排列
EntryFault-Missing = 缺失
EntryFault-BigEndian = 为大端序
EntryFault-TooLarge = 大于任何 state dict
EntryFault-Encrypted = 已加密
EntryFault-PastEnd = 超出文件末尾
EntryFault-Compressed = 以 { $value } 压缩
DtypeRule-Float = f16、bf16 或 f32
DtypeRule-I32 = i32
DtypeRule-I32Range = i32，或不超出其范围的 i64
PickleExpected-StateDict = {" "}state dict
PickleExpected-DistinctNames = 互不相同的张量名
PickleExpected-Utf8 = {" "}UTF-8 文本
PickleExpected-StackValue = 栈上的值
PickleExpected-Mark = 栈上的标记
PickleExpected-Text = 字符串
PickleExpected-List = 列表
PickleExpected-Dict = 字典
PickleExpected-KeyValuePairs = 每个键各有一个值
PickleExpected-Arguments = 参数元组
PickleExpected-TensorArguments = 张量的六个或七个参数
PickleExpected-Offset = 不小于 0 的偏移
PickleExpected-Strides = 与轴数相同的步长
PickleExpected-Extents = 不小于 0 且本机可寻址的各轴长度
PickleExpected-Constructor = 待构建的张量、参数或空字典
PickleExpected-Attachment = 钩子或元数据的字典
PickleExpected-Attributes = 字典的属性
PickleExpected-Storage = 存储区引用
PickleExpected-Memo = 备忘表中的值
PickleLimit-StringLength = 字符串的字符
PickleLimit-Digits = 数字的位数
PickleLimit-Values = 值的个数
PickleLimit-Axes = 轴数
PickleLimit-Memo = 备忘表中的值
Attachment-BackwardHooks = 反向传播钩子
Attachment-Metadata = 张量元数据
CheckpointError-Read = 无法读取 `{ $file }`
CheckpointError-WrongKind = `{ $file }` 是{ $found }，应为{ $expected }
    .hint = { $found_id ->
        [Empty] { -damaged-file }
       *[other] {""}
    }
CheckpointError-NoWeights = `{ $folder }` 中没有权重文件：{ $names_count ->
        [0] 文件夹为空
       *[other] 现有 { $names }{ $more ->
            [0] {""}
           *[other] ，另有 { $more } 个
        }
    }
    .hint = 检查点文件夹应有 config.json，以及 pytorch_model*.bin 或 model*.safetensors
CheckpointError-NotWeights = `{ $file }` 的内容是{ $found }，应为权重
    .hint = { $found_id ->
        [GitLfsPointer] 请在该文件夹中运行 `git lfs pull`，或单独下载该文件
       *[other] { -damaged-file }
    }
CheckpointError-Json = `{ $file }` 不是有效的{ $what }
CheckpointError-ConfigValue = `{ $file }` 中的 `{ $key }` { $found ->
        [none] 缺失
       *[other] 为 { $found }
    }，应为{ $expected }
    .hint = { $expected_id ->
        [Gptq] { -gptq-only }
        [GptqFormat] { -gptq-only }
       *[other] 请与权重一同发布的文件核对
    }
-gptq-only = 量化权重只支持 4 或 8 位的 GPTQ：请使用发布的 int4 或 int8 模型，或用 `moss-cli quantize` 量化 fp16 模型
CheckpointError-ConfigConflict = `{ $key }` 在 `{ $first }` 中为 { $first_value }，而 `{ $second_key }` 在 `{ $second }` 中为 { $second_value }
    .hint = { $is_same_file ->
        [true] 两个键含义相同：请保留与权重量化时一致的那个
       *[other] 这些文件属于不同的模型：请保留与权重一同生成的那个
    }
CheckpointError-ConfigMismatch = `{ $config_file }` 中的 `{ $key }` 为 { $config }，但 `{ $file }` 中的 `{ $name }` 表明应为{ $tensors }
    .hint = 该文件被修改过、属于另一个模型，或缺少某个分片：请从同一处取得两者
CheckpointError-Encoding = 无法将 `{ $file }` 作为文本读取
CheckpointError-ShardName = 索引 `{ $index }` 将 `{ $shard }` 列为分片，应为不带路径的文件名
CheckpointError-MissingShard = 缺少 `{ $index }` 所列的分片 `{ $shard }`（其中有 { $tensors } 个张量）
    .hint = 请将 `{ $shard }` 下载到同一文件夹
CheckpointError-StaleIndex = 索引 `{ $index }` 已过时：其中列出的 { $missing } 个文件缺失（第一个是 `{ $shard }`），而 `{ $complete }` 是完整的
    .hint = 请删除 `{ $index_name }` 以使用 `{ $complete }`；若索引才是较新的，请下载其中列出的文件
CheckpointError-MisplacedTensor = 索引称张量 `{ $name }` 在 `{ $file }` 中，但其中没有
CheckpointError-DuplicateTensor = 张量 `{ $name }` 同时存在于 `{ $first }` 和 `{ $second }`
CheckpointError-Zip = `{ $file }` 不是完整的 PyTorch 文件
    .hint = { -damaged-file }
CheckpointError-LegacyTorch = `{ $file }` 是 PyTorch 1.6 之前的旧格式
    .hint = 请用当前版本的 PyTorch 加载，再用 `torch.save` 保存
CheckpointError-ZipEntry = `{ $file }` 中的条目 `{ $entry }` { $found }，应为文件内未压缩的数据
    .hint = { $found_id ->
        [Compressed] PyTorch 存储条目时不压缩，此文件被重新打包过：请使用原始文件
       *[other] {""}
    }
CheckpointError-Checksum = `{ $file }` 中的记录 `{ $record }` 已损坏：CRC-32 为 { HEX($found, digits: 8) }，应为 { HEX($expected, digits: 8) }{ $tensors_count ->
        [0] {""}
       *[other] （其中有 { $tensors }）
    }
    .hint = { -damaged-file }
CheckpointError-Pickle = 无法解析 `{ $file }` 中的 pickle
    .hint = 只读取纯粹的 state dict，绝不执行文件中的任何内容：请使用发布的原始文件
CheckpointError-Safetensors = `{ $file }` 不是完整的 safetensors 文件
    .hint = { -damaged-file }
CheckpointError-TensorBounds = `{ $file }` 中的张量 `{ $name }` 需要其存储区的 { $needed } 字节，而存储区只有 { $found } 字节
    .hint = { -damaged-file }
CheckpointError-Write = 无法写入 `{ $file }`
    .hint = { $source ->
        [StorageFull] 请腾出磁盘空间，再运行同一命令
       *[other] {""}
    }
CheckpointError-WrongLength = 写入 `{ $file }` 的数据比其张量多出 { SIGNED($excess) } 字节
CheckpointError-NotAsPlanned = `{ $file }` 中的张量与写入的不符：`{ $name }` 不同
    .hint = 磁盘或内存可能有故障：请换一处重新写入
CheckpointError-MissingTensor = `{ $folder }` 中缺少张量 `{ $name }`
    .hint = 文件夹中可能缺少某个分片，或 config.json 属于另一个模型
CheckpointError-Shape = `{ $file }` 中张量 `{ $name }` 的形状为 { $found }，应为 { $expected }
    .hint = config.json 与权重可能不属于同一个模型
CheckpointError-Dtype = `{ $file }` 中的张量 `{ $name }` 以 { $found } 存储，应为 { $expected }
CheckpointError-UnsupportedDtype = `{ $file }` 中的张量 `{ $name }` 以 { $found } 存储，应为 bool、u8、i8 至 i64、f16、bf16、f32、f64 之一
    .hint = 请将检查点转换为 f16，或使用发布的检查点
CheckpointError-NonFinite = `{ $file }` 中张量 `{ $name }` 的第 { $at } 个元素为 { $value }
CheckpointError-Underflow = `{ $file }` 中张量 `{ $name }` 的第 { $at } 个元素为 { $value }，在 f16 中会变成 0
CheckpointError-UnexpectedBias = `{ $file }` 中 `{ $name }` 的第 { $at } 个元素为 { $value }，但该层没有偏置
    .hint = 权重属于另一种结构的网络；MOSS 的注意力层没有偏置
CheckpointError-GroupAlignment = `{ $file }` 中的 `{ $name }` 每组 { $group_size } 个输入，应为 { $multiple } 的倍数
CheckpointError-Group = `{ $file }` 中的 `{ $name }` 将输入 { $at } 归入第 { $found } 组，应为 0 至 { $last }
CheckpointError-BitWidth = `{ $file }` 中的 `{ $name }` 对 { $in_features } 个输入有 { $rows } 行打包数据，应为每个权重 4 或 8 位
CheckpointError-GroupSizeUnstated = `{ $file }` 中的 `{ $name }` 对 { $in_features } 个输入有 { $groups } 组，但没有任何地方说明组大小：{ $first } 和 { $second } 都相符
    .hint = 请将 config.json 中的 `groupsize` 设为量化权重时的组大小
CheckpointError-GroupSize = `{ $file }` 中的 `{ $name }` 对 { $in_features } 个输入有 { $groups } 组，没有与之相符的组大小
PickleError-Truncated = 在第 { $at } 字节处中断，指令不完整
PickleError-Opcode = 第 { $at } 字节处的操作码 { HEX($opcode, digits: 2) } 在 state dict 中不允许
PickleError-Global = 第 { $at } 字节处引用了 `{ $name }`，它不在 state dict 的允许列表中
PickleError-Value = 第 { $at } 字节处：应为{ $expected }
PickleError-Limit = 第 { $at } 字节处：{ $what }超过 state dict 的上限
PickleError-Attached = 张量 `{ $name }` 带有{ $what }，应没有
PickleError-Unreached = 有 { $count } 个张量不是最外层字典中字符串键的值，第一个的数据在 `{ $record }` 中
Warning-BitWidth = config.json 称 `wbits` = { $config }，而权重宽 { $tensors } 位；按 { $tensors } 处理
Warning-TorchDtype = config.json 称 `torch_dtype` = { $config }，而权重以 { $tensors } 存储；按 { $tensors } 处理
Warning-SeveralSets = 有多套权重：使用 `{ $used }`；其余 { $ignored_count } 个文件未读取，第一个是 `{ $ignored_first }`
Warning-StaleIndex = `{ $index_name }` 已过时：其中列出的 { $missing } 个文件缺失；使用 `{ $used }`
Warning-GroupSize = config.json 称 `groupsize` = { $config }，而权重每组 { $tensors } 个输入；按 { $tensors } 处理
Warning-GroupSizeAssumed = 没有任何地方说明 `{ $name }` 的组大小（共有 { $linears } 个线性层如此），且有多个大小相符；按 { $size } 处理
Warning-UnusedGroups = `{ $name }` 的 { $groups } 组中有 { $unused } 组未被使用，共有 { $linears } 个线性层如此：权重可能已损坏
Warning-Symmetry = 配置称 `sym`，但 `{ $name }` 存储的是 { $found }，而 `{ $format }` 格式的对称权重应为 { $expected }，共有 { $linears } 个线性层如此：`sym` 或 `checkpoint_format` 可能有误
Warning-OwnHead = config.json 称 `tie_word_embeddings`，但嵌入之外另有 `lm_head`；使用后者
Warning-NoHeadBias = 缺少 `lm_head.bias`，而发布的检查点都有它；将不使用它
Warning-NoChecksums = `{ $file }` 写入时未带校验和，其损坏可能无法发现
Warning-UnknownTensors = 有 { $count } 个此模型用不到的张量，第一个是 `{ $first }`；已忽略

# moss-text
-published-tokenizer = 请使用检查点发布时的分词器文件
-published-merges = merges.txt 不完整、顺序被打乱或属于另一个模型：请使用随检查点发布的文件
TokenizerFile-Vocabulary = 词表
TokenizerFile-AddedTokens = 附加词元列表
TokenizerFile-Config = 分词器配置
TokenizerFile-SpecialTokens = 特殊词元表
IdFault-Missing = 缺失
IdFault-Twice = 出现两次
IdFault-TooLarge = 超出词元总数
TextError-Read = 无法读取 `{ $file }`
    .hint = { $source ->
        [NotFound] 发布的分词器由 vocab.json、merges.txt 和 added_tokens.json 组成，与权重放在一起
       *[other] {""}
    }
TextError-Json = `{ $file }` 不是可读的{ $what }
    .hint = { -published-tokenizer }
TextError-Merge = `{ $file }` 第 { $line } 行是 `{ $found }`，应为两个词元，中间一个空格
    .hint = { -published-tokenizer }
TextError-MergeToken = `{ $file }` 第 { $line } 行需要词元 `{ $token }`，但 vocab.json 中没有
    .hint = { -published-tokenizer }
TextError-Bpe = `{ $folder }` 中的 vocab.json 与 merges.txt 不相配：{ $reason }
    .hint = { -published-tokenizer }
TextError-LineEnd = `{ $file }` 第 { $line } 行含有回车符，行尾应为 LF 或 CRLF
    .hint = 请转换行尾，例如使用 `tr '\r' '\n'`，或使用发布的 merges.txt
TextError-MergePart = `{ $file }` 第 { $line } 行合并 `{ $found }`，但此前没有一行生成 `{ $part }`
    .hint = { -published-merges }
TextError-MergeTwice = `{ $file }` 第 { $line } 行重复了合并规则 `{ $found }`
    .hint = { -published-merges }
TextError-MergeOrder = `{ $file }` 第 { $line } 行生成词元 { $id }，而此前的一行已生成词元 { $before }，ID 应递增
    .hint = { -published-merges }
TextError-NoMerge = `{ $file }` 中没有一行生成词元 { $id }（`{ $found }`）；vocab.json 中有 { $count } 个词元没有合并规则
    .hint = { -published-merges }
TextError-MissingByte = `{ $folder }` 中的 vocab.json 没有字节 { $byte } 的词元，0 至 255 应各有一个
    .hint = { -published-tokenizer }
TextError-AddedTokens = `{ $folder }`：tokenizer_config.json 中的词元 { $decoder_id } 为 `{ $decoder }`，而 added_tokens.json 或 vocab.json 中的词元 { $listed_id } 为 `{ $listed }`
    .hint = 请保留属于该检查点的文件，并移除另一个
TextError-Unsupported = `{ $file }` 中{ $token ->
        [none] {" "}
       *[other] {" "}`{ $token }` 的 {""}
    }`{ $option }` 为 true，应为 false
    .hint = { -published-tokenizer }
TextError-TokenizerJson = 有 `{ $file }`，但缺少所需的 vocab.json 和 merges.txt
    .hint = 请用 transformers 保存慢速分词器（`AutoTokenizer.from_pretrained(FOLDER, use_fast=False).save_pretrained(FOLDER)`），或复制所发布检查点的 vocab.json、merges.txt 和 added_tokens.json
TextError-UnknownId = 位置 { $position } 的词元 ID { $id } 未知，分词器共有 { $tokens } 个词元
    .hint = 这些 ID 可能来自另一个模型的分词器
TextError-Ids = `{ $folder }` 中的词元 ID { $id } { $found }，0 至 { $last } 的每个 ID 应各出现一次
    .hint = { -published-tokenizer }
TextError-Token = `{ $folder }` 中的词元 { $id } 为 `{ $found }`，应由字节级字符组成
    .hint = { -published-tokenizer }
TextError-MissingSpecial = `{ $folder }` 中的分词器缺少特殊词元 `{ $name }`
    .hint = 它列在 added_tokens.json 或 tokenizer_config.json 的 `added_tokens_decoder` 中：请复制发布的文件
TextError-Encode = 无法对 { $bytes } 字节的文本分词：{ $reason }
TextError-NoPluginApi = 无法启用插件 `{ $plugin }`：从未公布过它的 API
    .hint = 已公布 API 的有 web-search、calculator、equation-solver 和 text-to-image
TextError-UnknownPlugin = 未知插件 `{ $found }`，应为以下之一：{ $expected }
TextError-TurnTooLong = 系统提示词加上这条消息共 { $found } 个词元，要为回答留出空间，最多 { $allowed } 个
    .hint = 请缩短消息或系统提示词
TextError-Conversation = 这不是保存的对话
TextError-ConversationVersion = 该对话以格式 { $found } 保存，应为 { $expected }

# moss-sampling
ParameterRange-AtLeastZero = 不小于 0 的数
ParameterRange-ZeroToOne = {" "}0 至 1
ParameterRange-AboveZero = 大于 0 的数
ParameterRange-Finite = 数字
ParameterRange-FiniteOrNegInf = 数字或 -inf
SamplingError-Parameter = `{ $name }` 为 { $found }，应为{ $expected }
SamplingError-UnknownBias = `logit_bias` 指定了词元 ID { $id }，但从 0 起只有 { $tokens } 个词元
    .hint = 该 ID 可能来自另一个模型的分词器
SamplingError-BadLogits = 第 { $step } 步，词元 { $id } 的 logit 为 { $value }，应为有限的数
    .hint = 权重可能已损坏；`--dtype f32` 可排除溢出
SamplingError-NotAllowed = 第 { $step } 步，设备采样的词元 ID 为 { $id }，应小于 { $tokens }
    .hint = 这是 GPU 或本程序的故障，请报告
SamplingError-NothingLeft = 第 { $step } 步，所有词元的 logit 都是 -inf

# moss-model
UnsupportedOption-Int8Activations = 8 位激活值
UnsupportedOption-Int8Cache = 8 位 KV 缓存
UnsupportedOption-GpuCode = 限制 GPU 架构
NetworkRule-AboveZero = 大于 0 的数
NetworkRule-AtMost = 至多 { $value }
NetworkRule-AtMostOnGpu = 至多 { $value }（在 GPU 上）
NetworkRule-EvenOnGpu = 偶数（在 GPU 上）
NetworkRule-EvenAtMostOnGpu = 不超过 { $value } 的偶数（在 GPU 上）
NetworkRule-HeadCount = {" "}{ $shards } 的倍数，且能整除 n_embd = { $hidden_size }
NetworkRule-RotaryDim = 不超过每个头 { $head_dim } 维的偶数
NetworkRule-GeluNew = {" "}gelu_new
NetworkRule-SmallPositive = 小的正数
NetworkRule-BelowVocab = 小于 vocab_size = { $value }
NetworkRule-Synthetic = 可以随机生成的张量
-leave-to-program = 请给出每个设备的层数，例如 `9,9,9,7`，或不给层数
-run-on-cpu = 请用 `--gpu cpu` 在 CPU 上运行此模型
Shortfall = 设备 { $device }（{ $name }）放 { $layers } 层需要 { SIZE($needed, unit: "GB", digits: 2) }，可用 { SIZE($free, unit: "GB", digits: 2) }，还差 { SIZE($missing, unit: "GB", digits: 2) }
ModelError-Config = config.json 中的 `{ $key }` 为 { $found }，应为{ $expected }
    .hint = { $expected_id ->
        [AtMostOnGpu] { -run-on-cpu }
        [EvenOnGpu] { -run-on-cpu }
        [EvenAtMostOnGpu] { -run-on-cpu }
       *[other] {""}
    }
ModelError-Kernel = 第 { $layer } 层：`{ $op }` 失败
ModelError-WindowFull = 位置 { $end } 超出模型的上下文长度 { $context_length }
    .hint = 请缩短输入，或开始新的对话
ModelError-CacheFull = KV 缓存已满：还需要 { $needed_blocks } 块，剩余 { $free_blocks } 块
ModelError-BlocksMissing = 批次中的序列 { $sequence } 有 { $found } 个缓存块，需要 { $expected } 个
ModelError-PositionsMissing = 批次中的序列 { $sequence } 在缓存中有 { $found } 个位置，应有 { $expected } 个
ModelError-BlocksNotStored = 该模型不支持读写缓存块
ModelError-EmptyChunk = 批次中的序列 { $sequence } 没有要计算的词元
ModelError-UnknownToken = 词元 ID { $id } 超出模型的 { $vocab_size } 个嵌入行
ModelError-Stage = { $device } 上的阶段 { $stage } 失败
ModelError-NoStageInput = 第 { $layer } 层没有输入：各阶段不连续
ModelError-GpuDtype = GPU 内核将激活值舍入到 f16，而要求的是 { $found }
    .hint = 请去掉 `--dtype`，或用 `--dtype f16`；`--gpu cpu` 支持 f32 和 bf16
ModelError-Unsupported = candle 引擎不支持：{ $option }
    .hint = 请去掉该选项，或用 `--engine native`
ModelError-NoCandleCuda = candle 引擎无法使用 { $device }：此构建不含 candle 的 CUDA 内核
    .hint = 请以 `--features candle-cuda` 构建，或用 `--gpu cpu`
ModelError-ActivationsNotExact = 8 位激活值是舍入的，而运算之间的数值要求为 F32
    .hint = 使用 `--activations int8` 时请去掉 `--dtype`，或用 `--dtype f16`、`bf16`
ModelError-ActivationsOffCpu = 8 位激活值只有 CPU 内核，而设备为 { $device }
    .hint = 请去掉 `--activations`，或用 `--gpu cpu`
ModelError-Interrupted = 已中断
ModelError-NonFinite = 第 { $layer } 层在批次中序列 { $sequence } 的位置 { $position } 得出 { $value }
    .hint = 权重可能已损坏：可用 `moss-cli inspect` 检查；`--dtype f32` 可排除溢出
PlacementError-Devices = 列出了 { $found } 个设备，应为 1 到 { $expected } 个
PlacementError-NoLayers = 模型没有任何层，至少应有一层
PlacementError-Bandwidth = `{ $device }` 每秒读取 { $found } 字节，应为大于 0 的数
PlacementError-Layers = 各设备的层数为 { $found }，应为每个设备（共 { $devices } 个）一个不小于 1 的数，总和为 { $layers }
    .hint = { -leave-to-program }
PlacementError-DoesNotFit = 模型放不下：{ $shortfalls }
    .hint = { $changes_count ->
        [0] 换格式或缩短上下文都放不下：请增加 GPU，或使用内存更大的设备
        [1] 这样可以放下：{ $changes }
       *[other] 以下任一项都可以放下：{ $changes }
    }
Change-Division = 由程序自行分配各层
Change-Context = 上下文改为 { $positions } 个词元
Change-Format = 改用 { $value } 权重
Change-MoreGpus = 再加 { $count } 个与设备 { $like } 相同的 GPU
Change-Cpu = 在列表末尾加上 `cpu`（{ $layers } 层，占主机内存 { SIZE($bytes, unit: "GB", digits: 2) }）

# moss-engine
EngineError-EmptyPrompt = 输入为空，至少应有一个词元
EngineError-PromptTooLong = 输入过长：共 { $found } 个词元，而模型的上下文长度（含回答）为 { $context_length } 个词元
    .hint = 请缩短输入，或开始新的对话
EngineError-TooManySequences = 同时生成的序列数为 { $found }，最多为 { $most }
    .hint = 请减小该值；其余请求会排队
EngineError-QueueFull = 已有 { $limit } 个请求在排队
    .hint = 请在其中一些完成后再试
EngineError-UnknownToken = 输入中位置 { $position } 的词元 ID { $id } 超出模型的 { $rows } 个嵌入行
    .hint = 分词器或词元 ID 可能属于另一个模型
EngineError-UnknownStop = 停止词元 ID { $id } 未知，从 0 起只有 { $tokens } 个词元
    .hint = 分词器或词元 ID 可能属于另一个模型
EngineError-NoTokenizer = 停止字符串需要文本，而引擎启动时没有分词器
    .hint = 请用词元 ID 给出停止词元
EngineError-TokenizerMismatch = 分词器有 { $tokens } 个词元，而模型只有 { $rows } 个嵌入行
    .hint = 分词器或词元 ID 可能属于另一个模型
EngineError-Model = 第 { $step } 步失败
EngineError-LogitsMissing = 模型为词元 { $step } 给出 { $found } 个 logit，应为 { $expected } 个
EngineError-StepPanicked = 选取词元 { $step } 时程序崩溃：{ $message }
    .hint = 最可能的原因是该请求的 logits 处理器
EngineError-Panicked = 引擎因内部错误停止：{ $message }
    .hint = 请报告此问题，并附上所用的命令
EngineError-DeviceLost = 设备出现故障，本进程无法再使用它
    .hint = 请重新启动程序；若再次发生，请用 `nvidia-smi -q` 和系统日志查看 GPU 故障
EngineError-Stalled = 模型的一次 { $tokens } 个词元的前向计算已有 { $seconds } 秒没有进展
    .hint = 请重新启动程序；最可能的原因是内存不足或 GPU 无响应
EngineError-Threads = 无法启动 { $threads } 个工作线程：{ $reason }
EngineError-ShutDown = 引擎已关闭
EngineError-NothingToRegenerate = 没有可以重新生成的回答
EngineError-NoPendingCommand = 没有等待结果的命令

# moss-prompt-cache
FileFault-NotAPromptCache = 它不是系统提示词缓存的文件
FileFault-Version = 其格式版本为 { $value }
FileFault-Length = 文件头中的某个长度超出限制
FileFault-Size = 其长度与文件头不符
FileFault-HeaderChecksum = 文件头与校验和不符
FileFault-NotText = 其名称或描述不是文本
FileFault-OtherPrefix = 它属于其他模型、其他代码或其他词元
FileFault-BlockChecksum = 第 { $value } 块与校验和不符
PromptCacheError-Damaged = 无法使用 `{ $path }`：{ $reason }
    .hint = `moss-cli cache clear` 可删除系统提示词缓存的文件
PromptCacheError-Read = 无法读取 `{ $path }`
PromptCacheError-Write = 无法写入 `{ $path }`
PromptCacheError-BlockSize = 该块有 { $found } 字节，应为 { $expected } 字节
PromptCacheError-BlockCount = 文件有 { $found } 块，应为 { $expected } 块

# moss-plugins
ExpressionError-TooLong = 表达式超过 { $limit } 字节
ExpressionError-TooDeep = 表达式的运算符和括号嵌套超过 { $limit } 层
ExpressionError-TooLarge = 表达式中有整数超过 510 位
ExpressionError-Overflow = 表达式中有数值超出双精度浮点数的范围
ExpressionError-Syntax = 表达式第 { $position } 个字符处有意外的内容
ExpressionError-NoValue = 表达式没有值
ExpressionError-UnknownName = 表达式中有未知的名称 `{ $name }`
ExpressionError-Arguments = 函数 `{ $name }` 的参数个数不应为 { $found }
ExpressionError-DivisionByZero = 表达式中除数为零
ExpressionError-Domain = 表达式中有函数没有实数值
EquationError-TooLong = 方程超过 { $limit } 字节
EquationError-TooDeep = 方程的运算符和括号嵌套超过 { $limit } 层
EquationError-TooLarge = 方程的变量或项过多，或幂次过高
EquationError-Syntax = 方程第 { $position } 个字符处有意外的内容
EquationError-WordVariable = `{ $name }` 不是变量：变量只能是一个字母
EquationError-NotPolynomial = 既不是线性方程，也不是单个一元多项式方程
EquationError-NoUnknown = 没有未知数
EquationError-DivisionByZero = 方程中除数为零
EquationError-Underdetermined = 独立方程的个数少于变量个数
EquationError-Contradiction = 方程互相矛盾
EquationError-NoSolution = 方程无解
EquationError-NotConverged = 未能求出 15 位有效数字的根
PluginError-NoArgument = 调用的参数为空
PluginError-Arguments = 调用有 { $found } 个参数，应为 1 个
PluginError-TimedOut = { $seconds } 秒内没有结果
PluginError-Cancelled = 调用已取消
PluginError-Panicked = 插件出错
PluginError-Nothing = 插件没有返回内容
PluginError-Http = { $url }：{ $reason }
    .hint = { $reason_id ->
        [NoJson] 请在 SearXNG 的 settings.yml 中把 `json` 加入 `search.formats`
        [Private] 重定向只能指向公网地址；请直接配置服务器的最终地址
       *[other] {""}
    }
PluginError-Address = 地址 `{ $address }` 无效：{ $reason }
    .hint = 应为 `http://localhost:8888` 这样的地址
PluginError-Program = 程序 `{ $program }`：{ $reason }
ProgramFault-Start = 无法运行（{ $value }）
ProgramFault-Status = { $status ->
        [none] 被信号终止
       *[other] 退出码为 { $status }
    }：{ $message }
ProgramFault-TimedOut = 运行时间过长
HttpFault-Private = 地址 { $value } 不是公网地址
HttpFault-Redirect = 重定向到 `{ $value }`
HttpFault-Redirects = 重定向超过 { $limit } 次
HttpFault-Status = 服务器返回状态码 { $value }
HttpFault-NoJson = 服务器返回状态码 403，可能未允许 JSON
HttpFault-TooLarge = 响应超过 { $limit } 字节
HttpFault-TimedOut = 服务器未及时响应
HttpFault-Format = 响应的格式与预期不符：{ $value }
HttpFault-Connection = { $value }
AddressFault-Malformed = 不是 URL
AddressFault-Scheme = 协议为 `{ $value }`，应为 http 或 https
AddressFault-Credentials = 包含用户名或密码

# moss-hub
-mirror = 设置镜像（HF_ENDPOINT=https://hf-mirror.com）或使用 `--source modelscope`
-demo = `--demo` 无需网络，可立即试用本程序自带的小型演示模型
-model-files = config.json、vocab.json、merges.txt、added_tokens.json 和权重文件
-by-hand = 手动将 { -model-files }放入 ./fnlp/名称，程序会在那里查找
-other-ways = 也可{ -mirror }；HTTPS_PROXY 可设置代理；或{ -by-hand }
-login = 用浏览器打开任一网页完成登录
-log-in-first = 当前网络可能要求先登录：请{ -login }，然后重新运行；{ -other-ways }
-run-again = 请重新运行，会从中断处继续；{ -other-ways }
-run-again-or-login = 请重新运行，会从中断处继续；若当前网络要求先登录，请{ -login }；{ -other-ways }
Place = { $path }（{ $why }）
Absence-NotFound = 不存在
Absence-NoSnapshot = 没有快照
Absence-NoCompleteSnapshot = 没有完整的快照
EndpointFault-Url = { $value }
EndpointFault-Scheme = 协议为 `{ $value }`，应为 http 或 https
ListingFault-Parse = { $value }
ListingFault-Revision = 版本为 `{ $value }`，应为 40 位十六进制数
ListingFault-NoFiles = 没有文件列表，消息为 `{ $value }`
MissingFile-Named = {" "}{ $value }
MissingFile-Weights = {" "}model*.safetensors 或 pytorch_model*.bin
MissingFile-IndexedShard = 其索引所列的权重文件
Fetched-Listing = 文件列表
Fetched-File = {" "}{ $value }
Fault-Status = HTTP 状态码 { $status }
    .hint = { $status ->
        [200] { -log-in-first }
        [201] { -log-in-first }
        [202] { -log-in-first }
        [203] { -log-in-first }
        [204] { -log-in-first }
        [205] { -log-in-first }
        [206] { -log-in-first }
        [401] { -refused }
        [403] { -refused }
        [404] 请核对名称；{ -other-ways }
        [429] 模型库限制了请求频率：请稍候再运行；{ -other-ways }
        [511] { -log-in-first }
       *[other] { -run-again-or-login }
    }
-refused = 模型库拒绝访问：请核对名称，需要时设置 HF_TOKEN；若当前网络要求先登录，请{ -login }；{ -other-ways }
Fault-Connection = 连接失败：{ $reason }
    .hint = { -run-again-or-login }
Fault-CutOff = 在结束前 { $bytes } 字节处断开
    .hint = { -run-again-or-login }
Fault-Unreachable = 无法连接 { $host }{ $proxied ->
        [true] （经由代理）
       *[other] {""}
    }：{ $reason }
    .hint = 请检查本机的网络连接；HTTPS_PROXY 可设置代理；也可{ -mirror }；或{ -by-hand }；{ -demo }
UnreachableReason-Name = 无法解析该域名
UnreachableReason-Refused = 连接被拒绝
UnreachableReason-Network = 网络不可达
UnreachableReason-NoAnswer = 没有应答
UnreachableReason-Proxy = { $value }
Fault-Tls = 无法与 { $host } 建立安全连接：{ $reason }
    .hint = { -log-in-first }
Fault-Stalled = 停滞：{ FIXED($seconds, digits: 1) } 秒内只收到 { $bytes } 字节
    .hint = { -run-again }
Fault-Html = 收到的是 HTML 网页，而不是文件
    .hint = { -log-in-first }
Fault-Length = 服务器上的文件有 { $found } 字节，应为 { $expected }
    .hint = { -log-in-first }
Fault-Range = 请求字节 { $expected }，收到的是 `{ $found }`
    .hint = { -run-again }
Fault-NoRanges = 服务器忽略 Range 请求头
    .hint = { -log-in-first }
Fault-Changed = 服务器上文件的哈希为 { $found }，应为 { $expected }
    .hint = { -run-again }
Fault-RedirectTo = 被重定向到 `{ $value }`
    .hint = { -log-in-first }
Fault-TooManyRedirects = 重定向超过 { $limit } 次
    .hint = { -log-in-first }
Damage-Missing = 缺失
Damage-NotAFile = 不是普通文件
Damage-Length = { $found } 字节，应为 { $expected }
Damage-Hash = 哈希为 { $found }，应为 { $expected }
Damage-Unreadable = 无法读取：{ $source }
HubError-NotFound = 找不到模型 `{ $name }`，已查找：{ $looked }
    .hint = { $similar ->
       *[other] 是否想输入 `{ $similar }`？
        [none] { $id ->
           *[other] 可用 `moss-cli download { $id }` 下载，或手动将 config.json、vocab.json、merges.txt、added_tokens.json 和 pytorch_model*.bin 放入 ./{ $id }；`--demo` 可立即试用本程序自带的小型演示模型
            [none] 请检查路径；`--demo` 可立即试用本程序自带的小型演示模型
        }
    }
HubError-Write = 无法将演示模型写入 `{ $path }`
    .hint = 请将 XDG_CACHE_HOME 设为可写的文件夹
HubError-BadId = `{ $id }` 不是模型名称，应为“组织/名称”或已发布模型的短名称
    .hint = 例如 `fnlp/moss-moon-003-sft-int4`，或短名称 `moss-moon-003-sft-int4`
HubError-Offline = 未下载 `{ $id }`，且处于离线模式
    .hint = 请去掉 `--offline`（HF_HUB_OFFLINE），或手动将 { -model-files }放入 ./{ $id }，程序会在那里查找；{ -demo }
HubError-BadEndpoint = 模型库地址 `{ $endpoint }` 无效：{ $reason }
    .hint = 例如 HF_ENDPOINT=https://hf-mirror.com；使用 `--source modelscope` 时为 MODELSCOPE_ENDPOINT=https://www.modelscope.cn
HubError-BadProxy = 代理地址无效：{ $reason }
    .hint = 例如 HTTPS_PROXY=http://127.0.0.1:7890 或 ALL_PROXY=socks5://127.0.0.1:1080
HubError-Listing = { $url } 给出的 `{ $id }` 的文件列表无效：{ $reason }
    .hint = 请核对地址；也可能是网络的登录页或代理代替模型库作了应答；请{ -mirror }；或{ -by-hand }
HubError-Incomplete = { $endpoint } 上的 `{ $id }` 缺少{ $missing }
    .hint = 请{ -mirror }；或手动将 { -model-files }放入 ./{ $id }，程序会在那里查找
HubError-Transfer = 无法从 { $url } 下载{ $file }（已尝试 { $attempts } 次）
HubError-Hash = 来自 { $url } 的 { $file } 的哈希为 { $found }，应为 { $expected }
    .hint = 收到的内容已丢弃；请重新运行，若仍不行，请{ -login }，或{ -mirror }，或{ -by-hand }
HubError-Space = `{ $path }` 剩余 { $free } 字节，下载需要 { $needed } 字节
    .hint = { $copies ->
        [0] 请腾出空间，或将 HF_HUB_CACHE 设为更大磁盘上的文件夹
       *[other] 该文件系统不支持符号链接和硬链接，缓存中每个文件需存两份：请将 HF_HUB_CACHE 设为其他文件系统上的文件夹，或腾出空间
    }
HubError-Disk = 无法使用 `{ $path }`
    .hint = 请将 HF_HUB_CACHE 设为有空间的磁盘上可写的文件夹

# moss-quantize
FolderAction-Copy = 复制
FolderAction-Create = 创建
FolderAction-Measure = 测量剩余空间
FolderAction-Read = 读取
FolderAction-Remove = 删除
FolderAction-Rename = 重命名
FolderAction-Replace = 替换
FolderAction-Write = 写入
NotReplaceable-NotCheckpoint = 不是检查点文件夹
NotReplaceable-IsSource = 是要读取的检查点所在的文件夹
TextSet-Calibration = 校准文本
TextSet-Measured = 待测量的文本
QuantizeError-Io = 无法{ $what } `{ $path }`
QuantizeError-Exists = `{ $path }` 已存在，应为新名称或空文件夹
    .hint = 请另取文件夹名、删除已有的，或用 `--force` 替换
QuantizeError-NotReplaced = `{ $path }` { $why }，不会被替换
    .hint = 请另取文件夹名
QuantizeError-ForeignFile = `{ $path }` 不是检查点的一部分，因此不替换其所在文件夹
    .hint = 请将其移到别处，或另取文件夹名
QuantizeError-Busy = 另一进程正在写入 `{ $path }`
    .hint = 请等待其完成，或另取文件夹名
QuantizeError-DiskSpace = `{ $path }` 需要 { SIZE($needed, unit: "GB", digits: 1) } 磁盘空间，只剩 { SIZE($free, unit: "GB", digits: 1) }
    .hint = 请腾出空间，或写到另一块磁盘的文件夹
QuantizeError-Damaged = `{ $file }` 读回的内容为 { $found }，应为 { $expected }（张量的 SHA-256）
    .hint = 磁盘或内存可能有故障：请写到另一块磁盘
QuantizeError-AlreadyQuantized = `{ $folder }` 已量化为 { $bits } 位，应为 fp16 检查点
    .hint = 请量化 fp16 检查点；只换容器格式可用 `moss-cli convert`
QuantizeError-GroupSize = 组大小 { $found } 不适合有 { $in_features } 个输入的 { $bits } 位层，应为 { $multiple } 的倍数
    .hint = 发布的组大小为 128；-1 表示整层一组
QuantizeError-TooWide = `{ $linear }` 的权重含有非数值，或过大而无法用 f16 表示缩放因子
QuantizeError-NotPositive = `{ $linear }` 的输入得不到正定的 Hessian，尽管已加 { $dampening } 的阻尼
    .hint = 请使用更多校准文本，或 `--method rtn`
QuantizeError-Kernel = 无法量化第 { $layer } 层
QuantizeError-OutOfMemory = 第 { $layer } 层所需的显存超出 { $device }：共 { SIZE($total, unit: "GiB", digits: 1) }，开始时可用 { SIZE($free, unit: "GiB", digits: 1) }
    .hint = 请关闭占用 GPU 的其他程序，用 `--gpu` 另选一个，或使用 CPU：`--gpu cpu`
QuantizeError-Decode = 无法将 `{ $file }` 作为文本读取
QuantizeError-Sample = `{ $file }` 第 { $line } 行既不是对话也不是文本
    .hint = 每行应为 {"{"}"turns": [{"{"}"user": "…", "moss": "…"{"}"}]{"}"} 或 {"{"}"text": "…"{"}"}；扩展名不是 .jsonl 的文件视为一篇文本
QuantizeError-NoSamples = { $what }中没有可用的词元
QuantizeError-Windows = 每 { $stride } 个词元取 { $window } 个词元的窗口，窗口应为 2 至 { $context_length }，间隔应为 1 至窗口的一半
QuantizeError-Vocabularies = 两个模型的词表分别有 { $first } 和 { $second } 行，应相同
QuantizeError-Interrupted = 已中断

# moss-server
ServerError-NoTokenizer = 没有可用于对话的分词器，无法提供该模型的服务
    .hint = 请将发布的分词器文件与权重放在一起
ServerError-Tokenizer = 没有可用于对话的分词器，无法提供该模型的服务
ServerError-AlreadyOpen = 服务器已有模型
ServerError-NoKeys = 已没有任何 API 密钥；没有密钥时，服务器会向所有客户端开放
ServerError-Listen = 无法接受连接
KeyFileError = 第 { $line } 行{ $fault }
    .hint = 每行是 `名称 密钥` 或 `密钥`；以 `#` 开头的行是注释
KeyFault-Words = 有 { $found } 个词，应为 `名称 密钥` 或 `密钥`
KeyFault-NameLength = 的名称有 { $found } 个字符，应为 1 到 { $most } 个
KeyFault-NameCharacters = 的名称以 `#` 开头，或含有空白或控制字符
KeyFault-KeyLength = 的密钥有 { $found } 字节，应为 1 到 { $most } 字节
KeyFault-KeyCharacters = 的密钥含有可见 ASCII 以外的字符，HTTP 客户端无法发送
KeyFault-RepeatedName = 的名称与第 { $first } 行相同
KeyFault-RepeatedKey = 的密钥与第 { $first } 行相同
KeyFault-KnownName = 的名称已被另一个密钥使用
KeyFault-KnownKey = 的密钥此前已经给出

# moss-weights: CPU and GPU kernels

KernelError-Argument = { $op }：`{ $arg }` 为 { $found }，应为{ $rule }
KernelError-Shape = { $op }：`{ $arg }` 的形状为 { $found }，应为 { $expected }
KernelError-Dtype = { $op }：`{ $arg }` 的类型为 { $found }，应为 f32、f16 或 bf16
KernelError-NotPacked = { $op }：8 位激活值只能用于 int4、int8 权重，实为 { $found }
    .hint = 请去掉 `--activations`，或改用 int4 或 int8 检查点
KernelError-NotCompiled = { $op }：此构建只含 CPU 内核
    .hint = 使用 GPU 请以 `cargo build --release --features cuda` 构建
KernelError-NoSuchGpu = 没有 GPU { $ordinal }：驱动{ $found ->
        [0] 未报告任何 GPU
        [1] 只报告一个，即 GPU 0
       *[other] 报告 { $found } 个，从 0 起编号
    }
    .hint = `nvidia-smi` 可列出 GPU，`CUDA_VISIBLE_DEVICES` 可能隐藏了一些；`--gpu cpu` 不需要 GPU
KernelError-NoDriver = 未找到 NVIDIA 驱动：动态加载器找不到 libcuda.so.1
    .hint = 请安装 NVIDIA 驱动（之后 `nvidia-smi` 可列出 GPU），或去掉 `--gpu` 在 CPU 上运行
KernelError-LibraryMissing = 此处需要 { $library }，但无法加载：{ $reason }
    .hint = 请用 `pip install { $version ->
        [12] nvidia-cublas-cu12
       *[other] nvidia-cublas
    }` 安装，或安装 CUDA { $version } 工具包；也可用 `LD_LIBRARY_PATH` 指定它所在的目录
KernelError-DriverTooOld = NVIDIA 驱动支持到 CUDA { VERSION($found) }，此构建需要 { VERSION($needed) } 或更新
    .hint = 请安装支持 CUDA { VERSION($needed) } 或更新版本的驱动，或用较旧的工具包构建；`--gpu cpu` 不需要驱动
KernelError-NotOpened = 无法打开 GPU { $gpu }：{ $message }
    .hint = { $code ->
        [2] 显存已被占用：`nvidia-smi` 可查看是哪些程序；请另选一块 GPU，或用 `--gpu cpu`
        [46] GPU 可能被其他程序独占（计算模式“独占”）：`nvidia-smi` 可查看两者；请另选一块 GPU，或用 `--gpu cpu`
       *[other] { -ask-nvidia-smi }
    }
-ask-nvidia-smi = `nvidia-smi` 可查看驱动和 GPU；`--gpu cpu` 两者都不需要
KernelError-OutOfMemory = GPU { $gpu } 显存不足：还需要 { SIZE($needed, unit: "MiB", digits: 0) }，可用 { SIZE($free, unit: "MiB", digits: 0) }
    .hint = 请关闭占用 GPU 的其他程序，改用更小的格式或更短的上下文，或使用 CPU
KernelError-Tensor = 张量运算失败
KernelError-WrongDevice = { $op }：`{ $arg }` 属于 GPU { $found }，应属于 GPU { $expected }
KernelError-WrongStream = { $op }：`{ $arg }` 属于 GPU { $gpu } 的另一个流
KernelError-FewClusters = GPU { $gpu } 只能同时运行 `{ $kernel }` 的 { $found } 个线程块簇，至少需要 { $expected } 个
    .hint = 请使用整块 GPU（不受 MPS 限制），或用 `--gpu-code 75` 选择不用线程块簇的内核
KernelError-Read = 无法读取权重
KernelError-Driver = 无法{ $what }：{ $message }
    .hint = { $code ->
        [100] 是否已安装 NVIDIA 驱动？`nvidia-smi` 应能列出 GPU；`--gpu cpu` 不需要 GPU
        [803] 驱动不完整：更新后需重启机器，容器内须使用本机驱动的库；`--gpu cpu` 不需要驱动
       *[other] { -ask-nvidia-smi }
    }
Rule-Exactly = {" "}{ $value }
Rule-AtLeast = 至少 { $value }
Rule-AtMost = 至多 { $value }
Rule-Below = 小于 { $value }
Rule-Between = {" "}{ $first } 至 { $second }
Rule-OneOf = {" "}{ $first } 或 { $second }
Rule-MultipleOf = {" "}{ $value } 的倍数
Rule-AlignedAtLeast = {" "}{ $multiple } 的倍数，至少 { $least }
Rule-Product = {" "}{ $value }
Rule-Even = 偶数
Rule-DivisorOfHeads = 头数的约数
Rule-HeadsOfStride = {" "}{ $heads } 个，步长 { $stride }
Rule-BelowOnce = 小于 { $value }，且不重复
Rule-OnePerWidth = 每个宽度一个
Rule-Fewer = 更少
Rule-Dense = 非打包的权重
Rule-DenseAtMost = 至多 { $most }，且为 { $inputs } 个输入的非打包权重
Rule-HeldByF16 = 各处均为 f16 可表示的值
Rule-OnDevice = 位于 GPU 上
Rule-Addressable = 足够小的数，使每个元素都有地址
Rule-Memory = 内存可容纳的数量：需要 { SIZE($needed, unit: "GB", digits: 0) }
DriverCall-FreeMemory = 查询可用显存
DriverCall-DriverVersion = 查询驱动版本
DriverCall-Describe = 查询 GPU 的属性
DriverCall-ListGpus = 查找 GPU
DriverCall-OpenGpu = 打开 GPU
DriverCall-LoadKernels = 加载内核
DriverCall-FindKernel = 找到内核
DriverCall-Kernel = 启动内核 `{ $value }`
DriverCall-EncodeTensorMap = 编码张量映射（tensor map）
DriverCall-CopyFrom = 从 GPU 复制数据
DriverCall-CopyTo = 向 GPU 复制数据
DriverCall-CopyWithin = 在 GPU 内复制数据
DriverCall-Transfer = 将数据传给下一阶段
DriverCall-Allocate = 分配显存
DriverCall-AllocatePinned = 分配页锁定内存
DriverCall-SetMemory = 写显存
DriverCall-Capture = 捕获 CUDA Graph
DriverCall-LaunchGraph = 启动 CUDA Graph
DriverCall-Measure = 测量
DriverCall-PrepareCublas = 初始化 cuBLAS
DriverCall-Gemm = 用 cuBLAS 计算矩阵乘法
DriverCall-Synchronize = 等待 GPU 完成

# moss-bench
BenchError-NothingMeasured = 没有测量到任何结果
BenchError-NoAnswer = 模型没有给出结果
BenchError-NoLogits = 模型没有给出 logits
BenchError-NoExpectedValues = 无法读取 `{ $file }`
    .hint = `verify` 需要权重旁的 expected.json 和 expected.safetensors，或 `--expected DIR`
BenchError-Read = 无法读取 `{ $file }`
BenchError-Decode = 无法读取 `{ $file }`
BenchError-Json = 无法读取 `{ $file }`
BenchError-Safetensors = 无法读取 `{ $file }`
BenchError-TensorType = `{ $file }` 中的张量 `{ $name }` 为 { $found }，应为 F32、I32 或 I64
BenchError-MissingTensor = 期望值中没有张量 `{ $name }`
BenchError-MissingPrompt = 期望值引用了输入 { $index }，但没有这个输入
BenchError-Positions = 张量 `{ $name }` 有 { $found } 个位置，应为 { $expected } 个

# moss
BuildError-Declined = 本机没有 `{ $name }`，且未同意下载
BuildError-NotNative = `model()` 返回原生模型，而构建器选择了 candle 引擎
    .hint = 请调用 `find()?.language_model(positions)`
BuildError-NoTokenizer = `{ $folder }` 中没有分词器（vocab.json、merges.txt）
    .hint = 请将发布的分词器文件放入其中
BuildError-NotAPluginModel = `{ $name }` 未经插件训练
    .hint = 请使用插件模型，例如 `moss-moon-003-sft-plugin-int4`
BuildError-Threads = 无法启动内核线程
