# Texts of the libraries. One message a line; `.hint` is an instruction to the user.
# An id is `Type-Variant` of a Rust type that derives `Message`; the arguments are its fields.

# moss-unicode
DecodeError-Wide = the text is encoded as { $encoding }, expected UTF-8
    .hint = convert it: `iconv -f { $encoding } -t UTF-8`
DecodeError-NotUtf8 = the text is not UTF-8 at offset { $offset }, in line { $line } (byte { HEX($byte, digits: 2) })
    .hint = convert it: `iconv -f GBK -t UTF-8`

# moss-files
FileKind-Folder = a folder
FileKind-NamedPipe = a named pipe
FileKind-Device = a device
FileKind-Socket = a socket
FileKind-DanglingLink = a dangling link
FileKind-Empty = an empty file
FileKind-Special = a special file
FileKind-File = a file
FileError-Kind = found { $found }, expected a regular file
    .hint = { $found_id ->
        [DanglingLink] the link's target was moved or deleted: download or copy the file again
       *[other] give the path of a file on a disk; pipes and devices are not read
    }
FileError-TooLarge = the file is larger than the limit of { $limit } bytes

# moss-checkpoint
-damaged-file = the file seems truncated or damaged: download it again and compare its size with the hub's
FileRole-CheckpointFolder = a checkpoint's folder
FileRole-Config = a config.json
FileRole-QuantizeConfig = a quantize_config.json
FileRole-ShardIndex = a shard index
FileRole-Weights = a weight file
Lookalike-GitLfsPointer = a git-lfs pointer
Lookalike-WebPage = a web page
ConfigRule-Size = a whole number of 0 or more
ConfigRule-Integer = a whole number
ConfigRule-Number = a number
ConfigRule-TokenId = a token id
ConfigRule-Text = a string
ConfigRule-Object = a JSON object
ConfigRule-Flag = true or false
ConfigRule-Bits = 4 or 8 bits a weight
ConfigRule-GroupSize = a number above 0, or -1
ConfigRule-Gptq = gptq
ConfigRule-GptqFormat = gptq or gptq_v2
Evidence-Value = { $value }
Evidence-Groups = { $groups } groups of { $inputs } inputs
Evidence-Unordered = inputs that are not in the order of their groups
EntryFault-Missing = missing
EntryFault-BigEndian = big-endian
EntryFault-TooLarge = larger than any state dict
EntryFault-Encrypted = encrypted
EntryFault-PastEnd = past the end of the file
EntryFault-Compressed = compressed with { $value }
DtypeRule-Float = f16, bf16 or f32
DtypeRule-I32 = i32
DtypeRule-I32Range = i32, or i64 within its range
PickleExpected-StateDict = a state dict
PickleExpected-DistinctNames = unique tensor names
PickleExpected-Utf8 = text in UTF-8
PickleExpected-StackValue = a value on the stack
PickleExpected-Mark = a mark on the stack
PickleExpected-Text = a string
PickleExpected-List = a list
PickleExpected-Dict = a dict
PickleExpected-KeyValuePairs = a value for every key
PickleExpected-Arguments = a tuple of arguments
PickleExpected-TensorArguments = six or seven arguments of a tensor
PickleExpected-Offset = an offset of 0 or more
PickleExpected-Strides = as many strides as axes
PickleExpected-Extents = extents of 0 or more that this machine can address
PickleExpected-Constructor = a tensor, a parameter or an empty dict to be built
PickleExpected-Attachment = a dict of hooks or metadata
PickleExpected-Attributes = attributes of a dict
PickleExpected-Storage = a storage reference
PickleExpected-Memo = a value in the memo
PickleLimit-StringLength = characters in a string
PickleLimit-Digits = digits in a number
PickleLimit-Values = values
PickleLimit-Axes = axes
PickleLimit-Memo = values in the memo
Attachment-BackwardHooks = backward hooks
Attachment-Metadata = tensor metadata
CheckpointError-Read = cannot read `{ $file }`
CheckpointError-WrongKind = `{ $file }` is { $found }, expected { $expected }
    .hint = { $found_id ->
        [Empty] { -damaged-file }
       *[other] {""}
    }
CheckpointError-NoWeights = no weights in `{ $folder }`: { $names_count ->
        [0] found an empty folder
       *[other] found { $names }{ $more ->
            [0] {""}
           *[other] {" "}and { $more } more
        }
    }
    .hint = a checkpoint folder holds config.json and pytorch_model*.bin or model*.safetensors
CheckpointError-NotWeights = `{ $file }` holds { $found }, expected weights
    .hint = { $found_id ->
        [GitLfsPointer] run `git lfs pull` in the folder, or download the file itself
       *[other] { -damaged-file }
    }
CheckpointError-Json = `{ $file }` cannot be read as { $what }
CheckpointError-ConfigValue = `{ $key }` in `{ $file }` is { $found ->
        [none] missing
       *[other] { $found }
    }, expected { $expected }
    .hint = { $expected_id ->
        [Gptq] { -gptq-only }
        [GptqFormat] { -gptq-only }
       *[other] compare the file with the one published with the weights
    }
-gptq-only = only GPTQ weights with 4 or 8 bits are supported: use the published int4 or int8 model, or quantize the fp16 model with `moss-cli quantize`
CheckpointError-ConfigConflict = `{ $key }` is { $first_value } in `{ $first }`, but `{ $second_key }` is { $second_value } in `{ $second }`
    .hint = { $is_same_file ->
        [true] the two keys mean the same: keep the one that the weights were quantized with
       *[other] the files are of different models: keep the one that was written with the weights
    }
CheckpointError-ConfigMismatch = `{ $key }` in `{ $config_file }` is { $config }, but `{ $name }` in `{ $file }` shows { $tensors }
    .hint = the file was edited or is from another model, or a shard is missing: use files of the same source
CheckpointError-Encoding = cannot read `{ $file }` as text
CheckpointError-ShardName = the index `{ $index }` names `{ $shard }` as a shard, expected a plain file name
CheckpointError-MissingShard = shard `{ $shard }` named by `{ $index }` is missing ({ $tensors } tensors are in it)
    .hint = download `{ $shard }` into the same folder
CheckpointError-StaleIndex = the index `{ $index }` is stale: { $missing } file(s) that it names are missing, `{ $shard }` the first, while `{ $complete }` is complete
    .hint = delete `{ $index_name }` to use `{ $complete }`; if the index is the newer one, download the files that it names
CheckpointError-MisplacedTensor = tensor `{ $name }` is not in `{ $file }`, where the index says it is
CheckpointError-DuplicateTensor = tensor `{ $name }` is in both `{ $first }` and `{ $second }`
CheckpointError-Zip = `{ $file }` is not a whole PyTorch file
    .hint = { -damaged-file }
CheckpointError-LegacyTorch = `{ $file }` is in the format of PyTorch before version 1.6
    .hint = load it with a current PyTorch and `torch.save` it again
CheckpointError-ZipEntry = entry `{ $entry }` of `{ $file }` is { $found }, expected stored bytes within the file
    .hint = { $found_id ->
        [Compressed] PyTorch stores its entries uncompressed: the file was repacked; use the original
       *[other] {""}
    }
CheckpointError-Checksum = record `{ $record }` of `{ $file }` is damaged: its CRC-32 is { HEX($found, digits: 8) }, expected { HEX($expected, digits: 8) }{ $tensors_count ->
        [0] {""}
       *[other] {" "}(it holds { $tensors })
    }
    .hint = { -damaged-file }
CheckpointError-Pickle = the pickle in `{ $file }` cannot be read
    .hint = only plain state dicts are read, and nothing in a file is ever executed; use the published file
CheckpointError-Safetensors = `{ $file }` is not a whole safetensors file
    .hint = { -damaged-file }
CheckpointError-TensorBounds = tensor `{ $name }` in `{ $file }` needs { $needed } bytes of its storage, which has { $found }
    .hint = { -damaged-file }
CheckpointError-Write = cannot write `{ $file }`
    .hint = { $source ->
        [StorageFull] make room on the disk and run the same command again
       *[other] {""}
    }
CheckpointError-WrongLength = `{ $file }` was given { SIGNED($excess) } bytes beyond what its tensors have
CheckpointError-NotAsPlanned = `{ $file }` does not hold the tensors that were written to it: `{ $name }` differs
    .hint = the disk or its memory may be failing: write it again, elsewhere
CheckpointError-MissingTensor = tensor `{ $name }` is missing from `{ $folder }`
    .hint = a shard may be missing from the folder, or config.json may be another model's
CheckpointError-Shape = tensor `{ $name }` in `{ $file }` has shape { $found }, expected { $expected }
    .hint = config.json and the weights may be of different models
CheckpointError-Dtype = tensor `{ $name }` in `{ $file }` is stored as { $found }, expected { $expected }
CheckpointError-UnsupportedDtype = tensor `{ $name }` in `{ $file }` is stored as { $found }, expected one of bool, u8, i8 to i64, f16, bf16, f32, f64
    .hint = convert the checkpoint to f16, or use the published one
CheckpointError-NonFinite = tensor `{ $name }` in `{ $file }` holds { $value } at element { $at }
CheckpointError-Underflow = tensor `{ $name }` in `{ $file }` holds { $value } at element { $at }, which becomes 0 in f16
CheckpointError-UnexpectedBias = `{ $name }` in `{ $file }` holds { $value } at element { $at }, but this layer has no bias
    .hint = the weights are of a network with another architecture; MOSS's attention has no biases
CheckpointError-GroupAlignment = `{ $name }` in `{ $file }` has groups of { $group_size } inputs, expected a multiple of { $multiple }
CheckpointError-Group = `{ $name }` in `{ $file }` puts input { $at } into group { $found }, expected 0 to { $last }
CheckpointError-BitWidth = `{ $name }` in `{ $file }` has { $rows } packed rows for { $in_features } inputs, expected 4 or 8 bits a weight
CheckpointError-GroupSizeUnstated = `{ $name }` in `{ $file }` has { $groups } groups for { $in_features } inputs, and nothing states their size: { $first } and { $second } both fit
    .hint = set `groupsize` in config.json to the group size that the weights were quantized with
CheckpointError-GroupSize = `{ $name }` in `{ $file }` has { $groups } groups for { $in_features } inputs, which no group size gives
PickleError-Truncated = it ends at byte { $at }, in the middle of an instruction
PickleError-Opcode = opcode { HEX($opcode, digits: 2) } at byte { $at } is not allowed in a state dict
PickleError-Global = the name `{ $name }` at byte { $at } is not on the allow-list of a state dict
PickleError-Value = at byte { $at }: expected { $expected }
PickleError-Limit = at byte { $at }: too many { $what } for a state dict
PickleError-Attached = tensor `{ $name }` has { $what }, expected none
PickleError-Unreached = { $count } tensor(s) are not values of string keys of the outermost dict, the first with its elements in `{ $record }`
Warning-BitWidth = config.json says `wbits` = { $config }, the weights are { $tensors } bits wide; using { $tensors }
Warning-TorchDtype = config.json says `torch_dtype` = { $config }, the weights are stored as { $tensors }; using { $tensors }
Warning-SeveralSets = several sets of weights: using `{ $used }`; { $ignored_count } other file(s) are not read, `{ $ignored_first }` the first
Warning-StaleIndex = `{ $index_name }` is stale: { $missing } file(s) that it names are missing; using `{ $used }`
Warning-GroupSize = config.json says `groupsize` = { $config }, the weights have groups of { $tensors }; using { $tensors }
Warning-GroupSizeAssumed = nothing states the group size of `{ $name }`, as in { $linears } linear layer(s), and several sizes fit; using { $size }
Warning-UnusedGroups = `{ $name }` leaves { $unused } of { $groups } groups unused, as in { $linears } linear layer(s): the weights may be damaged
Warning-Symmetry = the configuration says `sym`, but `{ $name }` stores { $found } where symmetric weights in the `{ $format }` format have { $expected }, as in { $linears } linear layer(s): `sym` or `checkpoint_format` may be wrong
Warning-OwnHead = config.json says `tie_word_embeddings`, but there is an `lm_head` in addition to the embedding; using it
Warning-NoHeadBias = `lm_head.bias` is missing, which published checkpoints have; continuing without it
Warning-NoChecksums = `{ $file }` was written without checksums; damage to it may go unseen
Warning-UnknownTensors = { $count } tensor(s) that this model does not use, `{ $first }` the first; ignored

# moss-text
-published-tokenizer = use the tokenizer files of the checkpoint as published
-published-merges = merges.txt is truncated, reordered or from another model: use the one published with the checkpoint
TokenizerFile-Vocabulary = vocabulary
TokenizerFile-AddedTokens = list of added tokens
TokenizerFile-Config = tokenizer configuration
TokenizerFile-SpecialTokens = map of special tokens
IdFault-Missing = missing
IdFault-Twice = present twice
IdFault-TooLarge = beyond the number of tokens
TextError-Read = cannot read `{ $file }`
    .hint = { $source ->
        [NotFound] a published tokenizer consists of vocab.json, merges.txt and added_tokens.json, next to the weights
       *[other] {""}
    }
TextError-Json = `{ $file }` is not a readable { $what }
    .hint = { -published-tokenizer }
TextError-Merge = line { $line } of `{ $file }` is `{ $found }`, expected two tokens and a space between them
    .hint = { -published-tokenizer }
TextError-MergeToken = line { $line } of `{ $file }` needs the token `{ $token }`, which vocab.json does not have
    .hint = { -published-tokenizer }
TextError-Bpe = vocab.json and merges.txt in `{ $folder }` do not fit together: { $reason }
    .hint = { -published-tokenizer }
TextError-LineEnd = line { $line } of `{ $file }` holds a carriage return, expected lines that end in LF or CRLF
    .hint = convert its line ends, for example with `tr '\r' '\n'`, or use merges.txt as published
TextError-MergePart = line { $line } of `{ $file }` merges `{ $found }`, but no earlier line makes `{ $part }`
    .hint = { -published-merges }
TextError-MergeTwice = line { $line } of `{ $file }` repeats the merge `{ $found }`
    .hint = { -published-merges }
TextError-MergeOrder = line { $line } of `{ $file }` makes token { $id } after an earlier line made token { $before }, expected ascending ids
    .hint = { -published-merges }
TextError-NoMerge = no line of `{ $file }` makes token { $id } (`{ $found }`); { $count } tokens of vocab.json have no merge
    .hint = { -published-merges }
TextError-MissingByte = vocab.json in `{ $folder }` has no token for byte { $byte }, expected one for each of 0 to 255
    .hint = { -published-tokenizer }
TextError-AddedTokens = `{ $folder }`: tokenizer_config.json has token { $decoder_id } as `{ $decoder }`, but added_tokens.json or vocab.json has token { $listed_id } as `{ $listed }`
    .hint = keep the file that belongs to the checkpoint and remove the other one
TextError-Unsupported = `{ $option }`{ $token ->
        [none] {""}
       *[other] {" "}of `{ $token }`
    } in `{ $file }` is true, expected false
    .hint = { -published-tokenizer }
TextError-TokenizerJson = `{ $file }` exists without vocab.json and merges.txt, which are required
    .hint = save the slow tokenizer with transformers (`AutoTokenizer.from_pretrained(FOLDER, use_fast=False).save_pretrained(FOLDER)`), or copy vocab.json, merges.txt and added_tokens.json of the published checkpoint
TextError-UnknownId = token id { $id } at position { $position } is unknown, the tokenizer has { $tokens } tokens
    .hint = the ids may be from another model's tokenizer
TextError-Ids = token id { $id } in `{ $folder }` is { $found }, expected every id from 0 to { $last } once
    .hint = { -published-tokenizer }
TextError-Token = token { $id } in `{ $folder }` is `{ $found }`, expected byte-level characters
    .hint = { -published-tokenizer }
TextError-MissingSpecial = special token `{ $name }` is missing from the tokenizer in `{ $folder }`
    .hint = added_tokens.json, or `added_tokens_decoder` in tokenizer_config.json, lists it: copy the published file
TextError-Encode = cannot tokenize a text of { $bytes } bytes: { $reason }
TextError-NoPluginApi = plugin `{ $plugin }` cannot be enabled: no API was ever published for it
    .hint = those with a published API are web-search, calculator, equation-solver and text-to-image
TextError-UnknownPlugin = unknown plugin `{ $found }`, expected one of { $expected }
TextError-TurnTooLong = the system prompt and this message have { $found } tokens, at most { $allowed } leave room for an answer
    .hint = shorten the message or the system prompt
TextError-Conversation = this is not a saved conversation
TextError-ConversationVersion = the conversation was saved in format { $found }, expected { $expected }

# moss-sampling
ParameterRange-AtLeastZero = 0 or more
ParameterRange-ZeroToOne = 0 to 1
ParameterRange-AboveZero = above 0
ParameterRange-Finite = a number
ParameterRange-FiniteOrNegInf = a number or -inf
SamplingError-Parameter = `{ $name }` is { $found }, expected { $expected }
SamplingError-UnknownBias = `logit_bias` names token id { $id }, but there are { $tokens } tokens, counted from 0
    .hint = the id may be from another model's tokenizer
SamplingError-BadLogits = at step { $step } the logit of token { $id } is { $value }, expected a finite number
    .hint = the weights may be damaged; `--dtype f32` rules out overflow
SamplingError-NotAllowed = at step { $step } the device sampled token id { $id }, expected an id below { $tokens }
    .hint = this is a fault of the GPU or of this program; please report it
SamplingError-NothingLeft = at step { $step } every token has the logit -inf

# moss-model
UnsupportedOption-Int8Activations = 8-bit activations
UnsupportedOption-Int8Cache = an 8-bit KV cache
UnsupportedOption-GpuCode = a limit on the GPU architecture
NetworkRule-AboveZero = a number above 0
NetworkRule-AtMost = at most { $value }
NetworkRule-AtMostOnGpu = at most { $value } on a GPU
NetworkRule-EvenOnGpu = an even number on a GPU
NetworkRule-EvenAtMostOnGpu = an even number up to { $value } on a GPU
NetworkRule-HeadCount = a multiple of { $shards } that divides n_embd = { $hidden_size }
NetworkRule-RotaryDim = an even number up to the head's { $head_dim } dimensions
NetworkRule-GeluNew = gelu_new
NetworkRule-SmallPositive = a small positive number
NetworkRule-BelowVocab = below vocab_size = { $value }
NetworkRule-Synthetic = a tensor that random weights support
-leave-to-program = give the number of layers of each device, such as `9,9,9,7`, or omit the option
-run-on-cpu = run this model on the CPU with `--gpu cpu`
Shortfall = device { $device } ({ $name }) with { $layers } layers needs { SIZE($needed, unit: "GB", digits: 2) }, has { SIZE($free, unit: "GB", digits: 2) } free, lacks { SIZE($missing, unit: "GB", digits: 2) }
ModelError-Config = `{ $key }` in config.json is { $found }, expected { $expected }
    .hint = { $expected_id ->
        [AtMostOnGpu] { -run-on-cpu }
        [EvenOnGpu] { -run-on-cpu }
        [EvenAtMostOnGpu] { -run-on-cpu }
       *[other] {""}
    }
ModelError-Kernel = layer { $layer }: `{ $op }` failed
ModelError-WindowFull = position { $end } exceeds the model's context length of { $context_length } positions
    .hint = shorten the prompt, or start a new conversation
ModelError-CacheFull = the KV cache is full: { $needed_blocks } more blocks needed, { $free_blocks } free
ModelError-BlocksMissing = sequence { $sequence } of the batch has { $found } cache blocks, needs { $expected }
ModelError-PositionsMissing = sequence { $sequence } of the batch has { $found } positions in the cache, expected { $expected }
ModelError-BlocksNotStored = cache blocks of this model cannot be read or written
ModelError-EmptyChunk = sequence { $sequence } of the batch has no tokens to run
ModelError-UnknownToken = token id { $id } is outside the model's { $vocab_size } embedding rows
ModelError-Stage = stage { $stage } on { $device } failed
ModelError-NoStageInput = layer { $layer } has no input: the stages are not consecutive
ModelError-GpuDtype = GPU kernels round activations to f16, found { $found }
    .hint = omit `--dtype`, or use `--dtype f16`; `--gpu cpu` supports f32 and bf16
ModelError-Unsupported = the candle engine does not support { $option }
    .hint = omit the option, or use `--engine native`
ModelError-NoCandleCuda = the candle engine cannot use { $device }: this build does not contain candle's CUDA kernels
    .hint = build with `--features candle-cuda`, or use `--gpu cpu`
ModelError-ActivationsNotExact = 8-bit activations are rounded, found F32 for the values between operations
    .hint = omit `--dtype` with `--activations int8`, or use `--dtype f16` or `bf16`
ModelError-ActivationsOffCpu = 8-bit activations are supported on the CPU only, found { $device }
    .hint = omit `--activations`, or use `--gpu cpu`
ModelError-Interrupted = interrupted
ModelError-NonFinite = layer { $layer } gave { $value } at position { $position } of sequence { $sequence } of the batch
    .hint = the weights may be damaged: `moss-cli inspect` checks them; `--dtype f32` rules out overflow
PlacementError-Devices = { $found } devices are listed, expected 1 to { $expected }
PlacementError-NoLayers = the model has no layers, expected at least one
PlacementError-Bandwidth = `{ $device }` reads { $found } bytes per second, expected a number above 0
PlacementError-Layers = the layers per device are { $found }, expected one number of at least 1 for each device ({ $devices }), { $layers } in total
    .hint = { -leave-to-program }
PlacementError-DoesNotFit = the model does not fit: { $shortfalls }
    .hint = { $changes_count ->
        [0] no other format and no shorter context fits on these devices: add a GPU, or use devices with more memory
        [1] this would fit: { $changes }
       *[other] any one of these would fit: { $changes }
    }
Change-Division = let the program distribute the layers
Change-Context = a context of { $positions } tokens
Change-Format = the weights in { $value }
Change-MoreGpus = { $count } more like device { $like }
Change-Cpu = `cpu` at the end of the list ({ $layers } layers in { SIZE($bytes, unit: "GB", digits: 2) } of host memory)

# moss-engine
EngineError-EmptyPrompt = the prompt is empty, expected at least one token
EngineError-PromptTooLong = the prompt is too long: it has { $found } tokens, and this model's maximum context length is { $context_length } tokens, including the answer
    .hint = shorten the prompt, or start a new conversation
EngineError-TooManySequences = { $found } sequences at the same time, expected at most { $most }
    .hint = lower the number; further requests wait for their turn
EngineError-QueueFull = { $limit } requests are already waiting
    .hint = try again when some of them are done
EngineError-UnknownToken = token id { $id } at position { $position } of the prompt is outside the model's { $rows } embedding rows
    .hint = the tokenizer or the ids may be from another model
EngineError-UnknownStop = stop token id { $id } is unknown, there are { $tokens } tokens, counted from 0
    .hint = the tokenizer or the ids may be from another model
EngineError-NoTokenizer = stop strings need text, and the engine was started without a tokenizer
    .hint = give stop tokens by their ids
EngineError-TokenizerMismatch = the tokenizer has { $tokens } tokens, the model has { $rows } embedding rows
    .hint = the tokenizer or the ids may be from another model
EngineError-Model = step { $step } failed
EngineError-LogitsMissing = the model gave { $found } logits for token { $step }, expected { $expected }
EngineError-StepPanicked = choosing token { $step } panicked: { $message }
    .hint = a logits processor of the request is the likely cause
EngineError-Panicked = the engine stopped after an internal error: { $message }
    .hint = please report it, with the command that led to it
EngineError-DeviceLost = the device failed and cannot be used again by this process
    .hint = start the program again; if it happens again, see `nvidia-smi -q` and the system log for faults of the GPU
EngineError-Stalled = the model made no progress for { $seconds } seconds in a step of { $tokens } tokens
    .hint = start the program again; a machine out of memory or a hanging GPU is the likely cause
EngineError-Threads = cannot start { $threads } worker threads: { $reason }
EngineError-ShutDown = the engine has been shut down
EngineError-NothingToRegenerate = nothing to regenerate
EngineError-NoPendingCommand = no command waits for results

# moss-prompt-cache
FileFault-NotAPromptCache = it is not a file of the prompt cache
FileFault-Version = its format has version { $value }
FileFault-Length = a length in its header is outside of its limits
FileFault-Size = it is shorter or longer than its header says
FileFault-HeaderChecksum = its header does not match its checksum
FileFault-NotText = its name or description is not text
FileFault-OtherPrefix = it belongs to another model, other code or other tokens
FileFault-BlockChecksum = block { $value } does not match its checksum
PromptCacheError-Damaged = `{ $path }` cannot be used: { $reason }
    .hint = `moss-cli cache clear` removes the files of the prompt cache
PromptCacheError-Read = cannot read `{ $path }`
PromptCacheError-Write = cannot write `{ $path }`
PromptCacheError-BlockSize = the block has { $found } bytes, expected { $expected }
PromptCacheError-BlockCount = the file has { $found } blocks, expected { $expected }

# moss-plugins
ExpressionError-TooLong = the expression is longer than { $limit } bytes
ExpressionError-TooDeep = the expression has more than { $limit } nested operators and brackets
ExpressionError-TooLarge = an integer of the expression has more than 510 digits
ExpressionError-Overflow = a number of the expression is larger than a double
ExpressionError-Syntax = unexpected text at character { $position } of the expression
ExpressionError-NoValue = the expression ends without a value
ExpressionError-UnknownName = unknown name `{ $name }` in the expression
ExpressionError-Arguments = function `{ $name }` has another number of arguments than { $found }
ExpressionError-DivisionByZero = the expression divides by zero
ExpressionError-Domain = a function of the expression has no real value
EquationError-TooLong = the equations are longer than { $limit } bytes
EquationError-TooDeep = the equations have more than { $limit } nested operators and brackets
EquationError-TooLarge = the equations have too many variables or terms, or too high powers
EquationError-Syntax = unexpected text at character { $position } of the equations
EquationError-WordVariable = `{ $name }` is not a variable: variables have one letter
EquationError-NotPolynomial = the equations are neither linear nor one polynomial equation in one variable
EquationError-NoUnknown = there is nothing to solve
EquationError-DivisionByZero = the equations divide by zero
EquationError-Underdetermined = there are fewer independent equations than variables
EquationError-Contradiction = the equations contradict each other
EquationError-NoSolution = the equation has no solution
EquationError-NotConverged = the roots were not found with 15 digits
PluginError-NoArgument = the call has an empty argument
PluginError-Arguments = the call has { $found } arguments, expected 1
PluginError-TimedOut = no result within { $seconds } s
PluginError-Cancelled = the call was cancelled
PluginError-Panicked = the plugin has failed
PluginError-Nothing = the plugin returned nothing
PluginError-Http = { $url }: { $reason }
    .hint = { $reason_id ->
        [NoJson] add `json` to `search.formats` in SearXNG's settings.yml
        [Private] redirects may lead to public addresses only; configure the server's final address
       *[other] {""}
    }
PluginError-Address = invalid address `{ $address }`: { $reason }
    .hint = an address such as `http://localhost:8888` is expected
PluginError-Program = program `{ $program }`: { $reason }
ProgramFault-Start = it cannot be run ({ $value })
ProgramFault-Status = it ended with { $status ->
        [none] a signal
       *[other] exit status { $status }
    }: { $message }
ProgramFault-TimedOut = it took too long
HttpFault-Private = the address { $value } is not public
HttpFault-Redirect = it redirects to `{ $value }`
HttpFault-Redirects = it redirects more than { $limit } times
HttpFault-Status = the server responded with status { $value }
HttpFault-NoJson = the server responded with status 403, it may not permit JSON
HttpFault-TooLarge = the response has more than { $limit } bytes
HttpFault-TimedOut = the server did not respond in time
HttpFault-Format = the response has another format than expected: { $value }
HttpFault-Connection = { $value }
AddressFault-Malformed = not a URL
AddressFault-Scheme = found scheme `{ $value }`, expected http or https
AddressFault-Credentials = it contains a user name or a password

# moss-hub
-mirror = use a mirror (HF_ENDPOINT=https://hf-mirror.com) or `--source modelscope`
-demo = `--demo` runs a small model that is part of this program, without a network
-model-files = config.json, vocab.json, merges.txt, added_tokens.json and the weight files
-by-hand = put { -model-files } into ./fnlp/NAME by hand
-other-ways = { -mirror }; HTTPS_PROXY sets a proxy; or { -by-hand }
-login = open any web page in a browser and log in
-log-in-first = the network seems to require a login: { -login }, then run it again; { -other-ways }
-run-again = run it again to resume; { -other-ways }
-run-again-or-login = run it again to resume; if the network requires a login, { -login }; { -other-ways }
Place = { $path } ({ $why })
Absence-NotFound = not found
Absence-NoSnapshot = contains no snapshot
Absence-NoCompleteSnapshot = contains no complete snapshot
EndpointFault-Url = { $value }
EndpointFault-Scheme = scheme `{ $value }`, expected http or https
ListingFault-Parse = { $value }
ListingFault-Revision = revision `{ $value }`, expected 40 hexadecimal digits
ListingFault-NoFiles = no list of files, message `{ $value }`
MissingFile-Named = { $value }
MissingFile-Weights = model*.safetensors or pytorch_model*.bin
MissingFile-IndexedShard = weight file that its index lists
Fetched-Listing = list of files
Fetched-File = { $value }
Fault-Status = HTTP status { $status }
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
        [404] check the name; { -other-ways }
        [429] the hub limits the request rate: wait, then run it again; { -other-ways }
        [511] { -log-in-first }
       *[other] { -run-again-or-login }
    }
-refused = the hub denies access: check the name, and set HF_TOKEN if the model needs it; if the network requires a login, { -login }; { -other-ways }
Fault-Connection = { $reason }
    .hint = { -run-again-or-login }
Fault-CutOff = the connection ended { $bytes } bytes before the end
    .hint = { -run-again-or-login }
Fault-Unreachable = cannot connect to { $host }{ $proxied ->
        [true] {" "}(through the proxy)
       *[other] {""}
    }: { $reason }
    .hint = check this machine's network connection; HTTPS_PROXY sets a proxy; { -mirror }; or { -by-hand }; { -demo }
UnreachableReason-Name = the name cannot be resolved
UnreachableReason-Refused = connection refused
UnreachableReason-Network = the network is unreachable
UnreachableReason-NoAnswer = no answer
UnreachableReason-Proxy = { $value }
Fault-Tls = no secure connection to { $host }: { $reason }
    .hint = { -log-in-first }
Fault-Stalled = stalled: { $bytes } bytes in { FIXED($seconds, digits: 1) } s
    .hint = { -run-again }
Fault-Html = received an HTML page instead of the file
    .hint = { -log-in-first }
Fault-Length = the file on the server has { $found } bytes, expected { $expected }
    .hint = { -log-in-first }
Fault-Range = requested bytes { $expected }, received `{ $found }`
    .hint = { -run-again }
Fault-NoRanges = the server ignores the Range header
    .hint = { -log-in-first }
Fault-Changed = the file on the server has the hash { $found }, expected { $expected }
    .hint = { -run-again }
Fault-RedirectTo = redirected to `{ $value }`
    .hint = { -log-in-first }
Fault-TooManyRedirects = redirected more than { $limit } times
    .hint = { -log-in-first }
Damage-Missing = missing
Damage-NotAFile = not a regular file
Damage-Length = { $found } bytes, expected { $expected }
Damage-Hash = hash { $found }, expected { $expected }
Damage-Unreadable = cannot be read: { $source }
HubError-NotFound = model `{ $name }` was not found; searched:{ $looked }
    .hint = { $similar ->
       *[other] did you mean `{ $similar }`?
        [none] { $id ->
           *[other] `moss-cli download { $id }` downloads it, or put config.json, vocab.json, merges.txt, added_tokens.json and pytorch_model*.bin into ./{ $id } by hand; `--demo` starts immediately, with a small model that is part of this program
            [none] check the path; `--demo` starts immediately, with a small model that is part of this program
        }
    }
HubError-Write = cannot write the demo model to `{ $path }`
    .hint = set XDG_CACHE_HOME to a folder that can be written
HubError-BadId = `{ $id }` is not a model name, expected ORGANISATION/NAME or a published short name
    .hint = such as `fnlp/moss-moon-003-sft-int4`, or `moss-moon-003-sft-int4` for short
HubError-Offline = `{ $id }` is not downloaded, and offline mode is on
    .hint = omit `--offline` (HF_HUB_OFFLINE), or put { -model-files } into ./{ $id } by hand; { -demo }
HubError-BadEndpoint = the hub's address `{ $endpoint }` is invalid: { $reason }
    .hint = such as HF_ENDPOINT=https://hf-mirror.com, or MODELSCOPE_ENDPOINT=https://www.modelscope.cn with `--source modelscope`
HubError-BadProxy = the proxy's address is invalid: { $reason }
    .hint = such as HTTPS_PROXY=http://127.0.0.1:7890 or ALL_PROXY=socks5://127.0.0.1:1080
HubError-Listing = the file list of `{ $id }` at { $url } is invalid: { $reason }
    .hint = check the address; a login page or a proxy of the network may have answered instead of the hub; { -mirror }; or { -by-hand }
HubError-Incomplete = `{ $id }` at { $endpoint } has no { $missing }
    .hint = { -mirror }; or put { -model-files } into ./{ $id } by hand
HubError-Transfer = cannot download { $file } from { $url } ({ $attempts } attempt(s))
HubError-Hash = { $file } from { $url } has the hash { $found }, expected { $expected }
    .hint = the download was discarded; run it again, and if that does not help, { -login }, or { -mirror }, or { -by-hand }
HubError-Space = `{ $path }` has { $free } bytes free, the download needs { $needed }
    .hint = { $copies ->
        [0] make room, or set HF_HUB_CACHE to a folder on a larger disk
       *[other] this file system has neither symbolic nor hard links, so that the cache holds every file twice: set HF_HUB_CACHE to a folder on another file system, or make room
    }
HubError-Disk = cannot use `{ $path }`
    .hint = set HF_HUB_CACHE to a folder that can be written, on a disk with room

# moss-quantize
FolderAction-Copy = copy
FolderAction-Create = create
FolderAction-Measure = measure
FolderAction-Read = read
FolderAction-Remove = remove
FolderAction-Rename = rename
FolderAction-Replace = replace
FolderAction-Write = write
NotReplaceable-NotCheckpoint = is not a checkpoint folder
NotReplaceable-IsSource = contains the checkpoint to read
TextSet-Calibration = the calibration texts
TextSet-Measured = the texts to measure
QuantizeError-Io = cannot { $what } `{ $path }`
QuantizeError-Exists = `{ $path }` already exists, expected a new name or an empty folder
    .hint = use another folder, remove this one, or replace it with `--force`
QuantizeError-NotReplaced = `{ $path }` { $why }, so it is not replaced
    .hint = use another folder
QuantizeError-ForeignFile = `{ $path }` is not part of a checkpoint, so its folder is not replaced
    .hint = move it elsewhere, or use another folder
QuantizeError-Busy = another process is writing `{ $path }`
    .hint = wait for it, or use another folder
QuantizeError-DiskSpace = `{ $path }` needs { SIZE($needed, unit: "GB", digits: 1) } of disk, found { SIZE($free, unit: "GB", digits: 1) } free
    .hint = make room, or use a folder on another disk
QuantizeError-Damaged = `{ $file }` reads back as { $found }, expected { $expected } (SHA-256 of its tensors)
    .hint = the disk or the memory may be failing; write to another disk
QuantizeError-AlreadyQuantized = `{ $folder }` is already quantized to { $bits } bits, expected an fp16 checkpoint
    .hint = quantize the fp16 checkpoint; `moss-cli convert` changes only the container
QuantizeError-GroupSize = group size { $found } does not fit layers of { $in_features } inputs in { $bits } bits, expected a multiple of { $multiple }
    .hint = 128 is the published size; -1 is one group per layer
QuantizeError-TooWide = `{ $linear }` has weights that are NaN or too large for a scale in f16
QuantizeError-NotPositive = the inputs of `{ $linear }` have no positive definite Hessian, in spite of dampening by { $dampening }
    .hint = use more calibration text, or `--method rtn`
QuantizeError-Kernel = layer { $layer } could not be quantized
QuantizeError-OutOfMemory = layer { $layer } needs more memory than { $device } has: { SIZE($free, unit: "GiB", digits: 1) } of { SIZE($total, unit: "GiB", digits: 1) } were free
    .hint = close other programs that use the GPU, use another GPU with `--gpu`, or use the CPU: `--gpu cpu`
QuantizeError-Decode = cannot read `{ $file }` as text
QuantizeError-Sample = line { $line } of `{ $file }` is neither a dialogue nor a text
    .hint = a line is {"{"}"turns": [{"{"}"user": "…", "moss": "…"{"}"}]{"}"} or {"{"}"text": "…"{"}"}; a file that does not end in .jsonl is one text
QuantizeError-NoSamples = no tokens to work with in { $what }
QuantizeError-Windows = windows of { $window } tokens every { $stride } tokens, expected 2 to { $context_length } and a stride of 1 to half of the window
QuantizeError-Vocabularies = the two models have { $first } and { $second } vocabulary rows, expected the same
QuantizeError-Interrupted = interrupted

# moss-server
ServerError-NoTokenizer = the model cannot be served without a tokenizer for conversations
    .hint = put the published tokenizer files next to the weights
ServerError-Tokenizer = the model cannot be served without a tokenizer for conversations
ServerError-AlreadyOpen = the server already has a model
ServerError-NoKeys = there are no API keys any more, and without keys the server would admit all clients
ServerError-Listen = cannot accept connections
KeyFileError = line { $line } { $fault }
    .hint = a line is `NAME KEY` or `KEY`; lines that begin with `#` are comments
KeyFault-Words = has { $found } words, expected `NAME KEY` or `KEY`
KeyFault-NameLength = has a name of { $found } characters, expected 1 to { $most }
KeyFault-NameCharacters = has a name that begins with `#`, or contains white space or control characters
KeyFault-KeyLength = has a key of { $found } bytes, expected 1 to { $most }
KeyFault-KeyCharacters = has a key with characters other than visible ASCII, which HTTP clients cannot send
KeyFault-RepeatedName = has the same name as line { $first }
KeyFault-RepeatedKey = has the same key as line { $first }
KeyFault-KnownName = has a name that another key has already
KeyFault-KnownKey = has a key that is known already

# moss-weights: CPU and GPU kernels

KernelError-Argument = { $op }: `{ $arg }` is { $found }, expected { $rule }
KernelError-Shape = { $op }: `{ $arg }` has shape { $found }, expected { $expected }
KernelError-Dtype = { $op }: `{ $arg }` is { $found }, expected f32, f16 or bf16
KernelError-NotPacked = { $op }: 8-bit activations need int4 or int8 weights, found { $found }
    .hint = omit `--activations`, or use an int4 or int8 checkpoint
KernelError-NotCompiled = { $op }: this build has only CPU kernels
    .hint = build with `cargo build --release --features cuda` for GPUs
KernelError-NoSuchGpu = there is no GPU { $ordinal }: the driver shows { $found ->
        [0] none
        [1] one, GPU 0
       *[other] { $found }, counted from 0
    }
    .hint = `nvidia-smi` lists the GPUs, `CUDA_VISIBLE_DEVICES` may hide some; `--gpu cpu` needs none
KernelError-NoDriver = no NVIDIA driver found: the dynamic loader does not find libcuda.so.1
    .hint = install the NVIDIA driver (`nvidia-smi` then lists the GPUs), or omit `--gpu` to run on the CPU
KernelError-LibraryMissing = { $library } is needed for this and cannot be loaded: { $reason }
    .hint = install it with `pip install { $version ->
        [12] nvidia-cublas-cu12
       *[other] nvidia-cublas
    }`, or install the CUDA toolkit { $version }; `LD_LIBRARY_PATH` can name a folder that contains it
KernelError-DriverTooOld = the NVIDIA driver offers CUDA { VERSION($found) }, this build needs { VERSION($needed) } or newer
    .hint = install a driver for CUDA { VERSION($needed) } or newer, or build with an older toolkit; `--gpu cpu` needs none
KernelError-NotOpened = cannot open GPU { $gpu }: { $message }
    .hint = { $code ->
        [2] its memory is in use: `nvidia-smi` shows by which programs; use another GPU, or the CPU with `--gpu cpu`
        [46] another program may use the GPU exclusively (compute mode "exclusive"): `nvidia-smi` shows both; use another GPU, or the CPU with `--gpu cpu`
       *[other] { -ask-nvidia-smi }
    }
-ask-nvidia-smi = `nvidia-smi` shows driver and GPUs; `--gpu cpu` needs neither
KernelError-OutOfMemory = GPU { $gpu } is out of memory: { SIZE($needed, unit: "MiB", digits: 0) } more were requested, { SIZE($free, unit: "MiB", digits: 0) } are free
    .hint = close other programs that use the GPU, use a smaller format or a shorter context, or use the CPU
KernelError-Tensor = a tensor operation failed
KernelError-WrongDevice = { $op }: `{ $arg }` belongs to GPU { $found }, expected GPU { $expected }
KernelError-WrongStream = { $op }: `{ $arg }` belongs to another stream of GPU { $gpu }
KernelError-FewClusters = GPU { $gpu } runs { $found } clusters of `{ $kernel }` at the same time, expected at least { $expected }
    .hint = use the whole GPU, without a limit of MPS, or pass `--gpu-code 75` for kernels without clusters
KernelError-Read = cannot read weights
KernelError-Driver = cannot { $what }: { $message }
    .hint = { $code ->
        [100] is an NVIDIA driver installed? `nvidia-smi` should list the GPU; `--gpu cpu` needs none
        [803] the driver is incomplete: restart the machine after a driver update; a container needs the libraries of the machine's driver; `--gpu cpu` needs none
       *[other] { -ask-nvidia-smi }
    }
Rule-Exactly = { $value }
Rule-AtLeast = at least { $value }
Rule-AtMost = at most { $value }
Rule-Below = below { $value }
Rule-Between = from { $first } to { $second }
Rule-OneOf = { $first } or { $second }
Rule-MultipleOf = a multiple of { $value }
Rule-AlignedAtLeast = a multiple of { $multiple }, at least { $least }
Rule-Product = { $value }
Rule-Even = even
Rule-DivisorOfHeads = a divisor of the heads
Rule-HeadsOfStride = { $heads } of stride { $stride }
Rule-BelowOnce = below { $value }, and once
Rule-OnePerWidth = one for each width
Rule-Fewer = fewer
Rule-Dense = dense
Rule-DenseAtMost = at most { $most }, dense, of { $inputs } inputs
Rule-HeldByF16 = a value that f16 holds, at every index
Rule-OnDevice = one on the GPU
Rule-Addressable = few enough for every element to have an address
Rule-Memory = as few as fit memory: { SIZE($needed, unit: "GB", digits: 0) } were requested
DriverCall-FreeMemory = query the free memory
DriverCall-DriverVersion = query the driver's version
DriverCall-Describe = query the GPU's properties
DriverCall-ListGpus = look for GPUs
DriverCall-OpenGpu = open the GPU
DriverCall-LoadKernels = load the kernels
DriverCall-FindKernel = find a kernel
DriverCall-Kernel = launch the kernel `{ $value }`
DriverCall-EncodeTensorMap = encode a tensor map
DriverCall-CopyFrom = copy from the GPU
DriverCall-CopyTo = copy to the GPU
DriverCall-CopyWithin = copy within the GPU
DriverCall-Transfer = transfer to the next stage
DriverCall-Allocate = allocate memory
DriverCall-AllocatePinned = allocate pinned host memory
DriverCall-SetMemory = set memory
DriverCall-Capture = capture a CUDA graph
DriverCall-LaunchGraph = launch a CUDA graph
DriverCall-Measure = measure
DriverCall-PrepareCublas = prepare cuBLAS
DriverCall-Gemm = multiply with cuBLAS
DriverCall-Synchronize = wait for the GPU

# moss-bench
BenchError-NothingMeasured = nothing was measured
BenchError-NoAnswer = the model returned no result
BenchError-NoLogits = the model returned no logits
BenchError-NoExpectedValues = cannot read `{ $file }`
    .hint = `verify` needs expected.json and expected.safetensors next to the weights, or `--expected DIR`
BenchError-Read = cannot read `{ $file }`
BenchError-Decode = cannot read `{ $file }`
BenchError-Json = cannot read `{ $file }`
BenchError-Safetensors = cannot read `{ $file }`
BenchError-TensorType = tensor `{ $name }` in `{ $file }` is { $found }, expected F32, I32 or I64
BenchError-MissingTensor = the expected values have no tensor `{ $name }`
BenchError-MissingPrompt = the expected values refer to prompt { $index }, which does not exist
BenchError-Positions = tensor `{ $name }` has { $found } positions, expected { $expected }

# moss
BuildError-Declined = `{ $name }` is not on this machine, and the download was declined
BuildError-NotNative = `model()` returns the native model, but the builder selects the candle engine
    .hint = call `find()?.language_model(positions)`
BuildError-NoTokenizer = `{ $folder }` has no tokenizer (vocab.json, merges.txt)
    .hint = put the published tokenizer files there
BuildError-NotAPluginModel = `{ $name }` was not trained with plugins
    .hint = use a plugin model, such as `moss-moon-003-sft-plugin-int4`
BuildError-Threads = cannot start the kernel threads
