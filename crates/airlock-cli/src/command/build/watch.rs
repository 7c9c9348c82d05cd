//! `airlock build --watch`: builds, checks and tests a plugin each time its sources are something
//! else.
//!
//! What the system says of the folder is only a reason to look: what counts is the digest of the
//! sources, in which nothing is that building makes.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use airlock_host::{Digest, Error, ErrorKind, visible};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::super::{Session, check, test};
use super::once;
use super::project::Project;
use crate::flags::{Build, Load, Test};

/// How long files are left in peace after one was written: an editor writes several.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// What the main thread is told.
enum Message {
    /// Something happened to a file.
    Touched,
    /// Somebody wants it to end.
    End,
}

pub(super) fn run(session: &Session, build: &Build) -> Result<u8, Error> {
    if session.printer.json {
        let reason = "it prints no one object, as it does not end by itself".to_owned();
        return Err(Error::new(ErrorKind::InvalidSetting { name: "--watch".to_owned(), reason }));
    }
    // Where there is no such folder it ends, and later on it does not.
    Project::at(&build.folder)?;
    let (sender, messages) = mpsc::channel();
    let stop = sender.clone();
    ctrlc::set_handler(move || {
        // Whoever asks twice is already being served.
        let _ = stop.send(Message::End);
    })
    .map_err(|error| Error::host("cannot be told to end").with_source(error))?;
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // Nobody listens any more when it has ended.
            let _ = sender.send(Message::Touched);
        }
    });
    let watcher = watcher.map_err(cannot_watch)?;
    let mut watched = Watched { watcher, folders: Vec::new() };
    session.printer.note(&format!("watching `{}`; Ctrl-C ends it", build.folder.display()));
    serve(session, build, &mut watched, &messages)?;
    Ok(0)
}

/// Builds until somebody ends it.
fn serve(
    session: &Session,
    build: &Build,
    watched: &mut Watched,
    messages: &Receiver<Message>,
) -> Result<(), Error> {
    let mut built: Option<Digest> = None;
    // Whether a build has changed the sources itself, as one does that writes a lock file.
    let mut is_settling = false;
    loop {
        watched.follow(&build.folder)?;
        let now = sources(&build.folder);
        if now != built || now.is_none() {
            round(session, build);
            let after = sources(&build.folder);
            // What was saved meanwhile is built at once, and what the build itself writes is so no more
            // than once.
            built = if after == now || is_settling { after } else { now };
            is_settling = after != now && !is_settling;
            if is_settling {
                continue;
            }
            session.printer.note("waiting for changes");
        }
        is_settling = false;
        if !settled(messages) {
            return Ok(());
        }
    }
}

/// Builds, checks and tests once. What goes wrong is said, and mended by the next change.
fn round(session: &Session, build: &Build) {
    let steps = || {
        let built = once(session, build)?;
        built.tell(session)?;
        let plugin = built.project.plugin(&build.folder);
        if check::run(session, &plugin, false)? == 0 {
            test_cases(session, &plugin)?;
        }
        Ok(())
    };
    if let Err(error) = steps() {
        session.printer.error(&error);
    }
}

/// Runs the plugin's cases, where it has some.
fn test_cases(session: &Session, plugin: &Path) -> Result<(), Error> {
    let test = Test {
        plugin: plugin.to_owned(),
        cases: None,
        pattern: None,
        list: false,
        update: false,
        junit: None,
        jobs: None,
        fail_fast: false,
        load: Load::default(),
    };
    match test::run(session, &test) {
        Err(error) if matches!(error.kind(), ErrorKind::NoCases(_)) => {
            session.printer.note("it has no cases to be tested with");
            Ok(())
        }
        tested => tested.map(|_| ()),
    }
}

/// What the plugin is built from; none where that cannot be said, as when its manifest is half written.
fn sources(folder: &Path) -> Option<Digest> {
    let (digest, _) = Project::at(folder).and_then(|project| project.sources()).ok()?;
    Some(digest)
}

/// Waits for a change, and until there are no more for a moment. Whether it goes on then.
fn settled(messages: &Receiver<Message>) -> bool {
    if !matches!(messages.recv(), Ok(Message::Touched)) {
        return false;
    }
    loop {
        match messages.recv_timeout(DEBOUNCE) {
            Ok(Message::Touched) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Reading a file changes nothing, and is what looking does.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The folders that the system tells of: those with sources, each by itself, as those that tools fill are
/// large.
struct Watched {
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
}

impl Watched {
    /// Follows folders that have come since.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where the plugin's own folder cannot be watched.
    fn follow(&mut self, folder: &Path) -> Result<(), Error> {
        let Ok(project) = Project::at(folder) else {
            // Its manifest is half written; its folder is watched.
            return if self.folders.is_empty() { self.add(folder) } else { Ok(()) };
        };
        for (index, folder) in project.folders().into_iter().enumerate() {
            match self.add(&folder) {
                Err(error) if index == 0 => return Err(error),
                // It has gone again.
                _ => {}
            }
        }
        self.folders.retain(|folder| folder.is_dir());
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> Result<(), Error> {
        if !self.folders.iter().any(|watched| watched == folder) {
            self.watcher.watch(folder, RecursiveMode::NonRecursive).map_err(cannot_watch)?;
            self.folders.push(folder.to_owned());
        }
        Ok(())
    }
}

fn cannot_watch(error: notify::Error) -> Error {
    let error = std::io::Error::other(visible(&error.to_string(), false).into_owned());
    Error::host("cannot watch the folder").with_source(error)
}
