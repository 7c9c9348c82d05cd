//! What the host offers, as imports and as functions without pointers.

/// Bytes of the longest text that the host writes.
const TEXT: usize = 65_536;

mod env {
    #[link(wasm_import_module = "env")]
    extern "C" {
        pub fn host_log(message: *const u8, length: usize);
        pub fn host_get_config(key: *const u8, length: usize, out: *mut u8, out_length: *mut u32) -> i32;
        pub fn host_set_state(key: *const u8, length: usize, value: *const u8, value_length: usize);
        pub fn host_get_state(key: *const u8, length: usize, out: *mut u8, out_length: *mut u32) -> i32;
        pub fn host_http_request(
            method: *const u8,
            method_length: usize,
            url: *const u8,
            url_length: usize,
            body: *const u8,
            body_length: usize,
            headers: *const u8,
            headers_length: usize,
            out_status: *mut i32,
            out_body: *mut u8,
            out_body_length: *mut u32,
        ) -> i32;
        pub fn host_get_time_ms() -> i64;
    }
}

pub struct Response {
    pub status: i32,
    /// What came, or why nothing did.
    pub body: String,
    pub answered: bool,
}

pub fn log(message: &str) {
    unsafe { env::host_log(message.as_ptr(), message.len()) }
}

/// A setting of the plugin.
pub fn config(key: &str) -> Option<String> {
    read(|out, length| unsafe { env::host_get_config(key.as_ptr(), key.len(), out, length) })
}

pub fn state(key: &str) -> Option<String> {
    read(|out, length| unsafe { env::host_get_state(key.as_ptr(), key.len(), out, length) })
}

pub fn set_state(key: &str, value: &str) {
    unsafe { env::host_set_state(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    unsafe { env::host_get_time_ms() }
}

/// Makes a request, with headers as a JSON object or empty.
pub fn http_request(method: &str, url: &str, body: &str, headers: &str) -> Response {
    let mut status = 0;
    let (answer, code) = written(|out, length| unsafe {
        env::host_http_request(
            method.as_ptr(),
            method.len(),
            url.as_ptr(),
            url.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            &mut status,
            out,
            length,
        )
    });
    Response { status, body: answer, answered: code == 0 }
}

fn read(write: impl FnOnce(*mut u8, *mut u32) -> i32) -> Option<String> {
    let (text, code) = written(write);
    (code == 0).then_some(text)
}

/// What the host writes into a buffer, and what it says of that.
fn written(write: impl FnOnce(*mut u8, *mut u32) -> i32) -> (String, i32) {
    let mut bytes = vec![0; TEXT];
    let mut length = TEXT as u32;
    let code = write(bytes.as_mut_ptr(), &mut length);
    bytes.truncate(length as usize);
    // A text that was cut off may end within a character.
    (String::from_utf8_lossy(&bytes).into_owned(), code)
}
