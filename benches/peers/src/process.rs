//! The peers' processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peer_worker::Work;

use crate::Peer;

/// How long a guest that loops is waited for before its host counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// Builds a peer, each by itself so that none gets another's features. Says so where that
/// fails, and the table goes on without it.
pub(crate) fn build(peer: &Peer) -> bool {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(peer.package).join("Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
    cargo.arg("--target-dir").arg(target());
    if peer.any_compiler {
        cargo.arg("--ignore-rust-version");
    }
    cargo.status().is_ok_and(|status| status.success())
}

/// The folder this program was built in.
fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    own.ancestors().nth(2).expect("it is two folders deep").to_owned()
}

fn command(peer: &Peer) -> Command {
    let mut command = Command::new(target().join("release").join(format!("peer-{}", peer.package)));
    command.args(peer.args);
    // With these set, every error that a host makes on its way would cost a stack walk.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
    command
}

/// A peer that waits for work.
pub(crate) struct Process {
    child: Child,
    /// Taken to end it.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(peer: &Peer) -> Self {
        let mut child = command(peer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("what was built can be started");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was piped"));
        Process { child, orders, answers }
    }

    /// How long the work took, done so many times. `None` where the peer cannot do it.
    pub(crate) fn time(&mut self, work: Work, times: u32) -> Option<Duration> {
        let orders = self.orders.as_mut().expect("it is there until the end");
        writeln!(orders, "{} {times}", work.name()).expect("the peer lives");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the peer lives");
        match answer.trim() {
            "cannot" => None,
            nanos => {
                Some(Duration::from_nanos(nanos.parse().expect("the peer has failed, and said why above")))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends by itself when there is nothing more to read.
        let _ = self.child.wait();
    }
}

/// Lets a peer call a guest that loops, and tells how that ended.
pub(crate) fn spin(peer: &Peer, place: &str) -> String {
    let mut child = command(peer)
        .args(["spin", place])
        .stdout(Stdio::piped())
        .spawn()
        .expect("what was built can be started");
    let start = Instant::now();
    loop {
        if child.try_wait().expect("it is our child").is_some() {
            let mut said = String::new();
            let mut output = child.stdout.take().expect("it was piped");
            output.read_to_string(&mut said).expect("it writes UTF-8");
            return said.trim().to_owned();
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            return format!("still running after {} s, killed", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
}
