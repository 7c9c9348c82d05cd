#!/usr/bin/env bash
# Builds plugins/prx-email as PRX-Email's documents build theirs.
#
#   scripts/build_wasm_plugin.sh
#
# The module that the compiler makes is `prx_email_plugin.wasm`; the component of it, which PRX loads, is
# `plugin.wasm`. Airlock loads either. Needs the target `wasm32-wasip1` (`rustup target add wasm32-wasip1`),
# or what scripts/install-guest-toolchain.sh makes.
set -euo pipefail
cd -P "$(dirname "$0")/../plugins/prx-email"

cargo=${GUEST_CARGO:-${GUEST_DIR:-$HOME/.cache/guest-toolchain}/bin/guest-cargo}
[ -x "$cargo" ] || cargo=cargo
"$cargo" build --release --locked --target wasm32-wasip1

module=${CARGO_TARGET_DIR:-target}/wasm32-wasip1/release/prx_email_plugin.wasm
cp "$module" prx_email_plugin.wasm
if command -v wasm-tools >/dev/null; then
    adapter=${PREVIEW1_ADAPTER:?the file wasi_snapshot_preview1.reactor.wasm of a release of wasmtime}
    wasm-tools component new prx_email_plugin.wasm --adapt "wasi_snapshot_preview1=$adapter" -o plugin.wasm
else
    echo "there is no wasm-tools to make plugin.wasm with; Airlock loads prx_email_plugin.wasm as it is"
fi
