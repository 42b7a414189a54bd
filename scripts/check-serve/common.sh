# To be sourced, in the repository's root: environments of Python and a server that is ready.

# environment NAME REQUIREMENTS [PYTHON]: sets $python, of an environment with what the file lists.
environment() {
    local venv=target/$1
    if ! cmp --silent "$2" "$venv/installed.txt"; then
        "${3:-python3}" -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --requirement "$2"
        cp "$2" "$venv/installed.txt"
    fi
    python=$venv/bin/python
}

# serve ARGUMENT...: starts a server with a free port, waits until it is ready, and sets $server and $address. It ends with this
# script. $work is a temporary folder, with the server's log in it.
serve() {
    # With --workspace, so that nothing is built with other features; the environment variable names another binary.
    if [[ -z ${KILN_SERVE:-} ]]; then
        cargo build --release --quiet --locked --workspace
        KILN_SERVE=target/release/kiln-serve
    fi
    work=${work:-$(mktemp -d)}
    : > "$work/log"
    "$KILN_SERVE" "$@" --port 0 --log json 2> "$work/log" &
    server=$!
    trap 'kill -KILL $server 2> /dev/null || true; rm -rf "$work"' EXIT
    for _ in $(seq 100); do
        grep --quiet '"message":"ready"' "$work/log" && break
        sleep 0.1
    done
    address=$(sed -n 's/.*"message":"listening","address":"\([^"]*\)".*/\1/p' "$work/log")
    [[ -n $address ]] || { cat "$work/log" >&2; exit 1; }
}
