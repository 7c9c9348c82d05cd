//! Lists the lines of the project's files that are longer than [`LONGEST`] characters.

use std::path::Path;
use std::{fs, io};

/// Where the project is, for a plugin with `filesystem = "project"`.
const PROJECT: &str = "/project";

/// Characters that a line may have.
const LONGEST: usize = 100;

/// Folders whose files nobody wrote by hand. Those that begin with a dot are left out as well.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];

fn main() {
    // What the host says first: arguments, the project, what the plugin may do.
    let init = fledge::receive();
    if !init.contains(r#""protocol":"fledge-v1""#) {
        fledge::log("error", "the host speaks another protocol");
        fledge::exit(2)
    }
    match lint(Path::new(PROJECT)) {
        Ok(0) => fledge::output("no line is too long\n"),
        Ok(count) => {
            fledge::output(&format!("lines that are too long: {count}\n"));
            fledge::exit(1)
        }
        Err(error) => {
            fledge::log("error", &format!("cannot read the project: {error}"));
            fledge::exit(2)
        }
    }
}

/// Lists what is too long in a folder and below it, and returns how many lines are.
fn lint(folder: &Path) -> io::Result<usize> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut count = 0;
    for entry in entries {
        let (path, name, kind) = (entry.path(), entry.file_name(), entry.file_type()?);
        let name = name.to_string_lossy();
        if kind.is_dir() {
            if !name.starts_with('.') && !LEFT_OUT.contains(&&*name) {
                count += lint(&path)?;
            }
        } else if kind.is_file()
            // What is not UTF-8 has no lines.
            && let Ok(text) = fs::read_to_string(&path)
        {
            let shown = path.strip_prefix(PROJECT).unwrap_or(&path).display();
            for (line, length) in long_lines(&text) {
                fledge::output(&format!("{shown}:{line}: {length} characters\n"));
                count += 1;
            }
        }
    }
    Ok(count)
}

/// The number and the length of each line that is too long.
fn long_lines(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let lengths = text.lines().map(|line| line.chars().count());
    (1..).zip(lengths).filter(|(_, length)| *length > LONGEST)
}

/// The host: JSON messages that are sent and received.
mod fledge {
    use std::fmt::Write as _;

    #[link(wasm_import_module = "fledge")]
    unsafe extern "C" {
        #[link_name = "send"]
        fn host_send(at: *const u8, length: usize);
        #[link_name = "recv"]
        fn host_recv(at: *mut u8, room: usize) -> i32;
        #[link_name = "exit"]
        fn host_exit(code: i32) -> !;
    }

    /// Shows text, as it is.
    pub fn output(text: &str) {
        send(&format!(r#"{{"type":"output","text":{}}}"#, json(text)));
    }

    /// Says something beside the output. Levels are `debug`, `info`, `warn` and `error`.
    pub fn log(level: &str, message: &str) {
        let (level, text) = (json(level), json(message));
        send(&format!(
            r#"{{"type":"log","level":{level},"message":{text}}}"#
        ));
    }

    /// What the host has to say; empty when that is nothing.
    pub fn receive() -> String {
        let (mut message, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            // SAFETY: the host writes no more than the length of the buffer.
            let count = unsafe { host_recv(buffer.as_mut_ptr(), buffer.len()) };
            match usize::try_from(count) {
                Ok(count @ 1..) => message.extend_from_slice(&buffer[..count]),
                _ => return String::from_utf8_lossy(&message).into_owned(),
            }
        }
    }

    /// Ends the run; 0 is success.
    pub fn exit(code: i32) -> ! {
        // SAFETY: it takes a number and does not return.
        unsafe { host_exit(code) }
    }

    fn send(message: &str) {
        // SAFETY: the host reads that many bytes, which are there until it returns.
        unsafe { host_send(message.as_ptr(), message.len()) }
    }

    /// Text as a JSON string.
    pub fn json(text: &str) -> String {
        let mut quoted = String::from('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                '\0'..' ' => {
                    let _ = write!(quoted, "\\u{:04x}", u32::from(c));
                }
                _ => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, fledge, long_lines};

    #[test]
    fn lines_are_measured_in_characters() {
        let (fits, too_long) = ("ä".repeat(LONGEST), "ä".repeat(LONGEST + 1));
        let text = format!("{fits}\n{too_long}\n\n{too_long}");
        let found: Vec<_> = long_lines(&text).collect();
        assert_eq!(found, [(2, 101), (4, 101)]);
    }

    #[test]
    fn any_text_can_be_sent() {
        let quoted = fledge::json("a \"b\" \\ \n\u{1}ä");
        assert_eq!(quoted, r#""a \"b\" \\ \n\u0001ä""#);
    }
}
