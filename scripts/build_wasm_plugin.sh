#!/usr/bin/env bash
# Builds plugins/prx-email as PRX-Email's documents build theirs.
#
#   scripts/build_wasm_plugin.sh [FOLDER]     where it is put; beside its sources where nothing is said
#
# The module that the compiler makes is `prx_email_plugin.wasm`; the component of it, which PRX loads, is
# `plugin.wasm`. Airlock loads either. Needs the target `wasm32-wasip1` (`rustup target add wasm32-wasip1`), or what
# scripts/install-guest-toolchain.sh makes. plugins/build makes the files that are committed: the same, without names of
# this machine's folders.
set -euo pipefail
root=$(cd -P "$(dirname "$0")/.." && pwd)
folder=$(realpath "${1:-$root/plugins/prx-email}")
cd "$root/plugins/prx-email"

cargo=${GUEST_CARGO:-${GUEST_DIR:-$HOME/.cache/guest-toolchain}/bin/guest-cargo}
[ -x "$cargo" ] || cargo=cargo
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
"$cargo" build --quiet --release --locked --target wasm32-wasip1

module=$CARGO_TARGET_DIR/wasm32-wasip1/release/prx_email_plugin.wasm
cp "$module" "$folder/prx_email_plugin.wasm"
componentise=${COMPONENTISE:-$root/target/debug/examples/componentise}
if [ -x "$componentise" ]; then
    "$componentise" "$module" "$folder/plugin.wasm"
elif command -v wasm-tools >/dev/null; then
    adapter=${PREVIEW1_ADAPTER:?the file wasi_snapshot_preview1.reactor.wasm of a release of wasmtime}
    wasm-tools component new "$module" --adapt "wasi_snapshot_preview1=$adapter" -o "$folder/plugin.wasm"
else
    echo "there is no $componentise, which \`cargo build --all-targets\` makes, and no wasm-tools" >&2
    exit 1
fi
echo "built prx_email_plugin.wasm and plugin.wasm in $folder"
