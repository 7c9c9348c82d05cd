//! A person at a terminal: a pseudo-terminal with `airlock` at its other end.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long anything may take to appear. Long, since a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    /// How much of what was seen was waited for.
    past: usize,
}

impl Terminal {
    /// Runs a command with a terminal for all its streams.
    pub(crate) fn run(mut command: Command) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let end = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(keyboard);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with an error once nobody has the other end open.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keyboard, screen, seen: Vec::new(), past: 0 }
    }

    /// Waits until `text` is on the screen, after what was waited for before.
    pub(crate) fn expect(&mut self, text: &str) {
        loop {
            let rest = String::from_utf8_lossy(&self.seen[self.past..]).into_owned();
            if let Some(at) = rest.find(text) {
                self.past += at + text.len();
                return;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => panic!("`{text}` did not appear, but:\n{}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Waits for the end: the exit code, and all that was on the screen, without the colours.
    pub(crate) fn end(self) -> (i32, String) {
        let (code, text) = self.end_raw();
        (code, strip_colours(&left_standing(&text)))
    }

    /// Waits for the end: the exit code, and every byte that was on the screen.
    pub(crate) fn end_raw(mut self) -> (i32, String) {
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.seen.extend(bytes);
        }
        let code = self.child.wait().unwrap().code().unwrap();
        (code, String::from_utf8_lossy(&self.seen).replace("\r\n", "\n"))
    }
}

/// A test that has seen enough leaves nobody waiting for an answer.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of each line that was erased, as a spinner does on a slow machine.
fn left_standing(text: &str) -> String {
    const ERASE: &str = "\x1b[2K";
    let lines = text.split_inclusive('\n').map(|line| line.rsplit(ERASE).next().unwrap_or(line));
    lines.collect()
}

fn strip_colours(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
