//! What all tests share.

use std::path::PathBuf;

use airlock_host::{
    Answer, Error, Host, Input, LimitKind, LoadOptions, Outcome, Plugin, Program, ProgramInput, Source,
};

/// A host with little to wait for and little to hold.
pub(crate) fn host() -> Host {
    Host::builder().slots(8).build().expect("a host")
}

/// Options with these limits, as a person would write them.
pub(crate) fn limits(pairs: &[(&str, &str)]) -> LoadOptions {
    pairs.iter().fold(LoadOptions::new().wat(true), |options, (name, value)| {
        let kind: LimitKind = name.parse().expect("a limit");
        options.limit(kind, kind.read(value).expect("a value"))
    })
}

/// Options for WebAssembly text.
pub(crate) fn text() -> LoadOptions {
    limits(&[])
}

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

pub(crate) fn source(wat: &str) -> Source {
    Source::from(wat.as_bytes())
}

pub(crate) fn load(host: &Host, wat: &str, options: LoadOptions) -> Plugin {
    host.load_blocking(source(wat), options).expect("the plugin loads")
}

pub(crate) fn load_error(wat: &str, options: LoadOptions) -> Error {
    host().load_blocking(source(wat), options).expect_err("the plugin does not load")
}

/// Every way a call can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Blocking,
    MultiThread,
    CurrentThread,
    NoRuntime,
}

pub(crate) const MODES: [Mode; 4] = [Mode::Blocking, Mode::MultiThread, Mode::CurrentThread, Mode::NoRuntime];

impl Mode {
    /// Runs a future the way of an awaited mode.
    pub(crate) fn wait<F: Future + Send>(self, future: F) -> F::Output
    where
        F::Output: Send,
    {
        match self {
            Mode::Blocking => panic!("a blocking call has no future"),
            Mode::MultiThread => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_time()
                .build()
                .unwrap()
                .block_on(future),
            Mode::CurrentThread => {
                tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
            }
            Mode::NoRuntime => futures_executor::block_on(future),
        }
    }

    pub(crate) fn invoke(
        self,
        plugin: &Plugin,
        function: &str,
        words: &[&str],
    ) -> Result<Outcome<Answer>, Error> {
        let input = Input::Words(words.iter().map(|word| (*word).to_owned()).collect());
        match self {
            Mode::Blocking => plugin.invoke_blocking(function, input),
            _ => self.wait(plugin.invoke(function, input)),
        }
    }

    pub(crate) fn run(self, plugin: &Plugin, input: ProgramInput) -> Result<Outcome<Program>, Error> {
        match self {
            Mode::Blocking => plugin.run_blocking(input),
            _ => self.wait(plugin.run(input)),
        }
    }
}

/// The answer of a call as JSON text.
pub(crate) fn answer(plugin: &Plugin, function: &str, words: &[&str]) -> String {
    Mode::Blocking.invoke(plugin, function, words).expect("the call succeeds").value.to_json_text()
}

/// The error of a call.
pub(crate) fn error(plugin: &Plugin, function: &str, words: &[&str]) -> Error {
    Mode::Blocking.invoke(plugin, function, words).expect_err("the call fails")
}

/// An honest plugin on the same host still gives the right answer.
pub(crate) fn survives(host: &Host) {
    let plugin = host.load_blocking(repository("plugins/text-processor"), LoadOptions::new()).expect("loads");
    let text = answer(&plugin, "transform", &[r#"{"text":"hello world","mode":"reverse"}"#]);
    assert_eq!(text, r#"{"result":"dlrow olleh","length":11,"hash":84918698004773316}"#);
}
