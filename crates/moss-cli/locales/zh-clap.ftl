# 命令行帮助与用法错误的中文。英文是代码中的文档注释，或由 clap 给出。
# `.long` 是 `--help` 在 `-h` 所示内容之后的补充。

# 命令
cmd-moss-cli = 在自己的机器上与 MOSS-moon-003 对话
    .long = 不带子命令时直接开始对话。退出状态：0 成功，1 失败，2 用法有误，74 权重文件在使用中被截断，130 被中断。
cmd-chat = 在终端对话（默认的子命令）
cmd-generate = 回答一条消息，然后退出
cmd-download = 将模型（或其缺少的文件）下载到模型库缓存，并输出其文件夹
    .long = 只下载引擎需要的文件，使用多个连接，并按模型库的哈希校验。中断后从断点继续，不作询问；其他工具未下载完的也会补齐。环境变量：HF_ENDPOINT（镜像，如 `https://hf-mirror.com`）、MODELSCOPE_ENDPOINT 或 MODELSCOPE_DOMAIN（使用 `--source modelscope` 时）、HF_HOME 或 HF_HUB_CACHE（存放位置）、HF_TOKEN、HF_HUB_OFFLINE、HTTPS_PROXY、HTTP_PROXY、ALL_PROXY、NO_PROXY。
cmd-inspect = 显示检查点的内容：大小、格式、问题
cmd-serve = 提供兼容 OpenAI 的 API 和网页
    .long = 退出状态：0 按要求停止，1 无法启动，70 引擎故障（模型崩溃、GPU 失效或某次前向计算没有进展；退出前 /health 和 /ready 返回 503），130 被第二个信号立即终止。
cmd-bench = 测量预填充和解码速度，并与内存带宽比较
cmd-cache = 列出或清空系统提示词缓存：各系统提示词已计算的键和值
    .long = 文件夹由 `--prompt-cache` 指定。
cmd-doctor = 检查驱动、GPU、终端和磁盘，并估计速度
    .long = 自检失败时退出状态为 1。
cmd-plan = 显示各层在设备上的分配，以及速度上限
    .long = 不加载任何内容，已发布的模型也不需要文件。`--cards` 可给出本机没有的 GPU；不给时由 `--gpu` 指明本机的 GPU。
cmd-plugins = 列出、测试或说明插件模型的插件
cmd-tokenize = 文本与词元 ID 互转：标准输入到标准输出的 JSON 行
    .long = {"{"}"text": …{"}"} 得到 {"{"}"ids": […]{"}"}；{"{"}"ids": […]{"}"} 得到 {"{"}"text": …, "text_skip_special": …{"}"}；其他行或含未知 ID 的行得到 {"{"}"error": …{"}"}，最后退出状态为 1。--model 所指的文件夹可以只有分词器文件。
cmd-logits = 将给定词元 ID 的 logits 写入 safetensors 文件
cmd-verify = 将文件夹中的 expected.json 和 expected.safetensors 与本引擎的计算结果对照
    .long = 输出最大差异；超出容差时退出状态为 1。使用 --rope-precision f16 时对照 expected_fp16_rope.*。权重旁的 expected.txt 可指明存放这些值的相邻文件夹。贪心解码和采样在 --dtype f32 下对照，贪心解码在 GPU 上也对照。使用 --reference 时，在若干输入及其后数个词元的每个位置，对照原生引擎与 candle 参考实现的 logits。
cmd-convert = 将检查点逐位无损地转换为另一种容器格式
    .long = 内存用量不随文件增大。每个分片写后读回校验；中断后用同一命令继续。全部完成后 DST 才出现。
cmd-quantize = 按已发布的布局量化 fp16 检查点的线性层
    .long = GPTQ 在 `--gpu` 的第一个设备上让校准文本逐层通过网络。输出每层的误差，以及在未用于校准的文本上量化前后的困惑度。
cmd-eval = 测量文本的困惑度，以及与另一检查点的一致程度
    .long = 长文本以重叠的窗口读取，每个词元只计一次。对话只计回复。
cmd-completions = 输出 shell 补全脚本
cmd-man = 输出手册页：整个程序的，或某个子命令的
cmd-help = 显示本帮助，或某个子命令的帮助

# 参数：某个命令的为 `arg-命令-名称`，各命令通用的为 `arg-名称`
arg-help = 显示帮助：`-h` 简短，`--help` 详细
arg-version = 显示版本
arg-model = 检查点：文件夹、模型库 ID，或短名称，如 `moss-moon-003-sft-int8`
    .long = 依次在 ./fnlp/名称、./名称 和模型库缓存中查找。对话以及需要权重的命令，若都找不到已发布的模型，询问后下载。
arg-no-mmap = 将权重文件读入内存，而不是映射
    .long = 需要与文件同样大小的可用内存，启动较慢。映射的文件在程序运行时不能原地改写，应通过重命名替换；若仍被截断，程序以状态 74 退出。
arg-demo = 使用本程序自带的小型演示模型
arg-yes = 不询问，直接下载
arg-offline = 不建立任何网络连接
arg-source = 从哪里下载
arg-endpoint = 模型库的地址，用于镜像或自建的服务器 [默认：HF_ENDPOINT；使用 `--source modelscope` 时为 MODELSCOPE_ENDPOINT]
arg-engine = 运行模型的实现
arg-threads = CPU 内核的线程数 [默认：每核一个]
arg-dtype = 中间结果的数据类型 [默认：CPU 为 f32，GPU 为 f16]；累加始终用 f32
arg-activations = int4、int8 权重的输入：保持精确，或舍入到 8 位（更快，精度较低，仅限 CPU，此时 --dtype 默认为 f16）
arg-kv-cache = 缓存中的键和值：采用 --dtype 的类型，或存为 8 位整数（内存约为 f16 的一半，回复略有不同）
arg-rope-precision = 旋转位置编码的频率：精确值，或与上游量化模型相同的舍入值
arg-speculate = 每步的草稿词元数：`auto`、`off` 或 1 至 7
    .long = 草稿取自对话中相同文本之后的内容，与下一个词元一起验证，只影响速度，不改变结果。`auto` 仅在实测更快时使用。
arg-gpu = GPU 编号，分担各层的多个 GPU 编号，或 `cpu` [默认：0；没有 GPU 或构建不含 CUDA 时为 `cpu`]
    .long = `--gpu 0,1,2,3` 按此顺序将各层分到四块 GPU。其中可以有 `cpu`，同一块 GPU 可以列两次。
arg-layers-per-gpu = `--gpu` 中每个设备的层数 [默认：自动均衡]
arg-no-peer-copies = GPU 之间只经由主机内存传输，不用 peer-to-peer
arg-gpu-code = 只使用不高于此架构的 GPU 代码；75 可在较新的 GPU 上测试 T4 的代码
arg-prompt-cache = 保存已计算的系统提示词的文件夹，或 `off` [默认：用户缓存文件夹中的 moss-rs/prompts]
    .long = 对话将系统提示词的键和值写入文件，下次启动时读取，这样第一个词元只需计算输入的其余部分，回答不变。文件总共最多 4 GB，超出时删除最久未使用的。文件含有输入的一部分，因此该文件夹应只有你可读。
arg-temperature = 采样温度；0 表示始终取概率最高的词元
arg-top-k = 只考虑概率最高的 K 个词元；0 表示全部
arg-top-p = 只从累计概率达到 P 的最高概率词元中采样
arg-min-p = 只考虑概率不低于最高概率 P 倍的词元
arg-repetition-penalty = 大于 1 时减少重复
arg-length-penalty = 从回答的第 512 个词元起，使结束更可能（大于 1）或更不可能（小于 1）
arg-max-new-tokens = 每个回答最多的词元数 [默认：上下文长度 2048 所能容纳的]
arg-max-time = 每个回答最多的秒数，从第一个词元算起
arg-seed = 随机种子：同一构建下，相同种子得到相同文本
arg-deterministic = 使回答只取决于其输入，在 GPU 上也是如此
    .long = 默认情况下，对话的下一轮会复用已生成词元的缓存，而它们在 GPU 上的舍入与输入词元不同。使用该选项后会重新计算这些词元。在 CPU 上没有区别。
arg-system = 系统提示词，替换 MOSS 官方指令
arg-plugins = 为插件模型启用的插件：web-search、calculator、equation-solver、text-to-image
arg-plugins-by-hand = 不执行插件，结果由你在对话中用 `/results` 提供
arg-search-url = web-search 使用的 SearXNG 服务器的地址，例如 `http://localhost:8080`
    .long = 必须启用其 JSON 格式：settings.yml 中的 `search.formats`。模型的查询只发送到该服务器。
arg-search-command = web-search 使用的程序：从标准输入读取查询，每行输出一条结果
    .long = 由 shell 执行。结果所在行可在制表符之后给出网页的地址和标题。
arg-image-url = text-to-image 使用的 OpenAI 兼容图片接口的地址，例如 `http://localhost:8081/v1`
arg-image-key = 图片接口的密钥
arg-image-model = 图片接口的模型 [默认：由服务器决定]
arg-images = 保存图片的文件夹；已有的文件会保留
arg-plugin-command = 由程序实现的插件：名称=命令；有多个插件时重复使用该选项
    .long = 若系统提示词中有说明，模型以 `名称("…")` 调用。命令由 shell 执行，参数在其标准输入中，输出的各行是结果。
arg-plugin-time = 一个回答中插件调用最多的秒数
arg-plugins-task = 任务
arg-plugins-text = 要测试的调用，例如 `Calculate("1+2"), Solve("2x=5")` [默认：可用的插件各一次]
value-task-list = 列出插件，以及是否可用
value-task-test = 执行调用，并显示模型会读到的结果
value-task-explain = 说明插件的作用，以及数据发送到哪里
arg-quiet = 只输出回答和错误
arg-verbose = 输出更多过程信息；给两次则输出全部
arg-lang = 消息的语言 [默认：按区域设置]
arg-generate-message = 消息；省略时从标准输入读取
arg-generate-ids = 从这些词元 ID 原样续写，不加对话格式
    .long = 输出文本；文件夹中没有分词器时输出 ID。
arg-logits-ids = 词元 ID
arg-generate-raw = 从消息原样续写，不加对话格式
arg-generate-stop = 在此文本之前结束回答；可给多次
arg-generate-ignore-eos = 遇到结束词元时不停止
arg-json = 输出一个 JSON 对象
arg-generate-json = 输出一个 JSON 对象：ids、text、stop、usage、timings
arg-cache-action = 操作
arg-download-id = “组织/名称”，或已发布模型的短名称 [默认：--model 所指]
arg-download-verify = 重新计算缓存中文件的哈希，并列出已损坏的文件
    .long = 与模型库的文件列表核对；使用 `--offline` 或无法连接模型库时，与缓存中记录的哈希核对。若有文件损坏或缺失，退出状态为 1；加 `--yes` 则重新下载这些文件。
arg-inspect-path = 检查点：文件夹、模型库 ID 或短名称 [默认：--model 或 --demo 所指]
arg-inspect-tensors = 列出每个张量
arg-inspect-check = 读取全部内容：PyTorch 文件的校验和，以及浮点数中的 inf 和 NaN
arg-serve-port = 监听端口；0 表示任一空闲端口
arg-serve-host = 监听地址；0.0.0.0 表示所有网络，需要密钥
arg-serve-api-key = 客户端须发送的 API 密钥；多个用逗号分隔，或重复使用该选项
arg-serve-api-key-file = API 密钥文件，每行一个名称和一个密钥；有多个文件时重复使用该选项
    .long = 名称可以省略，用于日志、/metrics 和 /stats。空行和以 `#` 开头的行会被忽略。收到 SIGHUP 时重新读取这些文件；若其中有文件无效，则继续使用原有密钥。
arg-serve-no-key = 不设密钥也向其他机器开放
arg-serve-allow-host = 客户端可用来访问本服务的主机名 [默认：本机名称；向其他机器开放时为任意]
arg-serve-cors-origin = 可从浏览器调用 API 的其他网页来源，或 `*`
arg-serve-parallel = 同时生成的回答数上限，1 到 256 [默认：256，或 GPU 显存所允许的数目；CPU 上为 32]
arg-serve-max-per-key = 每个 API 密钥同时生成的回答数上限 [默认：与 --parallel 相同]
arg-serve-queue = 排队的请求数上限；超出的请求返回 429
arg-serve-cache-tokens = KV 缓存的词元数，由所有回答共用 [默认：用尽 GPU 的剩余显存；CPU 上为上下文长度的四倍]
arg-serve-queue-time = 请求最多排队的秒数 [默认：120；若按实测速度前面的请求需要更久，则更长]
arg-serve-prompt-time = 预填充最多的秒数 [默认：按实测速度预计时间的四倍，至少 300；只用 GPU 时至少 60]
arg-serve-drain-time = 收到 SIGTERM 后留给进行中回答的秒数
arg-serve-log-format = 标准错误上日志的格式
arg-serve-log-prompts = 将输入写入日志
arg-serve-strict = 拒绝含有未知字段的请求，而不是忽略这些字段
arg-bench-random-weights = 使用与 MOSS-moon-003 大小相同的随机权重，不需要文件
arg-bench-format = 随机权重的格式
arg-plan-format = 权重格式 [默认：检查点的格式，或按模型名称]
arg-bench-layers = 随机权重模型的层数
arg-bench-prompt = 输入的词元数；多个则依次测量 [默认：512；GPU 上为 64,512,1900；与 --batch 同用时为 64，GPU 上为 512]
arg-bench-new = 每个输入之后生成的词元数，或 --batch 每种大小测量的步数 [默认：16；GPU 上为 128；与 --batch 同用时为 4，GPU 上为 32]
arg-bench-kernels = 用随机权重单独测量一块 GPU 的每个内核；输入长度取自 --prompt，第一个也用作上下文 [默认：512]
arg-bench-rows = 与 --kernels 同用时，另测 N 个序列的解码步
arg-bench-batch = 改为测量第一个输入之后 N 个序列的解码步，并列出比下一更大的序列数更慢的大小
arg-bench-arrival = 与 --clients 同用：再测量 TOKENS 个词元的输入到达时 N 个流的最大间隔
arg-bench-clients = 随后测量 N 个并发请求，各用第一个输入 [输入长度默认：128]
arg-bench-drafts = 改为测量推测解码：第一个输入之后重复该输入的回复和随机回复，分别不用草稿和按 --speculate 使用草稿
arg-bench-reuse = 改为测量开头已在缓存中的输入（长度取第一个）的首词元延迟：第二轮对话和共享前缀 [输入长度默认：343；GPU 上为 1932]
arg-bench-timeline = 画出各阶段的忙碌时段：最后一个输入及其后一个词元
arg-doctor-selftest = 在每块 GPU 上将每个内核与 CPU 对照，并在每个设备上用演示模型生成
arg-doctor-only = 自检时只对照名称含此文本的内核，不运行演示模型
arg-plan-cards = 按层的顺序给出 GPU 名称：t4、a10、l4、l40s、a100-40、a100-80、h100、h200、rtx2080ti、rtx3090、rtx4090、cpu
arg-plan-context = KV 缓存的词元数 [默认：模型的上下文长度]
arg-plan-cpu-bandwidth = CPU 的读带宽，GB/s [默认：现场测量]
arg-plan-cpu-memory = 可用的主机内存 GB 数 [默认：当前可用量]
arg-logits-last = 只写最后一个位置
arg-logits-out = 要写的文件：f32 张量 `logits` [位置, 词表]
arg-force = 替换 DST 中已有的检查点
arg-logits-force = 替换已有的文件
arg-verify-dir = 检查点的文件夹 [使用 --reference 时默认为 --model 或 --demo 的模型]
arg-verify-reference = 与会复制权重的 candle 参考实现对照
arg-verify-expected = 期望值的文件夹 [默认：DIR]
arg-verify-tolerance = logit 允许的差异 [默认：1e-4；量化权重 1e-3；16 位类型为参照自身差异的两倍，8 位激活值为 32 倍；使用 --reference 时为 1e-3，f16 为 0.2，bf16 为 0.5，8 位激活值为 1]
arg-src = 检查点：文件夹、模型库 ID 或短名称
arg-target = 要写入的文件夹
arg-convert-to = 要写的容器格式
arg-convert-max-shard-size = 最大的文件，单位 GB（10^9 字节）；更大的张量独占一个文件
arg-quantize-bits = 每个权重的位数
arg-quantize-group-size = 共用一个缩放因子的输入数；-1 表示整层共用
arg-quantize-method = 舍入方法
arg-quantize-act-order = 先舍入激活值最大的输入的权重：更接近 fp16，但各组不再连续
arg-quantize-dampening = 加到 Hessian 对角线上的量，占其对角线均值的比例
arg-quantize-calibration = 校准数据：文本，或每行为 {"{"}"turns": [{"{"}"user", "moss"{"}"}]{"}"} 或 {"{"}"text"{"}"} 的 .jsonl [默认：本程序自带的简短对话]
arg-quantize-samples = 校准窗口数的上限
arg-quantize-container = 要写的容器格式
arg-quantize-no-perplexity = 不测量困惑度
arg-eval-perplexity = 文本，或每行为 {"{"}"turns": [{"{"}"user", "moss"{"}"}]{"}"} 或 {"{"}"text"{"}"} 的 .jsonl
arg-eval-against = 参照检查点：KL(参照 || 模型)，以及概率最高的词元一致的比例；参照检查点的激活值始终精确
arg-eval-window = 窗口的词元数 [默认：模型的上下文长度]
arg-eval-stride = 相邻窗口间隔的词元数 [默认：半个窗口]
arg-completions-shell = shell 的名称
arg-man-subcommand = 子命令 [默认：整个程序]

# 可选的值
value-action-list = 显示其中的文件，最近使用的在前
value-action-clear = 删除其中的文件
value-engine-native = 本程序的内核
value-engine-candle = candle 参考实现：较慢，会复制权重，用于对照
value-source-huggingface = huggingface.co，或 HF_ENDPOINT 所指的镜像
value-source-modelscope = modelscope.cn，或 MODELSCOPE_ENDPOINT 所指的地址
value-to-bin = PyTorch 文件，与发布的相同
value-to-safetensors = safetensors 文件
value-method-gptq = 用校准文本补偿舍入误差
value-method-rtn = 就近舍入：快，精度较低
value-container-bin = PyTorch 文件，与发布的相同
value-container-safetensors = safetensors 文件

# 标题与标签
help-usage = 用法：{ $usage }
help-options = [选项]
help-command = [命令]
help-heading = { $heading }：
help-see = 详见 `--help`
heading-Commands = 命令
heading-Arguments = 参数
heading-Options = 选项
heading-Model = 模型
heading-Answers = 回答
heading-Plugins = 插件
heading-Output = 输出
label-default = [默认：{ $values }]
label-env = [环境变量：{ $name }{ $value ->
        [none] {""}
       *[other] ={ $value }
    }]
label-values = [可选值：{ $values }]
label-long-values = 可选值：{ $values }
label-value = {"\u000A"}- { $name }：{ $help }

# 用法错误：`clap-` 加 clap 的 ErrorKind
clap-UnknownArgument = 未知参数 { $arg }
clap-InvalidSubcommand = 未知子命令 { $subcommand }
clap-InvalidValue = { $value ->
        [none] { $arg } 需要一个值
       *[other] { $arg } 的值 { $value } 无效
    }{ $values ->
        [none] {""}
       *[other] ，可选值为 { $values }
    }
clap-ValueValidation = { $arg } 的值 { $value } 无效：{ $reason }
clap-MissingRequiredArgument = 缺少必需的参数：{ $arg }
clap-ArgumentConflict = { $prior ->
        [none] { $arg } 不能与其他给出的参数同时使用
       *[other] { $arg } 不能与 { $prior } 同时使用
    }
clap-given-twice = { $arg } 只能给一次
clap-NoEquals = 给 { $arg } 赋值时需要等号
clap-TooManyValues = { $arg } 不需要更多的值：{ $value }
clap-TooFewValues = { $arg } 至少需要 { $min } 个值，只给了 { $found } 个
clap-WrongNumberOfValues = { $arg } 需要 { $expected } 个值，给了 { $found } 个
clap-InvalidUtf8 = 命令行参数不是有效的 UTF-8
tip-similar = 是否想输入 { $similar }？
tip-subcommand = 有子命令 `{ $name }`：去掉前面的 `--` 即可
tip-other = 另有 `{ $name }`
tip-value = 要将 `{ $arg }` 作为值，请写 `-- { $arg }`
int-empty = 应为整数
int-too-large = 数字过大
int-too-small = 数字过小
int-invalid = 应为整数，且不能超出允许的范围
float-invalid = 应为数字
address-invalid = 不是有效的 IP 地址

# 系统错误：`io-` 加 ErrorKind；`json-` 加 serde_json 的 Category
io-error = { $what }（系统错误 { $code }）
io-NotFound = 没有这个文件或文件夹
io-PermissionDenied = 权限不足
io-AlreadyExists = 已存在
io-StorageFull = 磁盘空间不足
io-QuotaExceeded = 超出磁盘配额
io-ReadOnlyFilesystem = 文件系统是只读的
io-IsADirectory = 这是文件夹，不是文件
io-NotADirectory = 这不是文件夹
io-DirectoryNotEmpty = 文件夹不为空
io-InvalidFilename = 文件名无效或过长
io-OutOfMemory = 内存不足
io-AddrInUse = 地址已被占用
io-AddrNotAvailable = 本机没有这个地址
io-ConnectionRefused = 连接被拒绝
io-ConnectionReset = 连接被重置
io-NetworkUnreachable = 网络不可达
io-HostUnreachable = 主机不可达
io-TimedOut = 超时
json-error = { $what }：{ $error }
json-Io = 无法读取
json-Syntax = 不是有效的 JSON
json-Data = JSON 内容不符合要求
json-Eof = JSON 不完整
