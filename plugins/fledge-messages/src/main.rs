//! Sends each message of fledge's protocol, and shows what is answered.
//!
//! ```text
//! messages all|ask|progress|log|malformed|pieces|panic
//! messages exit CODE
//! ```

mod fledge {
    #[link(wasm_import_module = "fledge")]
    unsafe extern "C" {
        pub fn send(message: *const u8, length: usize);
        pub fn recv(buffer: *mut u8, room: usize) -> i32;
        pub fn exit(code: i32) -> !;
    }
}

fn main() {
    // The mode is in what is read here, so this reads as `pieces` wants it in each mode.
    let (init, reads) = receive(16);
    let args = args(&init);
    match args.first().copied() {
        Some("all") => all(),
        Some("ask") => ask(),
        Some("progress") => progress(),
        Some("log") => log(),
        Some("malformed") => malformed(),
        Some("pieces") => output(&format!("{reads} reads, {} bytes\n", init.len())),
        Some("exit") => exit(args.get(1).and_then(|code| code.parse().ok()).unwrap_or(0)),
        Some("panic") => panic!("something is wrong"),
        _ => {
            send(br#"{"type":"log","level":"error","message":"usage: messages MODE [CODE]"}"#);
            exit(2)
        }
    }
}

/// What is answered in one go, after all was asked.
fn all() {
    send(br#"{"type":"exec","id":"a","command":"echo hi"}"#);
    send(br#"{"type":"load","id":"b","key":"k"}"#);
    send(br#"{"type":"store","key":"k","value":"v"}"#);
    send(br#"{"type":"load","id":"c","key":"k"}"#);
    send(br#"{"type":"metadata","id":"d","keys":["language"]}"#);
    show_answers();
}

/// What a user answers, one after the other.
fn ask() {
    for question in [
        r#"{"type":"confirm","id":"1","message":"Go on?"}"#,
        r#"{"type":"prompt","id":"2","message":"Name?","validate":"non_empty"}"#,
        r#"{"type":"select","id":"3","message":"Which?","options":["red","green"]}"#,
        r#"{"type":"multi_select","id":"4","message":"Which ones?","options":["a","b","c"]}"#,
    ] {
        send(question.as_bytes());
        show_answers();
    }
}

fn progress() {
    for current in 1..=5 {
        let message = format!(r#"{{"type":"progress","message":"working","current":{current},"total":5}}"#);
        send(message.as_bytes());
    }
    send(br#"{"type":"progress","done":true}"#);
    output("done\n");
}

fn log() {
    for level in ["debug", "info", "warn", "error", "odd"] {
        send(format!(r#"{{"type":"log","level":"{level}","message":"a message"}}"#).as_bytes());
    }
}

/// What is no message, none of which may keep the one after it from its host.
fn malformed() {
    send(br#"{"type":"output""#);
    send(br#"{"type":"nonsense"}"#);
    send(br#"{"type":"output"}"#);
    send(br#"{"type":"output","text":"one"}{"type":"output","text":"two"}"#);
    send(b"{\"type\":\"output\",\"text\":\"\xff\xfe\"}");
    output("still here\n");
}

/// Outputs each line of what is answered, as it came.
fn show_answers() {
    for line in receive(4096).0.lines() {
        output(&format!("{line}\n"));
    }
}

fn output(text: &str) {
    send(format!(r#"{{"type":"output","text":"{}"}}"#, escaped(text)).as_bytes());
}

fn send(message: &[u8]) {
    // SAFETY: the host reads these bytes before it returns, and only these.
    unsafe { fledge::send(message.as_ptr(), message.len()) }
}

fn exit(code: i32) -> ! {
    // SAFETY: the host ends the program here, as the signature says.
    unsafe { fledge::exit(code) }
}

/// All that the host has to say now, through a buffer of this size, and in how many pieces it
/// came.
fn receive(room: usize) -> (String, usize) {
    let mut received = Vec::new();
    let mut piece = vec![0; room];
    let mut pieces = 0;
    loop {
        // SAFETY: the host writes no more than the length of the buffer.
        let got = unsafe { fledge::recv(piece.as_mut_ptr(), piece.len()) };
        match usize::try_from(got) {
            Ok(got @ 1..) => received.extend_from_slice(&piece[..got]),
            _ => return (String::from_utf8_lossy(&received).into_owned(), pieces),
        }
        pieces += 1;
    }
}

/// The arguments in init, their escapes as they are: no mode has any.
fn args(init: &str) -> Vec<&str> {
    let list = init.split_once(r#""args":["#).map_or("", |(_, rest)| rest);
    let list = list.split_once(']').map_or("", |(list, _)| list);
    list.split(',').map(|arg| arg.trim_matches('"')).collect()
}

/// A text as it stands between the quotes of JSON.
fn escaped(text: &str) -> String {
    let mut json = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json
}
