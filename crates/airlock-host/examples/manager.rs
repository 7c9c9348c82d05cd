//! Two plugins under one manager: what happens to them, what their calls come to, and one of
//! them replaced while the other goes on.
//!
//! ```sh
//! cargo run -p airlock-host --example manager
//! ```

use airlock_host::manager::{Manager, Notice};
use airlock_host::{Error, Host, LoadOptions};
use serde_json::{Value, json};

/// Answers every question with a number.
const NUMBER: &str = r#"(module (memory (export "memory") 1)
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (data (i32.const 16) "41")
    (func (export "answer") (param i32 i32) (result i32) (i32.const 16)))"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let manager = Manager::new(Host::new()?);
    let mut events = manager.events();

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/text-processor");
    manager.load("text", folder, LoadOptions::new()).await?;
    manager.load("number", NUMBER.as_bytes(), LoadOptions::new().wat(true)).await?;

    let input = json!({ "text": "hello world", "mode": "reverse" });
    let reversed = manager.call::<_, Value>("text", "transform", &input).await?;
    print_line(&format!("text says {}", reversed.value["result"]));
    print_line(&format!(
        "number says {}",
        manager.call::<_, u32>("number", "answer", &json!({})).await?.value
    ));

    // Other bytes for one of them, once they have answered.
    let better = NUMBER.replace("41", "42");
    let better = manager.host().load_with(better.as_bytes(), LoadOptions::new().wat(true)).await?;
    let healthy = async |plugin: &airlock_host::Plugin| {
        let answer = plugin.call::<_, u32>("answer", &json!({})).await?.value;
        if answer == 42 { Ok(()) } else { Err(Error::host("it is not well")) }
    };
    manager.replace("number", &better, healthy).await?;
    print_line(&format!(
        "number says {}",
        manager.call::<_, u32>("number", "answer", &json!({})).await?.value
    ));

    // A call that goes wrong is counted and told.
    let wrong = manager.call::<_, Value>("text", "transfrom", &input).await;
    print_line(&format!("error: {}", wrong.expect_err("there is no such function")));

    let metrics = manager.metrics();
    print_line(&format!("{} calls, {} of them failed", metrics.calls, metrics.calls - metrics.successes));
    manager.unload_all().await;
    while let Some(notice) = events.try_next() {
        match notice {
            Notice::Event(event) => {
                print_line(&format!("event: {}", serde_json::to_string(&event).unwrap_or_default()))
            }
            Notice::Missed(count) => print_line(&format!("{count} events were missed")),
            _ => {}
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn print_line(text: &str) {
    println!("{text}");
}
