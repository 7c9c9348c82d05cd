//! Ending one call and no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airlock_host::{CallOptions, Cancel, Input, LoadOptions};

use crate::support::{MODES, Mode, host, load, text};

const SPIN: &str = r#"(module (memory (export "memory") 1)
    (func (export "spin") (loop $again (br $again)))
    (func (export "one") (result i32) (i32.const 1)))"#;

fn words() -> Input {
    Input::Words(Vec::new())
}

#[test]
fn cancel_by_a_handle_ends_its_calls_and_no_others() {
    let host = host();
    let plugin = load(&host, SPIN, text());
    for mode in MODES {
        let (cancel, other) = (Cancel::new(), Cancel::new());
        let (done, plugin) = (AtomicBool::new(false), &plugin);
        let spin = |cancel: &Cancel| {
            let options = CallOptions::new().cancel(cancel);
            match mode {
                Mode::Blocking => plugin.invoke_blocking_with("spin", words(), &options),
                _ => mode.wait(plugin.invoke_with("spin", words(), &options)),
            }
            .unwrap_err()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| spin(&cancel));
            let second = scope.spawn(|| {
                let error = spin(&other);
                done.store(true, Ordering::SeqCst);
                error
            });
            while host.memory_used() < 2 << 16 {
                std::thread::yield_now();
            }
            cancel.cancel();
            let error = first.join().unwrap();
            assert_eq!((error.to_string().as_str(), error.code()), ("cancelled while running", "cancelled"));
            assert!(!done.load(Ordering::SeqCst) && cancel.is_cancelled() && !other.is_cancelled());
            other.cancel();
            assert_eq!(second.join().unwrap().code(), "cancelled");
        });
        // What is begun with a handle that was used does not run.
        assert_eq!(spin(&cancel).code(), "cancelled", "{mode:?}");
        assert_eq!(host.memory_used(), 0);
    }
}

#[test]
fn a_call_has_a_time_of_its_own_where_that_is_less() {
    let host = host();
    let plugin = load(&host, SPIN, text());
    let options = CallOptions::new().timeout(Duration::from_millis(60));
    let error = plugin.invoke_blocking_with("spin", words(), &options).unwrap_err();
    assert_eq!(error.to_string(), "stopped while running: the deadline of 60ms passed");
    let short = host.load_blocking(
        crate::support::source(SPIN),
        LoadOptions::new().wat(true).limit(airlock_host::LimitKind::Timeout, 50_000_000),
    );
    let options = CallOptions::new().timeout(Duration::from_secs(3600));
    let error = short.unwrap().invoke_blocking_with("spin", words(), &options).unwrap_err();
    assert_eq!(error.to_string(), "stopped while running: the deadline of 50ms passed");
    let answer = plugin.invoke_blocking_with("one", words(), &CallOptions::new()).unwrap();
    assert_eq!(answer.value.to_json_text(), "1");
}
