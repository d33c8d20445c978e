# One recipe per check; `.ci/run` calls them in order. `just --list` shows them all.
#
# Tools that are not part of Rust: `eval "$(scripts/tools)"` installs the versions that CI uses.

set shell := ["bash", "-euo", "pipefail", "-c"]

target := env("CARGO_TARGET_DIR", "target")
cuda_target := env("MOSS_CUDA_TARGET_DIR", home_directory() / ".cache/moss-target-cuda")
cuda_kernels := env("MOSS_KERNELS_DIR", home_directory() / ".cache/moss-kernels")

# The release kernels instead of compiling them with nvcc.
with_cuda_kernels := "MOSS_KERNELS=" + quote(cuda_kernels) + " scripts/with-cuda"

[private]
default:
    @just --list --unsorted

# Run every check, as CI does
ci:
    .ci/run

# Run the tests
[group('rust')]
test:
    cargo test --workspace

# Check the format of the Rust code
[group('rust')]
format:
    cargo fmt --all -- --check

# Format the Rust code and the kernels
[group('rust')]
fmt:
    cargo fmt --all
    clang-format -i kernels/*.cu kernels/common/*.cuh

# Run clippy; a warning is an error
[group('rust')]
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Build the API documentation; a warning is an error
[group('rust')]
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Build the release binary
[group('rust')]
build:
    cargo build --release

# Compile the fuzz targets of the readers of weight files
[group('rust')]
fuzz-checkpoint:
    cargo check --manifest-path crates/moss-checkpoint/fuzz/Cargo.toml

# Compile the fuzz targets of the server
[group('rust')]
fuzz-server:
    cargo check --manifest-path crates/moss-server/fuzz/Cargo.toml

# Compile the fuzz target of the prompt cache
[group('rust')]
fuzz-prompt-cache:
    cargo check --manifest-path crates/moss-prompt-cache/fuzz/Cargo.toml

# Compile the fuzz targets of the plugins
[group('rust')]
fuzz-plugins:
    cargo check --manifest-path crates/moss-plugins/fuzz/Cargo.toml

# Explore interleavings of the engine's threads
[group('rust')]
interleavings:
    cargo test -p moss-engine --features shuttle --test interleavings

# Look for paths of one machine and for files over 8 MB
[group('repository')]
tidy:
    #!/usr/bin/env bash
    set -euo pipefail
    if git grep -nE '/(work|root|home)/[a-z]' -- . ':!*.lock'; then
        echo "error: paths of one machine" >&2
        exit 1
    fi
    git ls-files -z | xargs -0 ls -l |
        awk '$5 > 8000000 { print "too large: " $NF; bad = 1 } END { exit bad }'

# Report words that docs/STYLE.md asks to avoid; never fails
[group('repository')]
idioms:
    scripts/check-idioms --summary

# Check the spelling (typos.toml)
[group('repository')]
spelling:
    typos

# Check licences, sources and duplicates of the dependencies (deny.toml)
[group('repository')]
dependencies:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Check the dependencies for known vulnerabilities; downloads the RustSec database
[group('repository')]
advisories:
    cargo deny --locked check advisories

# Check that docs/performance-table.md is what benches/table makes from benches/results
[group('repository')]
performance-table:
    benches/table --check

# Regenerate the fixtures and compare them with tests/fixtures; installs 9 GB of Python packages
[group('repository')]
oracle:
    tests/oracle/regenerate

# Check the Kubernetes manifests of deploy/ against their schemas
[group('repository')]
manifests:
    #!/usr/bin/env bash
    set -euo pipefail
    home="${MOSS_MANIFEST_CHECK:-$HOME/.cache/moss-manifest-check}"
    [ -x "$home/bin/kubernetes-validate" ] || {
        python3 -m venv "$home"
        "$home/bin/pip" install --quiet 'kubernetes-validate>=1.30'
    }
    "$home/bin/kubernetes-validate" --strict --quiet deploy/kubernetes/*.yaml

# Run the commands that README.md shows and compare their output with it
[group('program')]
readme: build
    #!/usr/bin/env bash
    set -euo pipefail
    binary={{ quote(target / "release/moss-cli") }}
    answers=$(printf '你好\n推荐五部科幻电影\n' | "$binary" --demo --temperature 0)
    printf '%s\n' "$answers"
    while IFS= read -r line; do
        grep -qF -- "$line" README.md || { echo "README.md does not show: $line"; exit 1; }
    done <<<"$answers"
    "$binary" generate --demo "What is 3 + 4?" | grep -F '3 + 4 = 7'
    echo '{"text":"你好"}' | "$binary" tokenize --model examples/demo/moss-demo-int4
    "$binary" inspect examples/demo/moss-demo
    "$binary" bench --demo --prompt 64 --new 4

# Run every example
[group('program')]
examples:
    #!/usr/bin/env bash
    set -euo pipefail
    for example in examples/*.rs; do
        example=$(basename "$example" .rs)
        echo "> $example"
        cargo run --quiet --release -p moss --features candle,hub,quantize,server --example "$example"
    done

# Call the server with the client libraries of OpenAI's API
[group('program')]
api-clients examples="20": build
    EXAMPLES={{ examples }} scripts/check-api {{ quote(target / "release/moss-cli") }}

# Put the server under load, with clients that disconnect and requests that are malformed
[group('program')]
soak seconds="20":
    SOAK_SECONDS={{ seconds }} cargo test --release -p moss-server --test integration ten_minutes -- \
        --ignored --nocapture

# Test the web page in a headless Chromium
[group('program')]
web-page:
    #!/usr/bin/env bash
    set -euo pipefail
    home="${MOSS_WEB_CHECK:-$HOME/.cache/moss-web-check}" root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    command -v chromium >/dev/null || [ -n "${MOSS_CHROMIUM:-}" ] || {
        "${root[@]}" apt-get update -qq
        "${root[@]}" apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk
    }
    cd crates/moss-server/tests/web
    [ -x "$home/bin/pytest" ] || {
        python3 -m venv "$home"
        "$home/bin/pip" install --quiet -r requirements.txt
    }
    "$home/bin/pytest" -q -p no:cacheprovider

# Install the CUDA compilers and print their version
[group('cuda')]
cuda-toolkit:
    scripts/with-cuda nvcc --version | grep release

# Compile the kernels for each architecture and check registers, spills and shared memory
[group('cuda')]
kernels:
    scripts/with-cuda scripts/check-kernels

# Check the format of the kernels (.clang-format)
[group('cuda')]
kernels-format:
    clang-format --dry-run --Werror kernels/*.cu kernels/common/*.cuh

# Check the crate with CUDA, its kernels compiled by nvcc
[group('cuda')]
build-script-cuda:
    scripts/with-cuda cargo check --release -p moss-cuda --features cuda

# Compile the kernels of a release with CUDA 12
[group('cuda')]
precompiled-kernels:
    scripts/build-kernels {{ quote(cuda_kernels) }}

# Run clippy on the code with CUDA; a warning is an error
[group('cuda')]
lint-cuda: precompiled-kernels
    {{ with_cuda_kernels }} cargo clippy --release --workspace --all-targets --features cuda \
        -- -D warnings

# Build the API documentation with CUDA; a warning is an error
[group('cuda')]
docs-cuda: precompiled-kernels
    RUSTDOCFLAGS="-D warnings" {{ with_cuda_kernels }} \
        cargo doc --release --workspace --no-deps --features cuda

# Build the release binary with CUDA
[group('cuda')]
build-cuda: precompiled-kernels
    {{ with_cuda_kernels }} cargo build --release --workspace --features cuda

# Run the CUDA binary without a driver and against stand-ins for old drivers
[group('cuda')]
driver: build-cuda
    scripts/check-driver {{ quote(cuda_target / "release/moss-cli") }}

# Compare the newest glibc symbol that the CUDA binary needs with the pages that state it
[group('cuda')]
glibc: build-cuda
    #!/usr/bin/env bash
    set -euo pipefail
    binary={{ quote(cuda_target / "release/moss-cli") }}
    newest=$(objdump -T "$binary" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    echo "$binary needs $newest"
    for page in README.md README.zh-CN.md docs/install.md docs/zh/install.md; do
        grep -qF "glibc ${newest#GLIBC_}" "$page" || {
            echo "$page does not say glibc ${newest#GLIBC_}" >&2
            exit 1
        }
    done
