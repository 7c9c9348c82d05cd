//! `airlock rpc`: plugins for a program in another language, over standard input and output.
//!
//! One thread reads lines and does what they say, but for calls, each of which has a thread of its
//! own, up to a number. So answers come in the order in which things are done. Nothing but answers
//! is printed on standard output.

#[cfg(test)]
mod fuzz;
mod lines;
mod plugins;
mod wire;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use airlock_host::{Cancel, Error, ErrorKind};
use serde::{Deserialize, Serialize};

use self::lines::Line;
use self::plugins::{Call, Load, Loaded, Of, Run};
use self::wire::{Fault, Id, Request};
use super::Session;
use crate::printer::Printer;

/// The version of what is spoken.
const PROTOCOL: u32 = 1;

/// What can be asked.
const METHODS: [&str; 7] = ["initialize", "load", "call", "run", "observed", "unload", "shutdown"];

/// Calls that run at once; no more lines are read until one of them has ended.
const CALLS: usize = 128;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

pub(super) fn run(session: &Session, longest: usize) -> Result<u8, Error> {
    let _sending = session.sending();
    let mut input = BufReader::with_capacity(PIECE, std::io::stdin().lock());
    let peer = Peer { printer: session.printer, cancel: Cancel::new(), calls: Calls::default() };
    thread::scope(|scope| {
        let mut server = Server { session, longest, peer: &peer, loaded: BTreeMap::new(), count: 0 };
        loop {
            let read = lines::next(&mut input, longest)
                .map_err(|error| Error::host("cannot read from standard input").with_source(error));
            match read {
                Ok(Some(line)) => {
                    if server.line(scope, line).is_break() {
                        return Ok(0);
                    }
                }
                // Whoever asked has gone.
                other => {
                    peer.leave();
                    return other.map(|_| 0);
                }
            }
        }
    })
}

/// Who asks.
struct Peer {
    printer: Printer,
    /// Ends the calls.
    cancel: Cancel,
    calls: Calls,
}

impl Peer {
    fn answer<T: Serialize>(&self, id: Option<&Id>, result: Result<T, Fault>) {
        // Who asks without an id wants to hear nothing, not even that it failed.
        let Some(id) = id else { return };
        if self.printer.spoken(&wire::answer(id, result)).is_err() {
            self.leave();
        }
    }

    /// Cuts the calls, for which nobody waits any more.
    fn leave(&self) {
        self.cancel.cancel();
    }
}

/// Calls that run.
#[derive(Default)]
struct Calls {
    running: Mutex<usize>,
    ended: Condvar,
}

impl Calls {
    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, once they are fewer than the most.
    fn begin(&self) -> Running<'_> {
        *self.until_fewer_than(CALLS) += 1;
        Running(self)
    }

    fn until_fewer_than(&self, most: usize) -> MutexGuard<'_, usize> {
        let too_many = |running: &mut usize| *running >= most;
        self.ended.wait_while(self.running(), too_many).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is counted until it is dropped.
struct Running<'a>(&'a Calls);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running() -= 1;
        self.0.ended.notify_all();
    }
}

struct Server<'a> {
    session: &'a Session,
    longest: usize,
    peer: &'a Peer,
    loaded: BTreeMap<String, Arc<Loaded>>,
    /// How many were loaded so far.
    count: u64,
}

/// What the two sides say of themselves first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Initialize {
    protocol: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Initialized {
    protocol: u32,
    airlock: &'static str,
    methods: [&'static str; METHODS.len()],
    max_line: usize,
}

/// Nothing that has to be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<'a> Server<'a> {
    /// Does what a line says.
    fn line<'s>(&mut self, scope: &'s Scope<'s, '_>, line: Line) -> ControlFlow<()>
    where
        'a: 's,
    {
        let line = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return ControlFlow::Continue(()),
            Line::Whole(line) => line,
            Line::TooLong => {
                self.peer.answer::<()>(Some(&Id::none()), Err(Fault::TooLong(self.longest)));
                return ControlFlow::Continue(());
            }
        };
        match Request::read(&line) {
            Ok(request) => self.request(scope, request),
            Err((id, fault)) => {
                self.peer.answer::<()>(Some(&id), Err(fault));
                ControlFlow::Continue(())
            }
        }
    }

    fn request<'s>(&mut self, scope: &'s Scope<'s, '_>, request: Request) -> ControlFlow<()>
    where
        'a: 's,
    {
        let id = request.id.as_ref();
        match request.method.as_str() {
            "initialize" => self.peer.answer(id, initialize(&request, self.longest)),
            "load" => {
                let loaded = request.params().and_then(|load| self.load(load));
                self.peer.answer(id, loaded);
            }
            "observed" => {
                let observed =
                    request.params().and_then(|Of { plugin }| Ok(self.plugin(&plugin)?.observed()?));
                self.peer.answer(id, observed);
            }
            "unload" => {
                let unloaded = request.params().and_then(|Of { plugin }| self.unload(&plugin));
                self.peer.answer(id, unloaded);
            }
            "call" => self.begin(scope, request, |call: Call, loaded, cancel| call.call(loaded, cancel)),
            "run" => self.begin(scope, request, |run: Run, loaded, cancel| run.run(loaded, cancel)),
            "shutdown" => {
                let told = request.params().map(|Nothing {}| ());
                let ends = told.is_ok();
                if ends {
                    drop(self.peer.calls.until_fewer_than(1));
                    for loaded in std::mem::take(&mut self.loaded).into_values() {
                        if let Err(error) = loaded.unload() {
                            tracing::debug!(%error, "cannot be ended");
                        }
                    }
                }
                self.peer.answer(id, told);
                if ends {
                    return ControlFlow::Break(());
                }
            }
            other => self.peer.answer::<()>(id, Err(Fault::NoMethod(other.to_owned()))),
        }
        ControlFlow::Continue(())
    }

    fn load(&mut self, load: Load) -> Result<impl Serialize + use<>, Fault> {
        let id = (self.count + 1).to_string();
        let (loaded, description) = load.load(self.session, &id)?;
        self.count += 1;
        self.loaded.insert(id, Arc::new(loaded));
        Ok(description)
    }

    fn unload(&mut self, id: &str) -> Result<(), Fault> {
        let loaded = self.plugin(id)?.clone();
        self.loaded.remove(id);
        Ok(loaded.unload()?)
    }

    fn plugin(&self, id: &str) -> Result<&Arc<Loaded>, Error> {
        let known = self.loaded.keys().map(String::as_str);
        self.loaded.get(id).ok_or_else(|| plugins::not_loaded(id, known))
    }

    /// Does something with a plugin on a thread of its own.
    fn begin<'s, P, R>(
        &self,
        scope: &'s Scope<'s, '_>,
        request: Request,
        work: impl FnOnce(P, &Loaded, &Cancel) -> Result<R, Error> + Send + 's,
    ) where
        'a: 's,
        P: OfPlugin + Send + 's,
        R: Serialize,
    {
        let peer = self.peer;
        let found =
            request.params().and_then(|params: P| Ok((self.plugin(params.plugin())?.clone(), params)));
        let id = request.id;
        let (loaded, params) = match found {
            Ok(found) => found,
            Err(fault) => return peer.answer::<()>(id.as_ref(), Err(fault)),
        };
        let (running, own) = (peer.calls.begin(), id.clone());
        let called = move || {
            let result = work(params, &loaded, &peer.cancel);
            drop(loaded);
            peer.answer(id.as_ref(), result.map_err(Fault::from));
            drop(running);
        };
        let started = thread::Builder::new().name("airlock-call".to_owned()).spawn_scoped(scope, called);
        if let Err(error) = started {
            let error = Error::host("cannot start a thread").with_source(error);
            peer.answer::<()>(own.as_ref(), Err(error.into()));
        }
    }
}

/// Parameters that say of which plugin they are.
trait OfPlugin: serde::de::DeserializeOwned {
    fn plugin(&self) -> &str;
}

impl OfPlugin for Call {
    fn plugin(&self) -> &str {
        &self.plugin
    }
}

impl OfPlugin for Run {
    fn plugin(&self) -> &str {
        &self.plugin
    }
}

fn initialize(request: &Request, max_line: usize) -> Result<Initialized, Fault> {
    let Initialize { protocol } = request.params()?;
    if let Some(other) = protocol.filter(|protocol| *protocol != PROTOCOL) {
        let reason = format!("this version speaks {PROTOCOL}, not {other}");
        return Err(Error::new(ErrorKind::InvalidSetting { name: "protocol".to_owned(), reason }).into());
    }
    let airlock = env!("CARGO_PKG_VERSION");
    Ok(Initialized { protocol: PROTOCOL, airlock, methods: METHODS, max_line })
}
