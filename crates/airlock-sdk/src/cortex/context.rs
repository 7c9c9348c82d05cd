//! What a capability can ask of its host.

use super::{Host, HttpError, Request, Response};

/// Room for a text at first, in bytes.
const FIRST: usize = 1024;

/// How many times larger each next room is.
const STEP: usize = 8;

/// Bytes of a body that the ABI hands over at most.
const BODY: usize = 65_528;

/// Random bytes that the ABI gives at once at most.
const RANDOM: usize = 65_536;

/// What a capability can ask of its host. Each capability is given one.
///
/// What is not granted to the plugin is not there: [`log`](Self::log) and
/// [`state_set`](Self::state_set) do nothing then, [`config`](Self::config) and
/// [`state_get`](Self::state_get) give `None`, [`http`](Self::http) an error,
/// [`now_ms`](Self::now_ms) and [`random`](Self::random) what is the same in every run.
///
/// Each method is one import of the module `env`, and only those that a plugin uses are
/// imported. Texts end at their first NUL character, which is how CortexPrism's host reads
/// them.
///
/// In tests, [`testing::Fakes`](super::testing::Fakes) makes one.
#[derive(Debug, Clone)]
pub struct CapabilityContext {
    host: Host,
}

impl CapabilityContext {
    pub(super) fn new(host: Host) -> Self {
        CapabilityContext { host }
    }

    /// Writes a line to the host's log. The ABI has one level, which is that of information.
    ///
    /// Needs `log`. A line is cut after 64 KiB.
    pub fn log(&self, message: impl AsRef<str>) {
        self.host.log(message.as_ref());
    }

    /// What the plugin is configured with for `key`. Needs `config`.
    ///
    /// An empty value is as good as none: the ABI does not tell them apart.
    pub fn config(&self, key: &str) -> Option<String> {
        whole(&mut |buffer| self.host.config(key, buffer))
    }

    /// What was kept for `key`, by this call or one before. Needs `kv`.
    pub fn state_get(&self, key: &str) -> Option<String> {
        whole(&mut |buffer| self.host.state_get(key, buffer))
    }

    /// Keeps `value` for `key`, for later calls too. Needs `kv`.
    ///
    /// The ABI has no way to say that nothing was kept, as when there is no room for it;
    /// [`state_get`](Self::state_get) tells what is.
    pub fn state_set(&self, key: &str, value: &str) {
        self.host.state_set(key, value);
    }

    /// Makes a request, and waits for what is answered. Needs `net` for where it goes.
    ///
    /// ```no_run
    /// # fn f(context: airlock_sdk::CapabilityContext) -> Result<(), airlock_sdk::cortex::HttpError> {
    /// use airlock_sdk::cortex::Request;
    ///
    /// let page = context.http("https://example.com/")?;
    /// let note = Request::new("POST", "https://api.example.com/notes")
    ///     .header("content-type", "application/json")
    ///     .body(r#"{"text":"hello"}"#);
    /// if page.success() && context.http(note)?.status == 201 {
    ///     context.log("noted");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HttpError`] when there is no response. A status such as 404 is one.
    pub fn http(&self, request: impl Into<Request>) -> Result<Response, HttpError> {
        let mut body = vec![0; BODY];
        let (answered, status, length) = self.host.http(&request.into(), &mut body);
        body.truncate(length);
        let status = u16::try_from(status).unwrap_or_default();
        match answered {
            true => {
                body.shrink_to_fit();
                Ok(Response { status, cut: body.len() == BODY, body })
            }
            false => Err(HttpError { status, message: text(body) }),
        }
    }

    /// Milliseconds since the beginning of 1970, in UTC. Needs `clock` to be the real ones.
    pub fn now_ms(&self) -> u64 {
        self.host.now_ms()
    }

    /// Fills `bytes` with random ones. Needs `random` to be others in every run.
    pub fn random(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(RANDOM) {
            self.host.random(piece);
        }
    }
}

/// A text of any length: the host cuts off what there is no room for, so one that fills the
/// room is asked for again with more.
fn whole(ask: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> Option<String> {
    let mut buffer = vec![0; FIRST];
    loop {
        let length = ask(&mut buffer)?;
        if length < buffer.len() {
            buffer.truncate(length);
            return Some(text(buffer));
        }
        let larger = buffer.len() * STEP;
        buffer.resize(larger, 0);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
