# Texts of the command line. One message a line; `.hint` is an instruction to the user.

# Argument values
ArgError-Seconds = expected a number of seconds
ArgError-SecondsAboveZero = expected a number of seconds above 0
ArgError-AboveZero = expected a number above 0
ArgError-AtLeast = expected a number from { $min } on
ArgError-Range = expected a number from { $min } to { $max }
ArgError-Bits = expected 4 or 8

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
file-exists = `{ $file }` exists already
    .hint = name another file, or replace that one with `--force`
cannot-watch-interrupts = cannot watch for Ctrl-C

# Opening a model
cannot-open-checkpoint = cannot open the checkpoint
cannot-load-model = cannot load the model
cannot-start-threads = cannot start the kernel threads
model-folder = model: { $folder }
no-tokenizer = `{ $folder }` holds no tokenizer (vocab.json, merges.txt)
    .hint = put the published tokenizer files there, or work with `generate --ids`
not-a-plugin-model = `--plugins`: `{ $name }` was not trained with plugins
    .hint = use a plugin model, such as `--model moss-moon-003-sft-plugin-int4`
engine-native-only = `{ $command }` uses the native engine only, found `--engine candle`
    .hint = leave out `--engine`; `moss-cli verify --reference DIR` compares both engines
gpu-list = `--gpu { $list }`: expected numbers or `cpu`, with commas between
    .hint = `--gpu 0` is the first GPU, `--gpu 0,1,2,3` shares the layers out over four
gpu-not-compiled = `--gpu { $list }`: this build has kernels for the CPU alone
    .hint = build with `cargo build --release --features cuda` for GPUs; `--gpu cpu` runs here
no-mmap-memory = `--no-mmap`: the weight files have { SIZE($needed, unit: "GB", digits: 1) }, { SIZE($free, unit: "GB", digits: 1) } of memory are available
    .hint = leave out `--no-mmap`
candle-memory = `--engine candle` copies the weights: the files have { SIZE($needed, unit: "GB", digits: 1) }, { SIZE($free, unit: "GB", digits: 1) } of memory are available
    .hint = use a quantized checkpoint, or `--engine native`, which maps the files
loading-stage = stage { $stage }, { $device }, layers { $first } to { $last }: { $weights } weights + { $embedding } embedding + { $cache } cache + { $workspace } workspace = { $needed }; { $free } free
note-left-out = note: { $device } is left out: { $why }
note-not-needed = everything fits on the GPUs
note-too-small = it has no room for a layer
note-no-layers-left = there are fewer layers than devices
note-no-faster = with it the slowest stage would be no faster
note-embedding-on-host = note: the embedding stays in host memory, to make the first stage fit
note-on-cpu = note: the { $layers } layer(s) on the CPU take { FIXED($ms, digits: 0) } of a token's { FIXED($of_ms, digits: 0) } ms (predicted)

# Download
download-ask = Download it? [y/N]
download-nobody-to-ask = `{ $model }` is not on this machine, and there is no terminal to ask whether to download it
    .hint = `--yes` downloads without asking, and so does `moss-cli download { $model }`; files may be put by hand into ./fnlp/NAME; `--demo` talks at once, with a tiny model
download-declined = `{ $model }` is not on this machine, and was not downloaded
    .hint = `moss-cli download { $model }` fetches it at any time; `--demo` talks at once, with a tiny model
download-waiting = another process is downloading { $file }; waiting for it
download-status = { $percent }%, { $done } / { $total }, { $rate }/s, { $left } left
download-stalled = { $percent }%, { $done } / { $total }, nothing comes at the moment
download-retrying = { $file }: { $fault }; again in { FIXED($seconds, digits: 0) } s
download-verifying = { $file }: verifying
verified-by-listing = { $files } files, { $bytes }: all match the hub's listing
verified-by-cache = { $files } files, { $bytes }: all match the hashes that the cache records
unchecked = not checked, the hub's hash is needed: { $path }
damaged = files of `{ $id }` in the cache are damaged or missing:{ $list }
    .hint = `moss-cli download { $id } --verify --yes` downloads these files again
repairing = downloading again:{ $list }
partial-download = the download of `{ $model }` in the cache is incomplete: { $missing } is missing

# Chat
interrupt-again = (press Ctrl-C again to exit, or Ctrl-D)
still-stopping = (stopping after the current step of the model; Ctrl-\ ends the program)
discarded = (the message was dropped)
multi-ends = (a line with a dot alone ends the message, Ctrl-C drops it)
took-back = (took back: { $user })
nothing-to-take-back = (there is nothing to take back)
conversation-kept = (the conversation is kept: `/regen` answers once more, `/undo` takes the last turn back)
published-system = (the published instruction)
saved = ({ $turns } turn(s) in `{ $file }`)
loaded = ({ $turns } turn(s))
window = window: { $used } of { $window } tokens, { $turns } turn(s)
turns-dropped = (the window is full: the { $count } oldest turn(s) are no longer seen by the model)
thoughts = [thoughts]
commands = [commands]
give-results = (give the results with `/results TEXT`)
line-not-utf8 = line { $line } is not UTF-8 at offset { $offset } (byte { HEX($byte, digits: 2) }); the line was dropped
    .hint = { -set-utf8 }
typed-not-utf8 = what was typed is not UTF-8; the line was dropped
    .hint = { -set-utf8 }
edited-not-utf8 = what was typed is not UTF-8; the line was dropped, with all that was typed ahead behind it
    .hint = { -set-utf8 }
-set-utf8 = set the terminal and the locale to UTF-8 (`export LANG=C.UTF-8`), or convert the input: `iconv -f GBK -t UTF-8`
unknown-command = unknown command `{ $name }`
    .hint = `/help` lists the commands; to send a message that starts with `/`, put a space before it
command-needs-file = `{ $name }` needs a file
    .hint = { -see-help }
command-needs-text = `{ $name }` needs a text
    .hint = { -see-help }
command-needs-nothing = `{ $name }` takes nothing behind it
    .hint = { -see-help }
-see-help = `/help` lists the commands
unknown-parameter = unknown parameter `{ $key }`
    .hint = { -see-params }
parameter-value = `{ $value }` is no value for `{ $key }`
    .hint = { -see-params }
-see-params = `/params` alone shows them all; `none` takes a limit away
reading-prompt = processing the prompt
last-answer = last answer: { $prompt } prompt tokens ({ $reused } from the cache, { $run } run in { FIXED($seconds, digits: 2) } s), { $generated } generated at { FIXED($rate, digits: 1) } tok/s
cannot-edit-lines = cannot edit lines at this terminal
cannot-read-terminal = cannot read from the terminal
ended-cancelled = (stopped)
ended-time-limit = (the time limit has passed)
ended-prompt-time = (the prompt was not processed within its time limit)
ended-window-full = (the context window is full)
ended-max-tokens = (as long as --max-new-tokens allows)
ended-by-model = (the model ended its answer)
ended-stop-text = (a stop text was reached)
no-answer-first-token = (no answer: the time limit passed before the first token; `--max-time`, or `/params max_time` in a chat, raises it)
no-answer-time-limit = (no answer: the time limit passed before any text; `--max-time`, or `/params max_time` in a chat, raises it)
no-answer-prompt-time = (no answer: the prompt was not processed within its time limit)
no-answer-window-full = (no answer: the prompt fills the context window; shorten it, or forget earlier turns with `clear`)
no-answer-max-tokens = (no answer: --max-new-tokens was reached after { $generated } token(s), before any text; `--max-new-tokens`, or `/params max_new_tokens` in a chat, raises it)
no-answer-by-model = (no answer: the model ended its turn at once, without text; ask again, or `/regen` in a chat)
no-answer-stop-text = (no answer: the stop text "{ $text }" came first)

# generate, tokenize, logits, man
cannot-generate = cannot generate
ended-without-answer = the engine ended without an answer
no-message = there is no message
    .hint = give one: `moss-cli generate "hello"`, or pipe it in
tokenize-line = expected {"{"}"text": …{"}"} or {"{"}"ids": […]{"}"}
no-logits = the model gave no logits
unknown-subcommand = unknown subcommand `{ $name }`
    .hint = `moss-cli --help` lists them

# serve
serve-threads = cannot start the server's threads
cannot-listen-on = cannot listen on { $address }
    .hint = another program may have the port: choose one with `--port`
cannot-listen = cannot listen
cannot-watch-signals = cannot watch for signals
server-failed = the server failed
engine-failed = the engine has failed
key-needed = `--host { $host }` lets other machines in, and there is no key
    .hint = give one with `--api-key-file` or MOSS_API_KEY, or say `--no-key`
no-key-in-file = `{ $file }` holds no key
    .hint = write one a line
cors-origin = `--cors-origin { $text }` is not what a browser sends as an origin
    .hint = { $sent ->
        [none] such as `https://chat.example` or `http://localhost:3000`; give the flag again for another one
       *[other] write `{ $sent }`
    }
allow-host = `--allow-host { $text }` is no host name
    .hint = give the name or address alone, without scheme, port and wildcards; give the flag again for another one
listening = listening on { $url } (the page; the API is under /v1, its description under /docs)
listening-on-interface = listening on { $url } ({ $interface })
key-required = API key: required (`Authorization: Bearer KEY`; the page asks for it)
no-key = API key: not required
no-key-beyond = API key: not required; anyone who can connect to these addresses can use this server
tunnel = from another machine: `{ $command }`, then open { $url } there
ready = ready: { $name }
draining = stopping: running answers are finished first (once more ends them)

# convert, quantize, eval
checking = checking
converting = converting
kept-shard = kept `{ $file }` of an earlier run
wrote = wrote `{ $folder }`
quantizing = quantising
quantizing-with = quantising with { $tokens } calibration tokens
built-in-calibration = calibrating with { $texts } short dialogues that come with this program; `--calibration FILE` takes text of your model's kind
rounding-to-nearest = rounding to the nearest, without calibration
perplexity-not-measured = the perplexity of `{ $folder }` was not measured (`moss-cli eval --gpu cpu` needs no GPU): { $causes }
quantize-columns = squared error, share of | weights | outputs
not-measured = not measured
quantize-perplexity = perplexity { $before } before, { $after } after ({ $tokens } tokens)
eval-perplexity = perplexity
eval-reference = of the reference
eval-kl = { $kl } nats a token
eval-top1 = same best token
eval-value = { FIXED($value, digits: 4) } ({ $tokens } tokens, windows of { $window } every { $stride })

# inspect
inspect-format = format    { $format }
inspect-weights = weights   { $tensors } tensors, { $bytes } in { $files } file(s)
inspect-tokens = tokenizer { $tokens } tokens
inspect-no-tokenizer = tokenizer none
inspect-warning = warning   { $found }
inspect-problem = problem   { $found }
inspect-network = network   { $num_layers } layers, { $hidden_size } wide, { $num_heads } heads of { $head_dim }, rotary { $rotary_dim }, inner { $inner_size }, vocabulary { $vocab_size }, window { $context_length }
inspect-cache = cache     { FIXED($kib, digits: 1) } KiB a token in f16
inspect-rows = the tokenizer has { $tokens } tokens, the model { $rows } rows
format-unknown = unknown
format-count = { $format } ({ $count } linear layers)
format-mixed = mixed: { $parts }
format-gptq = GPTQ int{ $bits }, group { $group }
format-gptq-act-order = { $format }, act-order
format-gptq-v2 = { $format }, gptq_v2 zero points

# verify
verify-difference = largest difference { $difference }, allowed { $allowed }
verify-best-logit = best logit of each position
verify-logsumexp = logsumexp of each position
verify-positions-off = { $count } position(s) off
verify-best-token = best token
verify-top-token = most likely token
verify-top-token-right = { $right } of { $total } positions agree
verify-hidden = hidden states ({ $worst })
verify-none = none
verify-greedy = greedy paths
verify-greedy-right = { $right } of { $total } token for token
verify-sampling = sampling sets
verify-sampling-right = { $right } of { $total } with the same tokens
verify-probabilities = sampling probabilities

# plan
plan-title = { $name }, { $format }, { $layers } layers, context { $positions }
plan-columns = stage | device | layers | weights | embedding | cache | workspace | free after
plan-rate = predicted: at most { FIXED($empty, digits: 1) } tok/s, { FIXED($full, digits: 1) } with a full cache (bytes read, by the memory's bandwidth)
plan-first-token = predicted: first token of a { $prompt }-token prompt after { FIXED($seconds, digits: 2) } s (at { $share } of the tensor cores' f16 peak, as an H100 reaches)
plan-first-token-unknown = first token of a { $prompt }-token prompt: not predicted, a device's arithmetic is not known
plan-data-sheets = nominal figures of the GPUs, less { $driver } GiB for the driver and { $display } GiB for a display on RTX cards
gpu-too-old = `{ $name }` has compute capability { $capability }, the kernels need 7.5 or more
    .hint = GPUs from the T4 and the RTX 20 series on will do
unknown-gpu = unknown GPU `{ $name }`
    .hint = `--cards` knows { $names } and cpu
no-such-gpu = there is no GPU { $ordinal }, { $found } found
    .hint = `nvidia-smi -L` lists those there are; `--cards t4,t4` plans for GPUs that are elsewhere
memory-unknown = this system does not say how much memory is available
    .hint = say it: `--cpu-memory 64` for 64 GB
cards-and-gpu = `--cards` and `--gpu` both say where the layers go
    .hint = `--cards` is for GPUs by name, `--gpu` for those of this machine
plan-context = `--context { $positions }`: expected 1 to the model's window of { $window }
    .hint = leave it out for the whole window

# bench
bench-columns = prompt | prefill ms | tok/s | decode ms | tok/s | GB/s | share
bench-stage = stage { $index }  { $device }, layers { $first } to { $last }, { $weights } a token; { $what }
bench-bandwidth = bandwidth { FIXED($bandwidth, digits: 1) } GB/s (the memory's own, measured in this run)
bench-cpu = { $threads } threads, { $isa }
bench-cpu-int8 = { $threads } threads, { $isa }, 8-bit activations
bench-gpu = { $name }, { $code } code, driver for CUDA { VERSION($cuda) }, clocks up to { $clock } and { $memory_clock } MHz; { $taken } taken of { $free } free, { $others } by others and the idle context
bench-loaded = loaded in { FIXED($seconds, digits: 2) } s
bench-loaded-gpus = { $loaded }, the weights of the GPUs in { FIXED($seconds, digits: 2) } s, { FIXED($rate, digits: 1) } GB/s
bench-upload = { $loaded }; host memory to the GPU { FIXED($rate, digits: 1) } GB/s (page-locked, measured in this run)
bench-clients = { $clients } at once, { $prompt } prompt and { $new } new tokens each: { FIXED($rate, digits: 1) } tok/s in all, first token after { FIXED($median, digits: 0) } ms, at most { FIXED($longest, digits: 0) } ms
bench-timeline = { $what }, { FIXED($ms, digits: 2) } ms; the digit is the pass
bench-timeline-stage = stage { $stage } |{ $line }| { $share } % busy
bench-prompt = a prompt of { $prompt } tokens
bench-token = a token after { $prompt }
bench-window = { $prompt } prompt and { $new } new tokens do not fit the window of { $window }
    .hint = take fewer: `--prompt 512 --new 16`
bench-random-weights = random weights, { $format }, { $layers } layers
bench-memory = weights of { $layers } layers take { FIXED($needed, digits: 1) } GB of memory, { FIXED($found, digits: 1) } GB are available
    .hint = take fewer: `--layers { $fewer }`
bench-one-gpu = `--kernels` times the kernels of one GPU
    .hint = name one: `--gpu 0`, in a build with `--features cuda`
bench-positions = `--kernels` takes 2 to { $window } positions, found { $found }
    .hint = leave `--prompt` out, or take `--prompt 512`
bench-step = one token at context { $context }
bench-kernels = { $card }: { $format }, { $layers } layers; copy { FIXED($rate, digits: 1) } GB/s, measured in this run
bench-kernel-columns = kernel | runs | bytes | us alone | GB/s | TFLOP/s | share
bench-sum = sum of runs { FIXED($sum, digits: 1) } us; 1 - sum / whole = { FIXED($rest, digits: 3) }

# doctor
doctor-program = program
doctor-with-cuda = moss-cli { $version }, with CUDA
doctor-cpu-only = moss-cli { $version }, for the CPU alone
doctor-cpu = { $threads } threads, { $isa }; reads { FIXED($rate, digits: 1) } GB/s (measured)
doctor-terminal = terminal
doctor-utf8 = UTF-8 ({ $encoding }), messages by the locale { $locale }
doctor-not-utf8 = not UTF-8 ({ $encoding }): Chinese may not show; `export LANG=C.UTF-8`
doctor-models = models in
doctor-place = { $folder }, { $free } free
doctor-not-here = { $name }: not here
doctor-driver = driver
doctor-no-driver = no NVIDIA driver found
doctor-libraries = libraries
doctor-no-cublas = not found, and needed for prompts of fp16 models, and of all models on GPUs before sm_90: { $reason }
doctor-kernels = kernels
doctor-no-gpu = no GPU to run on: { $error }
doctor-upper-bound = at most
doctor-rates = { $format }, { $bytes } a token: { $rates }
doctor-card = GPU
card-bus = at { $bus }
card-capability = compute capability { $capability }
card-memory = { $free } of { $total } free
card-clocks = clocks { $now } of { $most } MHz, memory { $memory_now } of { $memory_most } MHz
card-ecc-on = ECC on
card-ecc-off = ECC off
card-pcie = { $link } of { $best }
card-nvlinks = { $count } NVLinks up
doctor-copies = copies { FIXED($rate, digits: 1) } GB/s (measured)
doctor-cannot-run = cannot run: { $error }
doctor-gpu = GPU { $ordinal }, { $name }: { $code } code, driver for CUDA { VERSION($cuda) }; { $state }
doctor-selftest = self-test
doctor-kernel-cases = { $verdict } GPU { $ordinal }: { $right } of { $total } kernel cases as on the CPU
doctor-case = { $kernel } ({ $shape }): { $error }, allowed { $allowed } ({ $reason })
doctor-case-differs = { $case }, other bits every time
doctor-transcript = { $verdict } { $device }: transcript of the { $format } demo model
bench-title = { $title }: { FIXED($us, digits: 1) } us

# Several lines
damaged-file = { $name }: { $damage } ({ $path })
no-listing = the hub gives no list of files: checking against the hashes that the cache records
truncated =
    error: the weight file `{ $file }` can no longer be read: it was truncated while in use, or its disk failed
    hint: replace files by rename (write a new file beside it, then `mv`), never in place; `--no-mmap` reads weights into memory instead
download-file = { $file }: { $size }{ $done ->
        [none] {""}
       *[other] , of which { $done } are here already
    }
download-plan =
    { $id }
      size     { $bytes } in { $count } files{ $done ->
        [none] {""}
       *[other] , { $done } of them here already
    }
      licence  { $license } (of the weights)
      from     { $endpoint }
      to       { $folder }
    Ctrl-C keeps what has come; the same command goes on from there.
chat-help =
    clear            forget the conversation, clear the screen
    stop, /quit      leave
    /help            this list
    /regen           answer the last message once more
    /undo            take the last turn back
    /system [TEXT]   show or set the system prompt; `/system -` for the published one
    /params [K V]    show or set how answers are made, such as `/params temperature 0.5`
    /save FILE       keep the conversation as JSON; `/save --force FILE` replaces a file
    /load FILE       go on with a saved conversation
    /stats           tokens, times, and how full the context window is
    /multi           several lines, ended by a line with a dot alone
    /results TEXT    give a plugin model the results of its commands
    Ctrl-C           stop an answer, or clear the line (Ctrl-Y brings it back); twice on an empty line: leave
    Ctrl-D           on an empty line: leave, or end a message of several lines
    Text typed during an answer is not shown until the next prompt.
