//! Programs that guests run: real ones of this machine.

mod around;
mod ends;
mod which;

use std::path::{Path, PathBuf};

use airlock_host::service::exec::{Programs, normalised};
use airlock_host::{Ended, Exec, ProgramRun, ServiceError, Stream};

use crate::gated::Call;
use crate::support::Mode;

impl Call {
    /// Runs a program as an adapter does.
    fn run(&self, run: ProgramRun) -> Result<Output, ServiceError> {
        Mode::NoRuntime.wait(self.run_with(&Programs::new().search(self.search.clone()), run))
    }

    async fn run_with(&self, programs: &Programs, run: ProgramRun) -> Result<Output, ServiceError> {
        let run = normalised(run, &self.policy)?;
        let permit = self.permit(run.need())?;
        let mut output = Output { ended: Ended::TimedOut, stdout: Vec::new(), stderr: Vec::new() };
        let mut sink = |stream: Stream, bytes: &[u8]| {
            match stream {
                Stream::Stdout => output.stdout.extend_from_slice(bytes),
                Stream::Stderr => output.stderr.extend_from_slice(bytes),
            }
            Ok(())
        };
        let ended = programs.run(&permit, &run, &mut sink).await?;
        Ok(Output { ended, ..output })
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words_of(words)).unwrap();
        assert_eq!(output.ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Output {
    ended: Ended,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn words_of(words: &[&str]) -> ProgramRun {
    let (program, args) = words.split_first().unwrap();
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    ProgramRun { program: (*program).to_owned(), args, ..ProgramRun::default() }
}

fn shell(script: &str) -> ProgramRun {
    words_of(&["sh", "-c", script])
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A script in `folder` that says who it is.
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
