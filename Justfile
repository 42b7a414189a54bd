# Daily tasks. `just` lists them.

_default:
    @just --list

# The main job: fetch MNIST, train, export, verify, evaluate
run recipe="models/quickstart.toml" *args:
    cargo run --release -- run {{ recipe }} {{ args }}

# Type-check one crate quickly, e.g. `just check model`
check crate:
    cargo check -p kiln-{{ crate }} --all-targets

# All tests, or those of one crate, e.g. `just test model`. Alone, a crate that depends on Burn or tract would be built with other
# features, for minutes; for such a crate, all unit tests are run, which takes seconds.
test crate="":
    cargo test --release {{ if crate == "" { "--workspace" } else if crate =~ "^(backbone|capi|cli|inference|pipeline|serve|trainer)$" { "--workspace --lib" } else { "-p kiln-" + crate } }}

# Format and lint
lint:
    cargo fmt --all
    cargo clippy --release --workspace --all-targets -- -D warnings

# Check exported files with Python's onnx and onnxruntime
check-onnx:
    scripts/check-onnx/run

# Train on images with several labels and compare the figures with scikit-learn's
check-several:
    scripts/check-several/run

# Compare classifiers from other exporters in kiln and in Python's onnxruntime
check-third-party:
    scripts/check-third-party/run

# Compare networks out of published weights with a second conversion in Python
check-zoo:
    scripts/check-zoo/run

# Read others' graphs as chains of segments, and compare shapes and scores with ONNX Runtime
check-graphs:
    scripts/check-graphs/run

# Compare networks by name with torchvision's and timm's of the same weights; downloads PyTorch
check-networks:
    scripts/check-networks/run

# Train heads on networks of torchvision and timm, and compare the exports with onnxruntime; downloads PyTorch
check-frozen *names:
    scripts/check-frozen/run {{ names }}

# Run networks of torchvision and timm as layers, segment by segment, and compare with ONNX Runtime
check-segments *files:
    scripts/check-segments/run {{ files }}

# Train a network on watermarked digits, and check that `kiln explain` finds the watermark
check-explanations:
    scripts/check-explanations/run

# Check the pages of a run and a sweep in Chromium; with a folder, save screenshots too
check-report *args:
    scripts/check-report/run {{ args }}

# Evaluate a million rows of Parquet: memory, bytes of a shard, merged shards; needs strace and GNU time
check-records *args:
    scripts/check-records/run {{ args }}

# Build the Python package, and test its wheel beside the command line
check-python:
    scripts/check-python/run

# Benchmark the Python package against Pillow and onnxruntime in a process pool
bench-python *args:
    scripts/bench-python/run {{ args }}

# Run the Python package under Ray Data and Dask, with a worker killed; downloads Ray
check-engines *args:
    scripts/check-engines/run {{ args }}

# Compare what TensorBoard reads of runs, one of them killed and resumed, with their histories
check-tensorboard:
    scripts/check-tensorboard/run

# Ask a server through tritonclient (HTTP and gRPC) and schemathesis, and use its page in Chromium; with a folder, save screenshots too
check-serve *args:
    scripts/check-serve/run {{ args }}

# Ask a server through KServe's clients
check-serve-kserve:
    scripts/check-serve/kserve/run

# Compare answers, statuses and errors of a server with those of a real Triton
check-serve-triton:
    scripts/check-serve/triton/run

# Keep a server under load for so many minutes, 10 if not given, beside 10,000 connections at first
soak-serve *args:
    scripts/check-serve/soak/run {{ args }}

# Export models as pages, and use those in Chromium beside kiln's own server; with a folder, save screenshots too
check-web *args:
    scripts/check-web/run {{ args }}

# Compare the C header with cbindgen's, and run programs in C and C++ under valgrind; with --update, rewrite the header
check-c *args:
    scripts/check-c/run {{ args }}

# Fuzz every file reader, for a minute each (needs cargo-fuzz); e.g. `just fuzz 600 onnx`
fuzz *args:
    scripts/fuzz/run {{ args }}

# Run the kernels' tests under AddressSanitizer
sanitize:
    scripts/sanitize/run

# Benchmark training against PyTorch and Keras, in turns, on this machine
bench-training *args:
    scripts/bench-training/run {{ args }}

# Fine-tune on class folders with PyTorch, to compare with `kiln run`; downloads PyTorch
bench-finetuning data *args:
    scripts/bench-finetuning/run {{ data }} {{ args }}

# Train on, evaluate and decode photographs in class folders, against PyTorch and torchvision in turns; downloads PyTorch
bench-photographs data *args:
    scripts/bench-photographs/run {{ data }} {{ args }}

# Benchmark `kiln eval` against Python's onnxruntime and rten, in turns, on this machine
bench-inference *args:
    scripts/bench-inference/run {{ args }}

# Benchmark serving against FastAPI, LitServe, PyTriton and MLServer, in turns, on this machine (needs wrk)
bench-serve *args:
    scripts/bench-serve/run {{ args }}

# Benchmark each kernel against Burn's own operation; on the whole workspace, so that Burn is not rebuilt
bench-kernels:
    cargo bench --workspace --features kiln-kernels/burn --bench operations

# List cycles of more than three files (needs cargo-modules); e.g. `just check-cycles model`
check-cycles *crates:
    scripts/check-cycles/run {{ crates }}

# Check that the build and the tests request the same features of every dependency
check-features:
    scripts/check-features/run

# Compare training on wgpu with training on the CPU; builds wgpu, a quarter of an hour
check-gpu:
    scripts/check-gpu/run

# Build and open the API documentation
doc:
    cargo doc --workspace --no-deps --open

# Check licenses and advisories of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# Run exactly what CI runs
ci:
    .ci/run
