//! The host as the functions that a WebAssembly module imports from `env`.
//!
//! Every address in here is that of a slice or a variable that lives until the function
//! returns, with its own length:
//!
//! - What is `*const` the host only reads. What is `*mut` it writes to: at most as many bytes
//!   as it was told there are (`capacity` at `*length`, or `length` itself), all of them
//!   initialised before. It keeps no address.
//! - The host is outside of this memory and reaches it only through these addresses.
//! - The signatures are the ABI's, in wasm32's types. A host whose functions have others does
//!   not instantiate the module.
#![expect(unsafe_code, reason = "the argument is above; every other file but the exports denies it")]

use std::collections::BTreeMap;

use super::Request;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn host_log(message: *const u8, length: usize);
    fn host_get_config(key: *const u8, key_length: usize, value: *mut u8, length: *mut u32) -> i32;
    fn host_get_state(key: *const u8, key_length: usize, value: *mut u8, length: *mut u32) -> i32;
    fn host_set_state(key: *const u8, key_length: usize, value: *const u8, length: usize);
    fn host_http_request(
        method: *const u8,
        method_length: usize,
        url: *const u8,
        url_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        status: *mut u32,
        answer: *mut u8,
        answer_length: *mut u32,
    ) -> i32;
    safe fn host_get_time_ms() -> i64;
    fn host_random(bytes: *mut u8, length: usize);
}

/// The host that runs this plugin: the functions it gives the module.
#[derive(Debug, Clone)]
pub(super) struct Host;

impl Host {
    pub(super) fn log(&self, message: &str) {
        // SAFETY: the host reads `message` and nothing else; see the top.
        unsafe { host_log(message.as_ptr(), message.len()) }
    }

    /// The value's beginning, as far as there is room: how much that is.
    pub(super) fn config(&self, key: &str, value: &mut [u8]) -> Option<usize> {
        let mut length = capacity(value);
        // SAFETY: the host reads `key` and writes into `value` and `length`; see the top.
        let code = unsafe { host_get_config(key.as_ptr(), key.len(), value.as_mut_ptr(), &mut length) };
        (code == 0).then_some(written(length, value))
    }

    /// The same of what is kept.
    pub(super) fn state_get(&self, key: &str, value: &mut [u8]) -> Option<usize> {
        let mut length = capacity(value);
        // SAFETY: the host reads `key` and writes into `value` and `length`; see the top.
        let code = unsafe { host_get_state(key.as_ptr(), key.len(), value.as_mut_ptr(), &mut length) };
        (code == 0).then_some(written(length, value))
    }

    pub(super) fn state_set(&self, key: &str, value: &str) {
        // SAFETY: the host reads `key` and `value`; see the top.
        unsafe { host_set_state(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
    }

    /// Whether there was a response, its status or the reason's number, and how much was
    /// written of its body or of the reason.
    pub(super) fn http(&self, request: &Request, answer: &mut [u8]) -> (bool, u32, usize) {
        let (method, url, body, headers) =
            (&request.method, &request.url, &request.body, headers(&request.headers));
        let (mut status, mut length) = (0, capacity(answer));
        // SAFETY: the host reads the first four and writes into the last three; see the top.
        let code = unsafe {
            host_http_request(
                method.as_ptr(),
                method.len(),
                url.as_ptr(),
                url.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                &mut status,
                answer.as_mut_ptr(),
                &mut length,
            )
        };
        (code == 0, status, written(length, answer))
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(host_get_time_ms()).unwrap_or_default()
    }

    pub(super) fn random(&self, bytes: &mut [u8]) {
        // SAFETY: the host writes into `bytes`; see the top.
        unsafe { host_random(bytes.as_mut_ptr(), bytes.len()) }
    }
}

/// As the ABI has them: an object of texts, or nothing.
fn headers(headers: &[(String, String)]) -> String {
    if headers.is_empty() {
        return String::new();
    }
    let headers: BTreeMap<&String, &String> = headers.iter().map(|(name, value)| (name, value)).collect();
    serde_json::to_string(&headers).expect("an object of texts has a JSON form")
}

fn capacity(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).unwrap_or(u32::MAX)
}

/// No host writes more than there is room for; one that says so is not believed.
fn written(length: u32, buffer: &[u8]) -> usize {
    (length as usize).min(buffer.len())
}
