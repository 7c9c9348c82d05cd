//! Two plugins under one manager: what happens to them, what their calls come to, and one of
//! them that is written anew while the application goes on.
//!
//! ```sh
//! cargo run -p airlock-host --example manager
//! ```

use std::path::Path;
use std::time::Duration;

use airlock_host::manager::{Happened, Manager, Notice, PluginEvents, ReloadStrategy, WatchOptions};
use airlock_host::{Error, Host, LoadOptions, Plugin};
use serde_json::{Value, json};

/// Answers every question with a number.
const NUMBER: &str = r#"(module (memory (export "memory") 1)
    (func (export "malloc") (param i32) (result i32) (i32.const 64))
    (data (i32.const 16) "41")
    (func (export "answer") (param i32 i32) (result i32) (i32.const 16)))"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::new(Host::new()?);
    let mut events = manager.events();

    // One that is loaded by the application, under a name that it chooses.
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/text-processor");
    manager.load("text", text, LoadOptions::new()).await?;
    let input = json!({ "text": "hello world", "mode": "reverse" });
    let reversed = manager.call::<_, Value>("text", "transform", &input).await?;
    print_line(&format!("text says {}", reversed.value["result"]));

    // And a folder of them, whose files are followed. Whatever is put there has to answer.
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("number.wasm"), wat::parse_str(NUMBER)?)?;
    let healthy = |_: &Path, plugin: &Plugin| {
        let answer = plugin.call_blocking::<_, u32>("answer", &json!({}))?.value;
        if answer > 40 { Ok(()) } else { Err(Error::host(format!("{answer} is no answer"))) }
    };
    let strategy = ReloadStrategy::Debounced(Duration::from_millis(50));
    let watch = manager.watch([folder.path()], WatchOptions::new().strategy(strategy).check(healthy)).await?;
    say_number(&manager).await?;

    // Other bytes take its place, unless they are not well.
    for answer in ["42", "13"] {
        std::fs::write(folder.path().join("number.wasm"), wat::parse_str(NUMBER.replace("41", answer))?)?;
        until_looked_at(&mut events).await;
        say_number(&manager).await?;
    }

    // A call that goes wrong is counted and told like any other.
    let wrong = manager.call::<_, Value>("text", "transfrom", &input).await;
    print_line(&format!("error: {}", wrong.expect_err("there is no such function")));

    drop(watch);
    let metrics = manager.snapshot();
    for (name, metrics) in &metrics.plugins {
        print_line(&format!(
            "{name}: {} calls, {} of them failed",
            metrics.calls,
            metrics.calls - metrics.successes
        ));
    }
    manager.shutdown(Duration::from_secs(1)).await;
    while let Some(notice) = events.try_next() {
        print_notice(&notice);
    }
    Ok(())
}

async fn say_number(manager: &Manager) -> Result<(), Error> {
    let number = manager.call::<_, u32>("number", "answer", &json!({})).await?;
    print_line(&format!("number says {}", number.value));
    Ok(())
}

/// Prints what happens until other bytes are in place, or are not.
async fn until_looked_at(events: &mut PluginEvents) {
    while let Some(notice) = events.next().await {
        print_notice(&notice);
        if let Notice::Event(event) = notice
            && matches!(event.what, Happened::Reloaded { .. } | Happened::ReloadFailed { .. })
        {
            return;
        }
    }
}

fn print_notice(notice: &Notice) {
    match notice {
        Notice::Event(event) => print_line(&format!("  {event}")),
        Notice::Missed(count) => print_line(&format!("  {count} events were missed")),
        _ => {}
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn print_line(text: &str) {
    println!("{text}");
}
