//! Loads the text processor in an async application and awaits several calls at once,
//! each on an instance of its own.

use airlock_host::{Error, Host, LoadOptions};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/text-processor");
    let host = Host::new()?;
    let plugin = host.load(folder, LoadOptions::new()).await?;

    let (reverse, shout, turn) = (
        json!({ "text": "hello world", "mode": "reverse" }),
        json!({ "text": "hello world", "mode": "uppercase" }),
        json!({ "text": "hello world", "mode": "rot13" }),
    );
    let (reversed, shouted, turned) = tokio::try_join!(
        plugin.call::<_, Value>("transform", &reverse),
        plugin.call::<_, Value>("transform", &shout),
        plugin.call::<_, Value>("transform", &turn),
    )?;
    for outcome in [reversed, shouted, turned] {
        print_line(&format!("{} in {:?}", outcome.value["result"], outcome.usage.wall));
    }

    host.shutdown(std::time::Duration::from_secs(1)).await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn print_line(text: &str) {
    println!("{text}");
}
