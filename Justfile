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

# The kernels' tests under AddressSanitizer
sanitize:
    scripts/sanitize/run

# kiln against PyTorch and Keras, in turns, on this machine
bench-training *args:
    scripts/bench-training/run {{ args }}

# kiln's eval against Python's onnxruntime and rten, in turns, on this machine
bench-inference *args:
    scripts/bench-inference/run {{ args }}

# Each kernel against Burn's own operation
bench-kernels:
    cargo bench -p kiln-kernels --features burn

# A network that is not VGG16, compiled in as a backbone
check-backbone:
    scripts/check-backbone/run

# The API documentation
doc:
    cargo doc --workspace --no-deps --open

# Licences and advisories of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# Exactly what CI runs
ci:
    .ci/run
