# 命令行的消息，编号与 en.ftl 相同。每条消息一行；`.hint` 是给用户的建议。

# Argument values
ArgError-Seconds = 应为秒数
ArgError-SecondsAboveZero = 应为不小于 0 的秒数
ArgError-AboveZero = 应为大于 0 的数
ArgError-AtLeast = 应为不小于 { $min } 的整数
ArgError-Range = 应为 { $min } 至 { $max } 的整数
ArgError-Bits = 应为 4 或 8
ArgError-Speculation = 应为 `auto`、`off` 或 1 至 { $max } 的整数
ArgError-Size = 应为 1 至 { $max } 的整数，或 `1-{ $max }` 这样的范围
ArgError-ReversedRange = 范围从 { $first } 到 { $last }，应先写较小的数

# Labels
label-error = 错误：
label-hint = 建议：
label-warning = 警告：
plain = { $value }
indented = {"  "}{ $text }
Unwritable = 无法写入标准输出
Unanswered = 无法回答

# Files and input
cannot-read = 无法读取 `{ $file }`
cannot-read-stdin = 无法读取标准输入
stdin-not-text = 无法将标准输入作为文本读取
cannot-write = 无法写入 `{ $file }`
file-exists = `{ $file }` 已存在
    .hint = 请另取文件名，或用 `--force` 替换
cannot-watch-interrupts = 无法监听 Ctrl-C

# Opening a model
cannot-open-checkpoint = 无法打开检查点
cannot-load-model = 无法加载模型
cannot-start-threads = 无法启动内核线程
model-folder = 模型：{ $folder }
no-tokenizer = `{ $folder }` 中没有分词器（vocab.json、merges.txt）
    .hint = 请将发布的分词器文件放入其中，或改用 `generate --ids`
not-a-plugin-model = `--plugins`：`{ $name }` 未经插件训练
    .hint = 请使用插件模型，例如 `--model moss-moon-003-sft-plugin-int4`
engine-native-only = `{ $command }` 只使用原生引擎，不能与 `--engine candle` 同用
    .hint = 请去掉 `--engine`；`moss-cli verify --reference DIR` 可对照两个引擎
gpu-list = `--gpu { $list }`：应为编号或 `cpu`，以逗号分隔
    .hint = `--gpu 0` 为第一块 GPU，`--gpu 0,1,2,3` 将各层分到四块 GPU
gpu-not-compiled = `--gpu { $list }`：此构建只含 CPU 内核
    .hint = 使用 GPU 请以 `cargo build --release --features cuda` 构建；此构建可用 `--gpu cpu`
no-mmap-memory = `--no-mmap`：权重文件共 { SIZE($needed, unit: "GB", digits: 1) }，可用内存 { SIZE($free, unit: "GB", digits: 1) }
    .hint = 请去掉 `--no-mmap`
candle-memory = `--engine candle` 会复制权重：文件共 { SIZE($needed, unit: "GB", digits: 1) }，可用内存 { SIZE($free, unit: "GB", digits: 1) }
    .hint = 请用量化的检查点，或用映射文件的 `--engine native`
loading-stage = 阶段 { $stage }，{ $device }，第 { $first } 至 { $last } 层：权重 { $weights } + 嵌入 { $embedding } + 缓存 { $cache } + 工作区 { $workspace } = { $needed }；可用 { $free }
note-left-out = 提示：不使用 { $device }：{ $why }
note-not-needed = GPU 已能放下所有层
note-too-small = 显存放不下一层
note-no-layers-left = 层数少于设备数
note-no-faster = 加入它也不能加快最慢的阶段
note-embedding-on-host = 提示：为放下第一阶段，嵌入留在主机内存
note-on-cpu = 提示：CPU 上的 { $layers } 层占每词元 { FIXED($of_ms, digits: 0) } 毫秒中的 { FIXED($ms, digits: 0) } 毫秒（预测）

# The prompt cache
prompt-cache-off = 系统提示词缓存已关闭
    .hint = 请去掉 `--prompt-cache off`，或指定一个文件夹
prompt-cache-used = 系统提示词的 { $tokens } 个词元已从缓存读取
prompt-cache = { $folder }：{ $count } 个文件，共 { $total }
prompt-cache-file = { $model }：{ $tokens } 个词元，{ $bytes }，{ $unused }使用
prompt-cache-cleared = 已删除 { $count } 个文件，共 { $total }
seconds-ago = { $count } 秒前
minutes-ago = { $count } 分钟前
hours-ago = { $count } 小时前
days-ago = { $count } 天前

# Download
download-ask = 现在下载吗？[y/N]
download-cannot-ask = 本机没有 `{ $model }`，且没有终端可以询问是否下载
    .hint = 加 `--yes` 则不询问直接下载，也可运行 `moss-cli download { $model }`，或手动把文件放入 ./{ $model }；`--demo` 可立即试用小型演示模型
download-declined = 本机没有 `{ $model }`，且未同意下载
    .hint = 可随时用 `moss-cli download { $model }` 下载；`--demo` 可立即试用小型演示模型
download-waiting = 另一进程正在下载 { $file }，等待其完成
download-status = { $percent }%，{ $done } / { $total }，{ $rate }/秒，剩余 { $left }
download-stalled = { $percent }%，{ $done } / { $total }，暂无数据
download-retrying = { $file }：{ $fault }；{ FIXED($seconds, digits: 0) } 秒后重试
download-verifying = { $file }：正在校验
verified-by-listing = { $files } 个文件，{ $bytes }：均与模型库的文件列表一致
verified-by-cache = { $files } 个文件，{ $bytes }：均与缓存中记录的哈希一致
unchecked = 未校验（需要模型库给出的哈希）：{ $path }
damaged = 缓存中 `{ $id }` 的文件已损坏或缺失：{ $list }
    .hint = `moss-cli download { $id } --verify --yes` 可重新下载这些文件
repairing = 重新下载：{ $list }
partial-download = 缓存中的 `{ $model }` 尚未下载完整：缺少 { $missing }

# Chat
interrupt-again = （再按一次 Ctrl-C 退出，也可按 Ctrl-D）
still-stopping = （完成当前一次前向计算后停止；按 Ctrl-\ 强制结束程序）
discarded = （消息已丢弃）
multi-ends = （单独一个点的行结束消息，Ctrl-C 丢弃）
took-back = （已撤回：{ $user }）
nothing-to-take-back = （没有可撤回的内容）
conversation-kept = （对话已保留：`/regen` 重新回答，`/undo` 撤回上一轮）
published-system = （MOSS 官方指令）
saved = （{ $turns } 轮对话已存入 `{ $file }`）
loaded = （{ $turns } 轮对话）
window = 上下文：{ $window } 个词元中已用 { $used } 个，{ $turns } 轮对话
turns-dropped = （上下文窗口已满：模型不再看到最早的 { $count } 轮对话）
thoughts = [思考]
commands = [命令]
results = [结果]
calls-stopped = （调用已停止）
call-failed = { $call } 没有结果：{ $reason }
image-saved = （图片已保存到 { $file }）
image-save-failed = 图片未保存
image-not-saved = （图片未保存：请使用 `--images 文件夹`）
too-many-images = { $folder } 中的图片过多
plugin-command-form = `--plugin-command { $found }` 应为 名称=命令，名称由字母和数字组成
search-not-configured = 插件 `web-search` 已启用但未配置
    .hint = 请使用 `--search-url URL` 或 `--search-command 命令`，或用 `--plugins-by-hand` 自行提供结果
image-not-configured = 插件 `text-to-image` 已启用但未配置
    .hint = 请使用 `--image-url URL`，或用 `--plugins-by-hand` 自行提供结果
give-results = （请用 `/results 文本` 提供结果）
line-not-utf8 = 第 { $line } 行在偏移 { $offset } 处不是 UTF-8（字节 { HEX($byte, digits: 2) }）；该行已忽略
    .hint = { -set-utf8 }
typed-not-utf8 = 输入的内容不是 UTF-8；该行已忽略
    .hint = { -set-utf8 }
edited-not-utf8 = 输入的内容不是 UTF-8；该行以及在其后预先输入的内容已忽略
    .hint = { -set-utf8 }
-set-utf8 = 请将终端和区域设置设为 UTF-8（`export LANG=zh_CN.UTF-8`），或转换输入：`iconv -f GBK -t UTF-8`
unknown-command = 未知命令 `{ $name }`
    .hint = `/help` 列出所有命令；要发送以 / 开头的消息，请在前面加一个空格
command-needs-file = `{ $name }` 需要文件名
    .hint = { -see-help }
command-needs-text = `{ $name }` 需要文本
    .hint = { -see-help }
command-needs-nothing = `{ $name }` 不带参数
    .hint = { -see-help }
-see-help = `/help` 列出所有命令
unknown-parameter = 未知参数 `{ $key }`
    .hint = { -see-params }
parameter-value = `{ $value }` 不能作为 `{ $key }` 的值
    .hint = { -see-params }
-see-params = `/params` 列出所有参数；`none` 取消限制
processing-prompt = 正在处理输入
last-answer-drafts = { $answer }；草稿词元 { $drafted } 个，接受 { $accepted } 个
last-answer = 上次回答：输入 { $prompt } 个词元（缓存 { $reused } 个，计算 { $run } 个，用时 { FIXED($seconds, digits: 2) } 秒），生成 { $generated } 个，每秒 { FIXED($rate, digits: 1) } 个
cannot-edit-lines = 无法在此终端上编辑输入
cannot-read-terminal = 无法从终端读取
ended-cancelled = （已停止）
ended-time-limit = （已到时间上限）
ended-prompt-time = （预填充已到时间上限）
ended-window-full = （上下文窗口已满）
ended-max-tokens = （已到 --max-new-tokens 上限）
no-answer-first-token = （没有回答：在第一个词元之前已到时间上限；可用 `--max-time` 或对话中的 `/params max_time` 提高）
no-answer-time-limit = （没有回答：在产生文本之前已到时间上限；可用 `--max-time` 或对话中的 `/params max_time` 提高）
no-answer-prompt-time = （没有回答：预填充已到时间上限）
no-answer-window-full = （没有回答：输入占满了上下文窗口；请缩短输入，或用 `clear` 清空之前的对话）
no-answer-max-tokens = （没有回答：生成 { $generated } 个词元后已到 --max-new-tokens 上限，尚未产生文本；可用 `--max-new-tokens` 或对话中的 `/params max_new_tokens` 提高）
no-answer-by-model = （没有回答：模型立即结束，没有产生文本；请重新提问，或在对话中使用 `/regen`）
no-answer-stop-text = （没有回答：最先出现的是停止文本“{ $text }”）

# generate, tokenize, logits, man
cannot-generate = 无法生成
ended-without-answer = 引擎没有给出回答就结束了
no-message = 没有消息
    .hint = 请给出消息：`moss-cli generate "你好"`，或由管道输入
tokenize-line = 应为 {"{"}"text": …{"}"} 或 {"{"}"ids": […]{"}"}
no-logits = 模型没有给出 logits
unknown-subcommand = 未知子命令 `{ $name }`
    .hint = `moss-cli --help` 可列出子命令

# serve
serve-threads = 无法启动服务器的线程
cannot-listen-on = 无法监听 { $address }
    .hint = 端口可能被其他程序占用：请用 `--port` 另选
cannot-listen = 无法监听
cannot-watch-signals = 无法监听信号
server-failed = 服务器出错
engine-failed = 引擎出现故障
key-needed = `--host { $host }` 向其他机器开放，却没有 API 密钥
    .hint = 请用 `--api-key-file` 或 MOSS_API_KEY 给出密钥，或指明 `--no-key`
no-key-in-file = `{ $file }` 中没有 API 密钥
    .hint = 每行写一个密钥，前面可加名称：`NAME KEY`
key-of-flag = `--api-key` 或 MOSS_API_KEY 的第 { $number } 个 API 密钥{ $fault }
key-file-exposed = 本机的所有用户都能读取 `{ $file }`；请用 `chmod 600` 限制权限
cors-origin = `--cors-origin { $text }` 不是浏览器发送的来源（Origin）形式
    .hint = { $sent ->
        [none] 例如 `https://chat.example` 或 `http://localhost:3000`；如有多个，请重复使用该选项
       *[other] 请写成 `{ $sent }`
    }
allow-host = `--allow-host { $text }` 不是主机名
    .hint = 只写主机名或地址，不带协议、端口和通配符；如有多个，请重复使用该选项
listening = 正在监听 { $url } （网页；API 在 /v1 下，文档在 /docs）
listening-on-interface = 正在监听 { $url } （{ $interface }）
key-required = API 密钥：需要（`Authorization: Bearer 密钥`；网页会询问）
no-key = API 密钥：不需要
no-key-beyond = API 密钥：不需要；任何能连接到以上地址的人都可以使用本服务
tunnel = 从其他机器访问：运行 `{ $command }`，然后在那台机器上打开 { $url }
ready = 已就绪：{ $name }
draining = 正在停止：先完成进行中的回答（再次发出信号则立即结束）

# convert, quantize, eval
checking = 正在校验
converting = 正在转换
kept-shard = 保留上次已完成的 `{ $file }`
wrote = 已写入 `{ $folder }`
quantizing = 正在量化
quantizing-with = 正在用 { $tokens } 个校准词元量化
built-in-calibration = 使用本程序自带的 { $texts } 段简短对话校准；可用 `--calibration 文件` 提供适合你的模型的文本
rounding-to-nearest = 就近舍入，不做校准
perplexity-not-measured = 未测量 `{ $folder }` 的困惑度（`moss-cli eval --gpu cpu` 不需要 GPU）：{ $causes }
quantize-columns = 相对平方误差 | 权重 | 输出
not-measured = 未测量
quantize-perplexity = 困惑度：量化前 { $before }，量化后 { $after }（{ $tokens } 个词元）
eval-perplexity = 困惑度
eval-reference = 参照的困惑度
eval-kl = { $kl } nats/词元
eval-top1 = 概率最高词元一致率
eval-value = { FIXED($value, digits: 4) }（{ $tokens } 个词元，窗口 { $window }，间隔 { $stride }）

# inspect
inspect-format = 格式    { $format }
inspect-weights = 权重    { $tensors } 个张量，{ $bytes }，{ $files } 个文件
inspect-tokens = 分词器  { $tokens } 个词元
inspect-no-tokenizer = 分词器  无
inspect-warning = 警告    { $found }
inspect-problem = 问题    { $found }
inspect-network = 网络    { $num_layers } 层，隐藏维度 { $hidden_size }，{ $num_heads } 个头、每头 { $head_dim } 维，旋转 { $rotary_dim } 维，MLP { $inner_size } 维，词表 { $vocab_size }，上下文长度 { $context_length }
inspect-cache = 缓存    每词元 { FIXED($kib, digits: 1) } KiB（f16）
inspect-rows = 分词器有 { $tokens } 个词元，而模型只有 { $rows } 个嵌入行
format-unknown = 未知
format-count = { $format }（{ $count } 个线性层）
format-mixed = 混合：{ $parts }
format-gptq = GPTQ int{ $bits }，每组 { $group }
format-gptq-act-order = { $format }，act-order
format-gptq-v2 = { $format }，gptq_v2 零点

# verify
verify-difference = 最大差异 { $difference }，允许 { $allowed }
verify-best-logit = 各位置最高的 logit
verify-logsumexp = 各位置的 logsumexp
verify-positions-off = { $count } 个位置不符
verify-best-token = 概率最高的词元
verify-top-token = 概率最高的词元
verify-top-token-right = { $total } 个位置中 { $right } 个一致
verify-hidden = 隐藏状态（{ $worst }）
verify-none = 无
verify-greedy = 贪心解码
verify-greedy-right = { $total } 条中 { $right } 条逐词元一致
verify-sampling = 采样候选集
verify-sampling-right = { $total } 个中 { $right } 个词元相同
verify-probabilities = 采样概率

# plan
plan-title = { $name }，{ $format }，{ $layers } 层，上下文 { $positions }
plan-columns = 阶段 | 设备 | 层 | 权重 | 嵌入 | 缓存 | 工作区 | 剩余
plan-conversations = KV 缓存可容纳 { $tokens } 个词元：{ $full } 个 { $context } 词元的对话，或 { $typical } 个 { $of } 词元的对话；`serve` 最多同时生成 { $parallel } 个回答
plan-conversations-cpu = 内存可容纳 { $tokens } 个词元的 KV 缓存：{ $full } 个 { $context } 词元的对话，或 { $typical } 个 { $of } 词元的对话；`serve` 最多同时生成 { $parallel } 个回答，默认使用 { $default } 个词元，可用 `--cache-tokens` 更改
plan-rate = 预测：最多 { FIXED($empty, digits: 1) } tok/s，缓存满时 { FIXED($full, digits: 1) }（内存带宽除以读取字节数）
plan-first-token = 预测：{ $prompt } 词元输入的首词元延迟约 { FIXED($seconds, digits: 2) } 秒（按张量核心 f16 峰值的 { $share }，即相同内核在 H200 上的实测比例）
plan-first-token-unknown = { $prompt } 词元输入的首词元延迟：无法预测，有设备的算力峰值未知
plan-data-sheets = GPU 按标称值计算，扣除驱动占用的 { $driver } GiB，RTX 系列另扣显示占用的 { $display } GiB
gpu-too-old = `{ $name }` 的计算能力为 { $capability }，内核需要 7.5 或更高
    .hint = 支持 T4、RTX 20 系列及更新的 GPU
unknown-gpu = 未知的 GPU `{ $name }`
    .hint = `--cards` 可用的有 { $names }、cpu
no-such-gpu = 没有 GPU { $ordinal }，共找到 { $found } 个
    .hint = `nvidia-smi -L` 可列出本机的 GPU；`--cards t4,t4` 可为其他机器的 GPU 做规划
memory-unknown = 系统没有报告可用内存
    .hint = 请指明：`--cpu-memory 64` 表示 64 GB
conflicting-gpu-flags = `--cards` 与 `--gpu` 不能同时使用
    .hint = 按名称给出 GPU 请用 `--cards`，指定本机的 GPU 请用 `--gpu`
plan-context = `--context { $positions }`：应为 1 至模型的上下文长度 { $window }
    .hint = 省略则为整个上下文长度

# bench
bench-columns = 输入 | 预填充 ms | tok/s | 解码 ms | tok/s | GB/s | 占比
bench-stage = 阶段 { $index }  { $device }，第 { $first } 至 { $last } 层，每词元 { $weights }；{ $what }
bench-bandwidth = 带宽 { FIXED($bandwidth, digits: 1) } GB/s（本机内存，本次实测）
bench-cpu = { $threads } 线程，{ $isa }
bench-cpu-int8 = { $threads } 线程，{ $isa }，8 位激活值
bench-gpu = { $name }，{ $code } 代码，驱动支持 CUDA { VERSION($cuda) }，时钟最高 { $clock } 和 { $memory_clock } MHz；空闲显存 { $free }，已用其中 { $taken }，其他程序和空闲上下文占用 { $others }
bench-loaded = 加载用时 { FIXED($seconds, digits: 2) } s
bench-loaded-gpus = { $loaded }，其中 GPU 权重 { FIXED($seconds, digits: 2) } s，{ FIXED($rate, digits: 1) } GB/s
bench-upload = { $loaded }；主机内存到 GPU { FIXED($rate, digits: 1) } GB/s（页锁定，本次实测）
bench-clients = { $clients } 个并发请求，各 { $prompt } 个输入词元和 { $new } 个新词元：合计 { FIXED($rate, digits: 1) } tok/s
bench-first-token = {"     "}首词元延迟 { $p50 } ms（中位数），{ $p90 }（90 %），{ $p99 }（99 %），{ $max }（最大）
bench-per-token = {"     "}每个输出词元的时间 { $p50 } ms（中位数），{ $p90 }（90 %），{ $p99 }（99 %），{ $max }（最大）
bench-arrival = {"     "}{ $prompt } 个词元的输入到达时：最大间隔 { $largest } ms（此前中位数 { $median } ms 的 { FIXED($gaps, digits: 2) } 倍）；其首词元延迟 { $first } ms（单独运行时 { $alone } ms 的 { FIXED($firsts, digits: 2) } 倍）
bench-reuse-turn = 第二轮，与未缓存的输入相比
bench-reuse-prefix = 共享前缀，与再次发送的同一输入相比
bench-reuse = { $case }：{ $prompt } 个输入词元中 { $reused } 个已在缓存；首词元延迟 { FIXED($first, digits: 1) } ms，为 { FIXED($other, digits: 1) } ms 的 { FIXED($ratio, digits: 3) } 倍
bench-drafts-repetition = 重复输入的回复
bench-drafts-random = 随机回复
bench-drafts = { $reply }，{ $prompt } 个输入词元和 { $new } 个新词元：无草稿 { FIXED($plain, digits: 1) } tok/s，有草稿 { FIXED($rate, digits: 1) } tok/s（{ FIXED($speedup, digits: 2) } 倍）；草稿 { $drafted } 个，接受 { $accepted } 个（{ FIXED($acceptance, digits: 2) }）
bench-batch-columns = 序列数 | 上下文 | 每步 ms | tok/s | 下限 ms | 占比
bench-cliff = 断崖：{ $sequences } 个序列的一步用时是 { $next } 个序列的 { FIXED($ratio, digits: 2) } 倍
bench-no-cliff = 无断崖：任一大小的一步用时都不超过下一更大大小的 { FIXED($ratio, digits: 2) } 倍
bench-batch-limit = 内存只能容纳 { $sequences } 个各 { $positions } 个词元的序列的缓存；更大的大小没有测量
bench-batch-memory = `--batch` 的最小值是 { $smallest } 个各 { $positions } 个词元的序列，内存只能容纳 { $sequences } 个的缓存
    .hint = 缩短 `--prompt`，或减小序列数
bench-timeline = { $what }，{ FIXED($ms, digits: 2) } ms；数字为微批次编号
bench-timeline-stage = 阶段 { $stage } |{ $line }| 忙碌 { $share } %
bench-prompt = { $prompt } 个词元的输入
bench-token = { $prompt } 个词元之后的一个词元
bench-window = { $prompt } 个输入词元加 { $new } 个新词元超出上下文长度 { $window }
    .hint = 请减少：`--prompt 512 --new 16`
bench-random-weights = 随机权重，{ $format }，{ $layers } 层
bench-memory = { $layers } 层的权重需要 { FIXED($needed, digits: 1) } GB 内存，可用 { FIXED($found, digits: 1) } GB
    .hint = 请减少：`--layers { $fewer }`
bench-one-gpu = `--kernels` 测量单块 GPU 的内核
    .hint = 请在以 `--features cuda` 构建的程序中指明一个：`--gpu 0`
bench-positions = `--kernels`：位置数为 { $found }，应为 2 至 { $window }
    .hint = 请去掉 `--prompt`，或用 `--prompt 512`
bench-step = 上下文 { $context } 处的一个词元
bench-step-rows = 上下文 { $context } 处 { $rows } 个序列的一步
bench-kernels = { $device }：{ $format }，{ $layers } 层；复制带宽 { FIXED($rate, digits: 1) } GB/s，本次实测
bench-kernel-columns = 内核 | 次数 | 字节 | 每次 us | GB/s | TFLOP/s | 占比
bench-sum = 各次之和 { FIXED($sum, digits: 1) } us；1 - 和 / 整体 = { FIXED($rest, digits: 3) }

# doctor
doctor-program = 程序
doctor-with-cuda = moss-cli { $version }，含 CUDA
doctor-cpu-only = moss-cli { $version }，仅 CPU
doctor-cpu = { $threads } 线程，{ $isa }；读带宽 { FIXED($rate, digits: 1) } GB/s（实测）
doctor-terminal = 终端
doctor-utf8 = UTF-8（{ $encoding }），区域设置 { $locale }
doctor-not-utf8 = 不是 UTF-8（{ $encoding }）：中文可能无法显示；请 `export LANG=zh_CN.UTF-8`
doctor-models = 模型位置
doctor-place = { $folder }，可用 { $free }
doctor-not-here = { $name }：未找到
doctor-driver = 驱动
doctor-no-driver = 未发现 NVIDIA 驱动
doctor-libraries = CUDA 库
doctor-no-cublas = 未找到；仅 `quantize --gpu` 需要它：{ $reason }
doctor-kernels = 内核
doctor-no-gpu = 没有可用的 GPU：{ $error }
doctor-upper-bound = 速度上限
doctor-rates = { $format }，每词元 { $bytes }：{ $rates }
doctor-gpu-name = GPU
gpu-bus = { $bus }
gpu-capability = 计算能力 { $capability }
gpu-memory = 显存 { $total }，可用 { $free }
gpu-clocks = 时钟 { $now }/{ $most } MHz，显存 { $memory_now }/{ $memory_most } MHz
gpu-ecc-on = ECC 开
gpu-ecc-off = ECC 关
gpu-pcie = { $link }（最高 { $best }）
gpu-nvlinks = NVLink { $count } 条
doctor-copies = 复制带宽 { FIXED($rate, digits: 1) } GB/s（实测）
doctor-cannot-run = 无法运行：{ $error }
doctor-kernels-of = GPU { $ordinal }，{ $name }：{ $code } 代码，驱动支持 CUDA { VERSION($cuda) }；{ $state }
doctor-selftest = 自检
doctor-kernel-cases = { $verdict } GPU { $ordinal }：{ $total } 个内核用例中 { $right } 个与 CPU 一致
doctor-case = { $kernel }（{ $shape }）：{ $error }，允许 { $allowed }（{ $reason }）
doctor-case-differs = { $case }，各次结果不同
doctor-transcript = { $verdict } { $device }：{ $format } 演示模型的对话
bench-title = { $title }：{ FIXED($us, digits: 1) } us

# 多行
damaged-file = { $name }：{ $damage }（{ $path }）
no-listing = 无法取得模型库的文件列表，改为与缓存中记录的哈希核对
truncated =
    错误：无法再读取权重文件 `{ $file }`：它在使用中被截断，或磁盘出现故障
    建议：请通过重命名替换文件（先写入新文件，再 `mv`），不要原地改写；`--no-mmap` 会将权重读入内存
download-file = { $file }：{ $size }{ $done ->
        [none] {""}
       *[other] ，其中 { $done } 已在本机
    }
download-plan =
    { $id }
      大小    { $bytes }，{ $count } 个文件{ $done ->
        [none] {""}
       *[other] ，其中 { $done } 已在本机
    }
      许可证  { $license }（权重）
      来源    { $endpoint }
      存放于  { $folder }
    Ctrl-C 中断后已下载的部分会保留；再次运行同一命令即可继续。
chat-help =
    clear            清空对话历史并清屏
    stop, /quit      退出
    /help            显示本列表
    /regen           重新回答上一条消息
    /undo            撤回上一轮
    /system [文本]   查看或设置系统提示词；`/system -` 恢复 MOSS 官方指令
    /params [项 值]  查看或设置生成参数，例如 `/params temperature 0.5`
    /save 文件       将对话存为 JSON；`/save --force 文件` 替换已有文件
    /load 文件       继续已保存的对话
    /stats           词元数、用时和上下文窗口占用
    /multi           多行输入，以单独一个点的行结束
    /results 文本    向插件模型提供命令的结果
    Ctrl-C           停止回答，或清除当前行（Ctrl-Y 可恢复）；在空行按两次退出
    Ctrl-D           在空行：退出，或结束多行输入
    回答期间输入的内容在下一个提示符处显示。
plugin-ready = 可用
plugin-needs-search = 未配置：`--search-url URL` 或 `--search-command 命令`
plugin-needs-image = 未配置：`--image-url URL`
plugin-without-api = 从未公布过它的 API
plugin-own = 可用，由 `--plugin-command` 指定的程序
plugins-explained =
    插件模型（moss-moon-003-sft-plugin 及其量化版本）先写思考，再写命令，例如 Calculate("1+2")，然后等待。
    本程序执行命令，把结果加入对话，模型再写出回答。用 `--plugins 列表` 启用插件；不给出时不执行任何插件。

    calculator        在本程序内计算，数值规则与 Python 相同：+ - * / // % ^，以及 sqrt、sin、log、
                      round、max 等；`a=2;a*3` 的值是最后一条语句的值。
    equation-solver   在本程序内求解：线性方程组（精确解），以及单个多项式方程的根。
    web-search        把模型的查询发送到 `--search-url` 指定的 SearXNG 服务器，或写入 `--search-command`
                      所指程序的标准输入。最多使用三条结果。
    text-to-image     把模型的描述发送到 `--image-url` 指定的 OpenAI 兼容接口；`--images 文件夹` 保存图片。
    名称              把参数写入 `--plugin-command 名称=…` 所指程序的标准输入。

    不会连接其他服务器，重定向只能指向公网地址。结果来自他人：会被截短并去除控制字符，不会成为特殊词元；
    但模型可能复述或听从其中的内容。

    使用 `--plugins-by-hand` 时不执行任何插件，结果由你用 `/results 文本` 提供。
    `moss-cli plugins test` 为每个插件执行一次调用，或执行你给出的调用。
