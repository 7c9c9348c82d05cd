//! Code that is kept in memory.

use std::sync::Barrier;
use std::time::Duration;

use airlock_host::manager::Manager;
use airlock_host::{Host, MemoryCacheStats, Origin};

use super::{ADD, one, text};
use crate::support::source;

fn numbered(number: usize) -> String {
    ADD.replace("42", &number.to_string())
}

fn stats(manager: &Manager) -> MemoryCacheStats {
    manager.host().memory_cache()
}

#[test]
fn each_load_is_counted_once_and_code_outlives_its_plugin() {
    let manager = Manager::new(Host::builder().slots(4).build().unwrap());
    let load = |name: &str, wat: &str| {
        manager.load_blocking(name, source(wat), text()).unwrap().plugin().code_origin()
    };
    assert_eq!(load("a", ADD), Origin::Compiler);
    assert_eq!(load("b", ADD), Origin::Memory, "another name, the same bytes");
    assert_eq!(load("c", &numbered(7)), Origin::Compiler, "the same manager, other bytes");
    manager.unload_all_blocking();
    assert_eq!(load("a", &numbered(7)), Origin::Memory, "a name that had other bytes");
    assert_eq!(manager.invoke_blocking("a", "answer", one()).unwrap().value.to_json_text(), "7");
    let stats = stats(&manager);
    assert_eq!((stats.hits, stats.compiled, stats.joined, stats.failed, stats.entries), (2, 2, 0, 0, 2));
    assert!((stats.hit_rate() - 0.5).abs() < 1e-9, "{stats:?}");
    assert!(stats.bytes > 0 && stats.bytes <= stats.maximum_bytes);
}

#[test]
fn while_one_compiles_the_others_wait_for_it() {
    let manager = Manager::new(Host::builder().build().unwrap());
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (manager, start) = (&manager, &start);
            scope.spawn(move || {
                start.wait();
                manager.load_blocking(&format!("p{index}"), source(ADD), text()).unwrap();
            });
        }
    });
    let stats = stats(&manager);
    assert_eq!((stats.compiled, stats.hits + stats.joined), (1, 7), "{stats:?}");
}

#[test]
fn what_was_used_longest_ago_makes_room_and_what_is_off_keeps_nothing() {
    let probe = Manager::new(Host::builder().slots(4).build().unwrap());
    probe.load_blocking("p", source(ADD), text()).unwrap();
    let one_of_them = stats(&probe).bytes;
    let host = Host::builder().slots(4).memory_cache(one_of_them * 2 + one_of_them / 2).build().unwrap();
    let manager = Manager::new(host);
    let origin = |number: usize| {
        let managed = manager.load_blocking("p", source(&numbered(number)), text()).unwrap();
        let origin = managed.plugin().code_origin();
        drop(managed);
        manager.unload_blocking("p").unwrap();
        origin
    };
    assert_eq!([origin(1), origin(2), origin(1)], [Origin::Compiler, Origin::Compiler, Origin::Memory]);
    assert_eq!(origin(3), Origin::Compiler, "2 was used longest ago");
    assert_eq!([origin(1), origin(2)], [Origin::Memory, Origin::Compiler]);
    let counted = stats(&manager);
    assert_eq!((counted.entries, counted.evicted), (2, 2), "{counted:?}");
    manager.host().clear_memory_cache();
    assert_eq!((stats(&manager).entries, stats(&manager).bytes), (0, 0));
    assert_eq!(origin(2), Origin::Compiler);

    let off = Manager::new(Host::builder().slots(4).memory_cache(0).build().unwrap());
    for _ in 0..2 {
        let managed = off.load_blocking("p", source(ADD), text()).unwrap();
        assert_eq!(managed.plugin().code_origin(), Origin::Compiler);
        drop(managed);
        off.unload_blocking("p").unwrap();
    }
    assert_eq!((stats(&off).compiled, stats(&off).evicted, stats(&off).maximum_bytes), (2, 0, 0));
}

#[test]
fn bytes_that_fail_are_counted_and_kept_by_nobody() {
    let manager = Manager::new(Host::builder().slots(4).build().unwrap());
    // Its function never ends to be compiled within such a time.
    let options =
        text().limit(airlock_host::LimitKind::CompileTime, Duration::from_nanos(1).as_nanos() as u64);
    let error = manager.load_blocking("p", source(ADD), options).unwrap_err();
    assert_eq!(error.code(), "limit-compile-time");
    assert_eq!((stats(&manager).failed, stats(&manager).entries), (1, 0));
    manager.load_blocking("p", source(ADD), text()).unwrap();
    assert_eq!((stats(&manager).compiled, stats(&manager).hits), (1, 0));
}
