//! Keeps one instance across calls under limits of its own, and shows what happens when
//! one is hit.

use airlock_host::{Error, ErrorKind, Host, LimitKind, LoadOptions, Source};

const COUNTER: &str = r#"(module
    (global $count (mut i32) (i32.const 0))
    (func (export "increment") (param i32) (result i32)
        (global.set $count (i32.add (global.get $count) (local.get 0)))
        global.get $count)
    (func (export "spin") (loop (br 0))))"#;

fn main() -> Result<(), Error> {
    let host = Host::builder().limit(LimitKind::Timeout, 100_000_000).build()?;
    let options = LoadOptions::new().wat(true).name("counter").limit(LimitKind::Fuel, 1_000_000);
    let plugin = host.load_blocking(Source::from(COUNTER.as_bytes()), options)?;

    let mut session = plugin.session_blocking()?;
    for step in [1, 10, 31] {
        let outcome = session.call_blocking::<_, i32>("increment", &step)?;
        print_line(&format!("+{step} is {} for {:?} units of fuel", outcome.value, outcome.usage.fuel));
    }

    let Err(error) = session.call_blocking::<_, ()>("spin", &()) else { unreachable!("a loop without end") };
    print_line(&format!("{} ({}, {:?})", error, error.code(), error.culprit()));
    assert!(matches!(
        error.kind(),
        ErrorKind::Limit { limit: LimitKind::Fuel, .. } | ErrorKind::Deadline { .. }
    ));
    assert!(!session.is_alive());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn print_line(text: &str) {
    println!("{text}");
}
