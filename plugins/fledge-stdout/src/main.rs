//! Speaks fledge's protocol as its native plugins do, a message a line on standard output and
//! on standard input: what the plugin does that fledge's scaffold makes, also for WebAssembly.

use std::io;

fn main() -> io::Result<()> {
    println!(r#"{{"type":"output","text":"fledge-stdout running\n"}}"#);
    println!("plain line");
    println!(r#"{{"type":"log","level":"info","message":"a line of standard output"}}"#);

    let mut init = String::new();
    if io::stdin().read_line(&mut init)? > 0 {
        println!(r#"{{"type":"output","text":"args: {}\n"}}"#, args(&init).join(" "));
    }
    Ok(())
}

/// The arguments in init, their escapes as they are: they go from one text of JSON to another.
fn args(init: &str) -> Vec<&str> {
    let mut rest = init.split_once(r#""args":["#).map_or("", |(_, rest)| rest);
    let mut args = Vec::new();
    while let Some(text) = rest.strip_prefix('"') {
        let mut escape = false;
        let quote = text.find(|c| {
            let closes = c == '"' && !escape;
            escape = c == '\\' && !escape;
            closes
        });
        let Some(end) = quote else { break };
        args.push(&text[..end]);
        rest = text[end + 1..].trim_start_matches(',');
    }
    args
}
