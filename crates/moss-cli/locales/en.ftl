# Texts of the command line. One message a line; `.hint` is an instruction to the user.

# Argument values
ArgError-Seconds = expected a number of seconds
ArgError-SecondsAboveZero = expected a number of seconds, 0 or more
ArgError-AboveZero = expected a number above 0
ArgError-AtLeast = expected a whole number of at least { $min }
ArgError-Range = expected a whole number from { $min } to { $max }
ArgError-Bits = expected 4 or 8
ArgError-Speculation = expected `auto`, `off`, or a whole number from 1 to { $max }
ArgError-Size = expected a whole number from 1 to { $max }, or a range of them such as `1-{ $max }`
ArgError-ReversedRange = the range begins with { $first } and ends with { $last }, expected the smaller number first

# Labels
label-error = {"error: "}
label-hint = {"hint: "}
label-warning = {"warning: "}
plain = { $value }
indented = {"  "}{ $text }
Unwritable = cannot write to stdout
Unanswered = cannot answer

# Files and input
cannot-read = cannot read `{ $file }`
cannot-read-stdin = cannot read stdin
stdin-not-text = cannot read stdin as text
cannot-write = cannot write `{ $file }`
file-exists = `{ $file }` already exists
    .hint = use another file name, or replace the file with `--force`
cannot-watch-interrupts = cannot handle Ctrl-C

# Opening a model
cannot-open-checkpoint = cannot open the checkpoint
cannot-load-model = cannot load the model
cannot-start-threads = cannot start the kernel threads
model-folder = model: { $folder }
no-tokenizer = `{ $folder }` has no tokenizer (vocab.json, merges.txt)
    .hint = put the published tokenizer files there, or use `generate --ids`
not-a-plugin-model = `--plugins`: `{ $name }` was not trained with plugins
    .hint = use a plugin model, such as `--model moss-moon-003-sft-plugin-int4`
engine-native-only = `{ $command }` supports the native engine only, found `--engine candle`
    .hint = omit `--engine`; `moss-cli verify --reference DIR` compares both engines
gpu-list = `--gpu { $list }`: expected GPU numbers or `cpu`, separated by commas
    .hint = `--gpu 0` is the first GPU, `--gpu 0,1,2,3` splits the layers over four GPUs
gpu-not-compiled = `--gpu { $list }`: this build has only CPU kernels
    .hint = build with `cargo build --release --features cuda` for GPUs; `--gpu cpu` works with this build
no-mmap-memory = `--no-mmap`: the weight files need { SIZE($needed, unit: "GB", digits: 1) } of memory, { SIZE($free, unit: "GB", digits: 1) } are available
    .hint = omit `--no-mmap`
candle-memory = `--engine candle` copies the weights: the files need { SIZE($needed, unit: "GB", digits: 1) } of memory, { SIZE($free, unit: "GB", digits: 1) } are available
    .hint = use a quantized checkpoint, or `--engine native`, which maps the files
loading-stage = stage { $stage }, { $device }, layers { $first } to { $last }: { $weights } weights + { $embedding } embedding + { $cache } cache + { $workspace } workspace = { $needed }; { $free } free
note-left-out = note: { $device } is not used: { $why }
note-not-needed = all layers fit on the GPUs
note-too-small = its memory does not fit a layer
note-no-layers-left = there are fewer layers than devices
note-no-faster = it would not make the slowest stage faster
note-embedding-on-host = note: the embedding stays in host memory, so that the first stage fits
note-on-cpu = note: the { $layers } layer(s) on the CPU take { FIXED($ms, digits: 0) } of { FIXED($of_ms, digits: 0) } ms per token (predicted)

# The prompt cache
prompt-cache-off = the prompt cache is off
    .hint = omit `--prompt-cache off`, or name a folder
prompt-cache-used = { $tokens } tokens of the system prompt were read from the prompt cache
prompt-cache = { $folder }: { $count } file(s), { $total }
prompt-cache-file = { $model }: { $tokens } tokens, { $bytes }, used { $unused }
prompt-cache-cleared = { $count } file(s) removed, { $total }
seconds-ago = { $count } s ago
minutes-ago = { $count } min ago
hours-ago = { $count } h ago
days-ago = { $count } days ago

# Download
download-ask = Download it? [y/N]
download-cannot-ask = `{ $model }` is not on this machine, and there is no terminal on which to ask whether to download it
    .hint = `--yes` downloads without asking, as does `moss-cli download { $model }`; you can also put the files into ./{ $model }; `--demo` starts immediately, with a small demo model
download-declined = `{ $model }` is not on this machine, and the download was declined
    .hint = `moss-cli download { $model }` downloads it at any time; `--demo` starts immediately, with a small demo model
download-waiting = another process is downloading { $file }; waiting
download-status = { $percent }%, { $done } / { $total }, { $rate }/s, { $left } left
download-stalled = { $percent }%, { $done } / { $total }, stalled
download-retrying = { $file }: { $fault }; retrying in { FIXED($seconds, digits: 0) } s
download-verifying = { $file }: verifying
verified-by-listing = { $files } files, { $bytes }: all match the hub's listing
verified-by-cache = { $files } files, { $bytes }: all match the hashes in the cache
unchecked = not verified, because the hash on the hub is needed: { $path }
damaged = files of `{ $id }` in the cache are damaged or missing:{ $list }
    .hint = `moss-cli download { $id } --verify --yes` downloads these files again
repairing = downloading again:{ $list }
partial-download = the download of `{ $model }` in the cache is incomplete: { $missing } is missing

# Chat
interrupt-again = (press Ctrl-C again to exit, or Ctrl-D)
still-stopping = (stopping after the current forward pass; Ctrl-\ ends the program)
discarded = (the message was discarded)
multi-ends = (a line with a single dot ends the message, Ctrl-C discards it)
took-back = (removed: { $user })
nothing-to-take-back = (there is no turn to remove)
conversation-kept = (the conversation is kept: `/regen` answers again, `/undo` removes the last turn)
published-system = (MOSS's meta instruction)
saved = ({ $turns } turn(s) in `{ $file }`)
loaded = ({ $turns } turn(s))
window = context: { $used } of { $window } tokens, { $turns } turn(s)
turns-dropped = (the context window is full: the model no longer sees the { $count } oldest turn(s))
thoughts = [thoughts]
commands = [commands]
results = [results]
calls-stopped = (the calls were stopped)
call-failed = no result of { $call }: { $reason }
image-saved = (the picture is in { $file })
image-save-failed = the picture was not saved
image-not-saved = (the picture was not saved: pass `--images DIR`)
too-many-images = { $folder } has too many pictures
plugin-command-form = found `--plugin-command { $found }`, expected NAME=COMMAND with a name of letters and digits
search-not-configured = plugin `web-search` is enabled and not configured
    .hint = pass `--search-url URL` or `--search-command COMMAND`, or enter results yourself with `--plugins-by-hand`
image-not-configured = plugin `text-to-image` is enabled and not configured
    .hint = pass `--image-url URL`, or enter results yourself with `--plugins-by-hand`
give-results = (enter the results with `/results TEXT`)
line-not-utf8 = line { $line } is not valid UTF-8 at offset { $offset } (byte { HEX($byte, digits: 2) }); the line was dropped
    .hint = { -set-utf8 }
typed-not-utf8 = the input is not valid UTF-8; the line was dropped
    .hint = { -set-utf8 }
edited-not-utf8 = the input is not valid UTF-8; the line and the text typed after it were dropped
    .hint = { -set-utf8 }
-set-utf8 = set the terminal and the locale to UTF-8 (`export LANG=C.UTF-8`), or convert the input: `iconv -f GBK -t UTF-8`
unknown-command = unknown command `{ $name }`
    .hint = `/help` lists the commands; to send a message that starts with `/`, put a space before it
command-needs-file = `{ $name }` needs a file
    .hint = { -see-help }
command-needs-text = `{ $name }` needs a text
    .hint = { -see-help }
command-needs-nothing = `{ $name }` takes no arguments
    .hint = { -see-help }
-see-help = `/help` lists the commands
unknown-parameter = unknown parameter `{ $key }`
    .hint = { -see-params }
parameter-value = invalid value `{ $value }` for `{ $key }`
    .hint = { -see-params }
-see-params = `/params` lists all parameters; `none` removes a limit
processing-prompt = processing the prompt
last-answer-drafts = { $answer }; { $accepted } of { $drafted } draft tokens accepted
last-answer = last answer: { $prompt } prompt tokens ({ $reused } from the cache, { $run } processed in { FIXED($seconds, digits: 2) } s), { $generated } generated at { FIXED($rate, digits: 1) } tok/s
cannot-edit-lines = cannot edit lines on this terminal
cannot-read-terminal = cannot read from the terminal
ended-cancelled = (stopped)
ended-time-limit = (the time limit was reached)
ended-prompt-time = (the time limit for prefill was reached)
ended-window-full = (the context window is full)
ended-max-tokens = (--max-new-tokens was reached)
no-answer-first-token = (no answer: the time limit was reached before the first token; raise it with `--max-time`, or `/params max_time` in a chat)
no-answer-time-limit = (no answer: the time limit was reached before any text; raise it with `--max-time`, or `/params max_time` in a chat)
no-answer-prompt-time = (no answer: the time limit for prefill was reached)
no-answer-window-full = (no answer: the prompt fills the context window; shorten it, or forget earlier turns with `clear`)
no-answer-max-tokens = (no answer: --max-new-tokens was reached after { $generated } token(s), before any text; raise it with `--max-new-tokens`, or `/params max_new_tokens` in a chat)
no-answer-by-model = (no answer: the model ended its turn immediately, without text; ask again, or use `/regen` in a chat)
no-answer-stop-text = (no answer: the stop text "{ $text }" was generated first)

# generate, tokenize, logits, man
cannot-generate = cannot generate
ended-without-answer = the engine stopped without an answer
no-message = no message given
    .hint = pass one: `moss-cli generate "hello"`, or pipe it to stdin
tokenize-line = expected {"{"}"text": …{"}"} or {"{"}"ids": […]{"}"}
no-logits = the model returned no logits
unknown-subcommand = unknown subcommand `{ $name }`
    .hint = `moss-cli --help` lists them

# serve
serve-threads = cannot start the server's threads
cannot-listen-on = cannot listen on { $address }
    .hint = another program may use the port: choose another one with `--port`
cannot-listen = cannot listen
cannot-watch-signals = cannot handle signals
server-failed = the server failed
engine-failed = the engine failed
key-needed = `--host { $host }` allows other machines to connect, but there is no API key
    .hint = set a key with `--api-key-file` or MOSS_API_KEY, or allow access without one with `--no-key`
no-key-in-file = `{ $file }` contains no API key
    .hint = write one key per line, with a name before it: `NAME KEY`
key-of-flag = the API key { $number } of `--api-key` or MOSS_API_KEY { $fault }
key-file-exposed = all users of this machine can read `{ $file }`; restrict it with `chmod 600`
cors-origin = `--cors-origin { $text }` is not an origin as browsers send it
    .hint = { $sent ->
        [none] for example `https://chat.example` or `http://localhost:3000`; repeat the flag for several origins
       *[other] use `{ $sent }`
    }
allow-host = `--allow-host { $text }` is not a host name
    .hint = give only the name or address, without scheme, port and wildcards; repeat the flag for several hosts
listening = listening on { $url } (web page; the API is under /v1, its documentation under /docs)
listening-on-interface = listening on { $url } ({ $interface })
key-required = API key: required (`Authorization: Bearer KEY`; the page asks for it)
no-key = API key: not required
no-key-beyond = API key: not required; anyone who can connect to these addresses can use this server
tunnel = from another machine: `{ $command }`, then open { $url } there
ready = ready: { $name }
draining = stopping: running answers are finished first (another signal ends them)

# convert, quantize, eval
checking = verifying
converting = converting
kept-shard = kept `{ $file }` of an earlier run
wrote = wrote `{ $folder }`
quantizing = quantizing
quantizing-with = quantizing with { $tokens } calibration tokens
built-in-calibration = calibrating with { $texts } short dialogues that are part of this program; use `--calibration FILE` for text of your domain
rounding-to-nearest = rounding to nearest, without calibration
perplexity-not-measured = the perplexity of `{ $folder }` was not measured (`moss-cli eval --gpu cpu` needs no GPU): { $causes }
quantize-columns = relative squared error of | weights | outputs
not-measured = not measured
quantize-perplexity = perplexity: { $before } before, { $after } after ({ $tokens } tokens)
eval-perplexity = perplexity
eval-reference = reference
eval-kl = { $kl } nats per token
eval-top1 = same top token
eval-value = { FIXED($value, digits: 4) } ({ $tokens } tokens, windows of { $window } every { $stride })

# inspect
inspect-format = format    { $format }
inspect-weights = weights   { $tensors } tensors, { $bytes } in { $files } file(s)
inspect-tokens = tokenizer { $tokens } tokens
inspect-no-tokenizer = tokenizer none
inspect-warning = warning   { $found }
inspect-problem = problem   { $found }
inspect-network = network   { $num_layers } layers, hidden size { $hidden_size }, { $num_heads } heads of { $head_dim }, rotary { $rotary_dim }, MLP { $inner_size }, vocabulary { $vocab_size }, context length { $context_length }
inspect-cache = cache     { FIXED($kib, digits: 1) } KiB per token in f16
inspect-rows = the tokenizer has { $tokens } tokens, but the model has { $rows } embedding rows
format-unknown = unknown
format-count = { $format } ({ $count } linear layers)
format-mixed = mixed: { $parts }
format-gptq = GPTQ int{ $bits }, group { $group }
format-gptq-act-order = { $format }, act-order
format-gptq-v2 = { $format }, gptq_v2 zero points

# verify
verify-difference = largest difference { $difference }, allowed { $allowed }
verify-best-logit = top logit of each position
verify-logsumexp = logsumexp of each position
verify-positions-off = { $count } position(s) differ
verify-best-token = top token
verify-top-token = top token
verify-top-token-right = { $right } of { $total } positions agree
verify-hidden = hidden states ({ $worst })
verify-none = none
verify-greedy = greedy paths
verify-greedy-right = { $right } of { $total } equal, token for token
verify-sampling = sampling sets
verify-sampling-right = { $right } of { $total } with the same tokens
verify-probabilities = sampling probabilities

# plan
plan-title = { $name }, { $format }, { $layers } layers, context { $positions }
plan-columns = stage | device | layers | weights | embedding | cache | workspace | free after
plan-conversations = KV cache of { $tokens } tokens: { $full } conversations of { $context } tokens, or { $typical } of { $of }; `serve` generates up to { $parallel } answers at the same time
plan-conversations-cpu = memory for a KV cache of { $tokens } tokens: { $full } conversations of { $context } tokens, or { $typical } of { $of }; `serve` generates up to { $parallel } answers at the same time, and uses { $default } tokens unless you pass `--cache-tokens`
plan-rate = predicted: at most { FIXED($empty, digits: 1) } tok/s, { FIXED($full, digits: 1) } with a full cache (memory bandwidth divided by bytes read)
plan-first-token = predicted: first token of a { $prompt }-token prompt after { FIXED($seconds, digits: 2) } s (at { $share } of the tensor cores' f16 peak, measured with the same kernels on an H200)
plan-first-token-unknown = first token of a { $prompt }-token prompt: not predicted, because a device's arithmetic peak is unknown
plan-data-sheets = nominal values of the GPUs, minus { $driver } GiB for the driver and { $display } GiB for a display on RTX GPUs
gpu-too-old = `{ $name }` has compute capability { $capability }, expected 7.5 or higher
    .hint = the T4, the RTX 20 series and newer GPUs are supported
unknown-gpu = unknown GPU `{ $name }`
    .hint = `--cards` accepts { $names } and cpu
no-such-gpu = there is no GPU { $ordinal }, found { $found } GPU(s)
    .hint = `nvidia-smi -L` lists the GPUs; `--cards t4,t4` plans for GPUs of another machine
memory-unknown = this system does not report its available memory
    .hint = set it: `--cpu-memory 64` for 64 GB
conflicting-gpu-flags = `--cards` and `--gpu` cannot be used together
    .hint = use `--cards` for GPUs by name, or `--gpu` for GPUs of this machine
plan-context = `--context { $positions }`: expected 1 to the model's context length { $window }
    .hint = omit it for the whole context length

# bench
bench-columns = prompt | prefill ms | tok/s | decode ms | tok/s | GB/s | share
bench-stage = stage { $index }  { $device }, layers { $first } to { $last }, { $weights } per token; { $what }
bench-bandwidth = bandwidth { FIXED($bandwidth, digits: 1) } GB/s (of this memory, measured in this run)
bench-cpu = { $threads } threads, { $isa }
bench-cpu-int8 = { $threads } threads, { $isa }, 8-bit activations
bench-gpu = { $name }, { $code } code, driver for CUDA { VERSION($cuda) }, clocks up to { $clock } and { $memory_clock } MHz; { $taken } of { $free } free memory used, { $others } used by other programs and the idle context
bench-loaded = loaded in { FIXED($seconds, digits: 2) } s
bench-loaded-gpus = { $loaded }, the weights of the GPUs in { FIXED($seconds, digits: 2) } s, { FIXED($rate, digits: 1) } GB/s
bench-upload = { $loaded }; host memory to GPU { FIXED($rate, digits: 1) } GB/s (pinned, measured in this run)
bench-clients = { $clients } concurrent requests, { $prompt } prompt and { $new } new tokens each: { FIXED($rate, digits: 1) } tok/s in total
bench-first-token = {"     "}time to first token { $p50 } ms (median), { $p90 } (90 %), { $p99 } (99 %), { $max } (maximum)
bench-per-token = {"     "}time per output token { $p50 } ms (median), { $p90 } (90 %), { $p99 } (99 %), { $max } (maximum)
bench-arrival = {"     "}when a prompt of { $prompt } tokens arrives: largest gap { $largest } ms ({ FIXED($gaps, digits: 2) } times the median of { $median } ms before); its first token after { $first } ms ({ FIXED($firsts, digits: 2) } times that of { $alone } ms alone)
bench-reuse-turn = second turn, compared with an unknown prompt
bench-reuse-prefix = shared prefix, compared with the same prompt again
bench-reuse = { $case }: { $reused } of { $prompt } prompt tokens in the cache; first token after { FIXED($first, digits: 1) } ms, { FIXED($ratio, digits: 3) } times { FIXED($other, digits: 1) } ms
bench-drafts-repetition = reply that repeats its prompt
bench-drafts-random = random reply
bench-drafts = { $reply }, { $prompt } prompt and { $new } new tokens: { FIXED($plain, digits: 1) } tok/s without drafts, { FIXED($rate, digits: 1) } with drafts ({ FIXED($speedup, digits: 2) } times); { $accepted } of { $drafted } accepted ({ FIXED($acceptance, digits: 2) })
bench-batch-columns = sequences | context | step ms | tok/s | floor ms | share
bench-cliff = cliff: a step of { $sequences } sequences takes { FIXED($ratio, digits: 2) } times as long as one of { $next }
bench-no-cliff = no cliff: a step of any size takes at most { FIXED($ratio, digits: 2) } times as long as one of the next larger size
bench-batch-limit = the memory holds the cache of { $sequences } sequences of { $positions } tokens each; larger sizes were not measured
bench-batch-memory = the smallest size of `--batch` is { $smallest } sequences of { $positions } tokens each, the memory holds the cache of { $sequences }
    .hint = use a shorter `--prompt`, or smaller sizes
bench-timeline = { $what }, { FIXED($ms, digits: 2) } ms; the digit is the micro-batch
bench-timeline-stage = stage { $stage } |{ $line }| { $share } % busy
bench-prompt = a prompt of { $prompt } tokens
bench-token = a token after { $prompt }
bench-window = { $prompt } prompt tokens and { $new } new tokens exceed the context length { $window }
    .hint = use fewer: `--prompt 512 --new 16`
bench-random-weights = random weights, { $format }, { $layers } layers
bench-memory = the weights of { $layers } layers need { FIXED($needed, digits: 1) } GB of memory, { FIXED($found, digits: 1) } GB are available
    .hint = use fewer: `--layers { $fewer }`
bench-one-gpu = `--kernels` times the kernels of one GPU
    .hint = select one with `--gpu 0`, in a build with `--features cuda`
bench-positions = `--kernels`: the number of positions is { $found }, expected 2 to { $window }
    .hint = omit `--prompt`, or use `--prompt 512`
bench-step = one token at context { $context }
bench-step-rows = a step of { $rows } sequences at context { $context }
bench-kernels = { $device }: { $format }, { $layers } layers; copy bandwidth { FIXED($rate, digits: 1) } GB/s, measured in this run
bench-kernel-columns = kernel | runs | bytes | us each | GB/s | TFLOP/s | share
bench-sum = sum of runs { FIXED($sum, digits: 1) } us; 1 - sum / whole = { FIXED($rest, digits: 3) }

# doctor
doctor-program = program
doctor-with-cuda = moss-cli { $version }, with CUDA
doctor-cpu-only = moss-cli { $version }, CPU only
doctor-cpu = { $threads } threads, { $isa }; read bandwidth { FIXED($rate, digits: 1) } GB/s (measured)
doctor-terminal = terminal
doctor-utf8 = UTF-8 ({ $encoding }), locale { $locale }
doctor-not-utf8 = not UTF-8 ({ $encoding }): Chinese text may not be shown; use `export LANG=C.UTF-8`
doctor-models = models in
doctor-place = { $folder }, { $free } free
doctor-not-here = { $name }: not found
doctor-driver = driver
doctor-no-driver = no NVIDIA driver found
doctor-libraries = libraries
doctor-no-cublas = not found; needed by `quantize --gpu` only: { $reason }
doctor-kernels = kernels
doctor-no-gpu = no usable GPU: { $error }
doctor-upper-bound = upper bound
doctor-rates = { $format }, { $bytes } per token: { $rates }
doctor-gpu-name = GPU
gpu-bus = at { $bus }
gpu-capability = compute capability { $capability }
gpu-memory = { $free } of { $total } free
gpu-clocks = clocks { $now } of { $most } MHz, memory { $memory_now } of { $memory_most } MHz
gpu-ecc-on = ECC on
gpu-ecc-off = ECC off
gpu-pcie = { $link } of { $best }
gpu-nvlinks = { $count } NVLinks up
doctor-copies = copy bandwidth { FIXED($rate, digits: 1) } GB/s (measured)
doctor-cannot-run = cannot run: { $error }
doctor-kernels-of = GPU { $ordinal }, { $name }: { $code } code, driver for CUDA { VERSION($cuda) }; { $state }
doctor-selftest = self-test
doctor-kernel-cases = { $verdict } GPU { $ordinal }: { $right } of { $total } kernel cases agree with the CPU
doctor-case = { $kernel } ({ $shape }): { $error }, allowed { $allowed } ({ $reason })
doctor-case-differs = { $case }, results differ between runs
doctor-transcript = { $verdict } { $device }: transcript of the { $format } demo model
bench-title = { $title }: { FIXED($us, digits: 1) } us

# Several lines
damaged-file = { $name }: { $damage } ({ $path })
no-listing = the hub's file list is not available; comparing with the hashes in the cache
truncated =
    error: the weight file `{ $file }` can no longer be read: it was truncated while in use, or its disk failed
    hint: replace files by rename (write a new file, then `mv`), never in place; `--no-mmap` reads weights into memory instead
download-file = { $file }: { $size }{ $done ->
        [none] {""}
       *[other] , { $done } already downloaded
    }
download-plan =
    { $id }
      size     { $bytes } in { $count } files{ $done ->
        [none] {""}
       *[other] , { $done } already downloaded
    }
      licence  { $license } (of the weights)
      from     { $endpoint }
      to       { $folder }
    After Ctrl-C, the same command resumes the download.
chat-help =
    clear            start a new conversation and clear the screen
    stop, /quit      exit
    /help            show this list
    /regen           answer the last message again
    /undo            remove the last turn
    /system [TEXT]   show or set the system prompt; `/system -` restores MOSS's meta instruction
    /params [K V]    show or set generation parameters, such as `/params temperature 0.5`
    /save FILE       save the conversation as JSON; `/save --force FILE` replaces a file
    /load FILE       continue a saved conversation
    /stats           show tokens, times, and the use of the context window
    /multi           enter several lines, ended by a line with a single dot
    /results TEXT    give a plugin model the results of its commands
    Ctrl-C           stop an answer, or clear the line (Ctrl-Y restores it); twice on an empty line: exit
    Ctrl-D           on an empty line: exit, or end a message of several lines
    Text that you type during an answer is shown at the next prompt.
plugin-ready = ready
plugin-needs-search = not configured: `--search-url URL` or `--search-command COMMAND`
plugin-needs-image = not configured: `--image-url URL`
plugin-without-api = its API was never published
plugin-own = ready, a program of `--plugin-command`
plugins-explained =
    Plugin models (moss-moon-003-sft-plugin and its quantized forms) write thoughts, then commands
    such as Calculate("1+2"), and then wait. This program runs the commands, adds their results to
    the conversation, and the model writes its answer. `--plugins LIST` enables plugins; without it,
    none runs.

    calculator        Computes in this program, with the numbers of Python: + - * / // % ^, sqrt, sin,
                      log, round, max and others; `a=2;a*3` has the value of its last statement.
    equation-solver   Solves in this program: linear systems exactly, and the roots of one polynomial.
    web-search        Sends the model's query to the SearXNG server of `--search-url`, or to the
                      stdin of the program of `--search-command`. Up to three results are used.
    text-to-image     Sends the model's description to the OpenAI-compatible API of `--image-url`.
                      `--images DIR` saves the pictures.
    NAME              Sends the argument to the stdin of the program of `--plugin-command NAME=…`.

    No other server is contacted. Redirects are followed to public addresses only. Results are
    text of strangers: they are shortened, control characters are removed, and they cannot contain
    special tokens; but a model may repeat or follow what they say.

    `--plugins-by-hand` runs nothing: you enter the results with `/results TEXT`.
    `moss-cli plugins test` runs a call of each plugin, or the calls that you give.
