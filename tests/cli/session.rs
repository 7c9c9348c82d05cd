//! A process that has plugins loaded while `airlock` is run beside it.

use std::sync::Arc;

use airlock_host::{Approval, Host, LoadOptions, Source};
use airlock_store::Store;

use crate::plugins::{Place, text};

/// Says what time it is, in nanoseconds.
const TIME: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "now") (result i64)
        (drop (call $now (i32.const 0) (i64.const 1) (i32.const 8))) (i64.load (i32.const 8))))"#;

/// A clock that is not granted begins with 2020 and moves a little at every read: the
/// beginning of 2021.
const VIRTUAL_END: i64 = 1_609_459_200_000_000_000;

#[test]
fn a_revocation_by_the_command_holds_at_the_next_call_of_a_running_session() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("")).unwrap();
    std::fs::write(place.path("timer.wasm"), wat::parse_str(TIME).unwrap()).unwrap();
    place.ok(&["install", &text(&place.path("timer.wasm"))]);
    place.ok(&["grant", "timer", "clock"]);

    let store = Arc::new(Store::open(&place.home()).unwrap());
    let host = Host::builder().approval(Approval::new(store.clone())).build().unwrap();
    let installed = store.plugin("timer").unwrap();
    let wasm = store.artifact(&installed.digest().unwrap()).unwrap();
    let source = Source::Package { name: installed.name, manifest: installed.manifest, wasm };
    let plugin = host.load_blocking(source, LoadOptions::new()).unwrap();
    let mut session = plugin.session_blocking().unwrap();
    let now = session.func::<(), i64>("now").unwrap();
    for _ in 0..3 {
        assert!(now.call_blocking(&mut session, ()).unwrap() > VIRTUAL_END, "granted");
        place.ok(&["revoke", "timer", "clock"]);
        assert!(now.call_blocking(&mut session, ()).unwrap() < VIRTUAL_END, "taken back");
        place.ok(&["grant", "timer", "clock"]);
        // Nothing is promised of when a grant is noticed, but that it is.
        while now.call_blocking(&mut session, ()).unwrap() < VIRTUAL_END {
            std::thread::yield_now();
        }
    }
}
