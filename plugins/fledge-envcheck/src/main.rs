//! Tells what a plugin can see of its host: a plugin for fledge's protocol that looks around
//! as a curious user would, and says all it found.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

mod fledge {
    #[link(wasm_import_module = "fledge")]
    unsafe extern "C" {
        pub fn send(message: *const u8, length: usize);
        pub fn recv(buffer: *mut u8, room: usize) -> i32;
    }
}

fn main() {
    let init = receive();

    say(&format!("args: {}", env::args_os().count()));

    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        say(&format!("env: {}={}", name.display(), value.display()));
    }

    for folder in ["/project", "/plugin"] {
        match fs::read_dir(folder) {
            Ok(entries) => say(&format!("list {folder}: {} entries", entries.count())),
            Err(error) => say(&format!("list {folder}: {error}")),
        }
        match create(&Path::new(folder).join("x")) {
            Ok(()) => say(&format!("create {folder}/x: ok")),
            Err(error) => say(&format!("create {folder}/x: {error}")),
        }
    }

    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(now) => say(&format!("time: {}", now.as_nanos())),
        Err(_) => say("time: before 1970"),
    }
    // The standard library has no random numbers as such, but draws the keys of its maps.
    say(&format!("random: {:016x}", RandomState::new().hash_one(())));
    say(&format!("init: {init}"));
}

/// Creates a file that was not there, and removes it again.
fn create(path: &Path) -> io::Result<()> {
    fs::File::create_new(path)?;
    fs::remove_file(path)
}

/// Outputs a line.
fn say(line: &str) {
    let message = format!(r#"{{"type":"output","text":"{}\n"}}"#, escaped(line));
    // SAFETY: the host reads these bytes before it returns, and only these.
    unsafe { fledge::send(message.as_ptr(), message.len()) }
}

/// All that the host has to say now, in pieces of any size.
fn receive() -> String {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        // SAFETY: the host writes no more than the length of the buffer.
        let got = unsafe { fledge::recv(piece.as_mut_ptr(), piece.len()) };
        match usize::try_from(got) {
            Ok(got @ 1..) => received.extend_from_slice(&piece[..got]),
            _ => return String::from_utf8_lossy(&received).into_owned(),
        }
    }
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
