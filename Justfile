# What a contributor does daily. `just` lists the recipes.

_default:
    @just --list

# The main job: fetch MNIST, train, export, verify, evaluate
run recipe="models/quickstart.toml" *args:
    cargo run --release -- run {{ recipe }} {{ args }}

# Type-check one crate quickly, e.g. `just check spec`
check crate:
    cargo check -p kiln-{{ crate }} --all-targets

# All tests; with a crate's name its own, e.g. `just test spec`. Alone, crates with Burn or tract below them would be built
# with other features, minutes of it; for them all unit tests are run, which takes seconds.
test crate="":
    cargo test --release {{ if crate == "" { "--workspace" } else if crate =~ "^(backbone|cli|inference|trainer)$" { "--workspace --lib" } else { "-p kiln-" + crate } }}

# Format and lint
lint:
    cargo fmt --all
    cargo clippy --release --workspace --all-targets -- -D warnings

# The exported files through Python's onnx and onnxruntime
check-onnx:
    scripts/check-onnx/run

# Classifiers of other exporters, by kiln and by Python's onnxruntime
check-third-party:
    scripts/check-third-party/run

# The pages of a run and a sweep in Chromium; with a folder, screenshots too
check-report *args:
    scripts/check-report/run {{ args }}

# What reads files, fed with what a fuzzer makes up, a minute each (needs cargo-fuzz); e.g. `just fuzz 600 onnx`
fuzz *args:
    scripts/fuzz/run {{ args }}

# The kernels' tests under AddressSanitizer
sanitize:
    scripts/sanitize/run

# kiln against PyTorch and Keras, in turns, on this machine
bench-training *args:
    scripts/bench-training/run {{ args }}

# kiln's eval against Python's onnxruntime and rten, in turns, on this machine
bench-inference *args:
    scripts/bench-inference/run {{ args }}

# Each kernel against Burn's own operation; of the whole workspace, so that Burn is not built again
bench-kernels:
    cargo bench --workspace --features kiln-kernels/burn --bench operations

# A network that is not VGG16, compiled in as a backbone
check-backbone:
    scripts/check-backbone/run

# That the build and the tests ask for the same features of every dependency
check-features:
    scripts/check-features/run

# Training on wgpu against training on the processor; builds wgpu, a quarter of an hour
check-gpu:
    scripts/check-gpu/run

# The API documentation
doc:
    cargo doc --workspace --no-deps --open

# Licences and advisories of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# Exactly what CI runs
ci:
    .ci/run
