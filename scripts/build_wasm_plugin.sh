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

airlock=${AIRLOCK:-../../target/debug/airlock}
[ -x "$airlock" ] || airlock=airlock
"$airlock" component "${CARGO_TARGET_DIR:-target}/wasm32-wasip1/release/prx_email_plugin.wasm" -o plugin.wasm
