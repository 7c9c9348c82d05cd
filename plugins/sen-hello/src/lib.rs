//! Says hello: a sen-rs plugin without the SDK, its exports written out by hand.
//!
//! `rmp_serde::to_vec` writes a struct as an array of its fields, so their order in the types
//! below is the format. sen-rs takes that as well as the maps that its SDK writes.

use std::alloc::{alloc, dealloc, Layout};
use std::{ptr, slice};

use serde::Serialize;

/// What the host must speak. This manifest ends before its third field, `capabilities`:
/// there are none.
#[derive(Serialize)]
struct Manifest {
    api_version: u32,
    command: Command,
}

#[derive(Serialize)]
struct Command {
    name: &'static str,
    about: &'static str,
    version: Option<&'static str>,
    author: Option<&'static str>,
    args: Vec<Arg>,
    subcommands: Vec<Command>,
}

#[derive(Serialize)]
struct Arg {
    name: &'static str,
    long: Option<&'static str>,
    short: Option<char>,
    required: bool,
    help: &'static str,
    value_name: Option<&'static str>,
    default_value: Option<&'static str>,
    possible_values: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
enum Answer {
    Success(String),
    Error(Failure),
}

/// 1 is the caller's mistake, 101 the plugin's or the host's.
#[derive(Serialize)]
struct Failure {
    code: u8,
    message: &'static str,
}

#[no_mangle]
pub extern "C" fn plugin_manifest() -> i64 {
    let name = Arg {
        name: "name",
        long: None,
        short: None,
        required: false,
        help: "Who is greeted",
        value_name: None,
        default_value: Some("World"),
        possible_values: None,
    };
    give(&Manifest {
        api_version: 2,
        command: Command {
            name: "hello",
            about: "Says hello",
            version: Some("1.0.0"),
            author: None,
            args: vec![name],
            subcommands: Vec::new(),
        },
    })
}

/// # Safety
/// `pointer` and `length` name memory that the host wrote. It stays the host's, which frees it.
#[no_mangle]
pub unsafe extern "C" fn plugin_execute(pointer: *const u8, length: usize) -> i64 {
    let args = unsafe { slice::from_raw_parts(pointer, length) };
    give(&match rmp_serde::from_slice::<Vec<String>>(args) {
        Ok(args) => hello(args.first().map_or("World", String::as_str)),
        Err(_) => Answer::Error(Failure { code: 101, message: "the arguments are no array of texts" }),
    })
}

fn hello(name: &str) -> Answer {
    match name {
        "fail" => Answer::Error(Failure { code: 1, message: "as asked" }),
        name => Answer::Success(format!("Hello, {name}!")),
    }
}

/// Memory for the host to write to; null where there is none.
#[no_mangle]
pub extern "C" fn plugin_alloc(size: i32) -> *mut u8 {
    match layout(size) {
        Some(layout) => unsafe { alloc(layout) },
        None => ptr::null_mut(),
    }
}

/// # Safety
/// `pointer` is null, or came with this size from `plugin_alloc` or in an answer.
#[no_mangle]
pub unsafe extern "C" fn plugin_dealloc(pointer: *mut u8, size: i32) {
    if let (false, Some(layout)) = (pointer.is_null(), layout(size)) {
        unsafe { dealloc(pointer, layout) }
    }
}

/// How this many bytes are laid out; nothing is for no bytes.
fn layout(size: i32) -> Option<Layout> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0)?;
    Layout::array::<u8>(size).ok()
}

/// Hands a value to the host, which frees it: its address in the upper half, its length in
/// the lower.
fn give(value: &impl Serialize) -> i64 {
    let bytes = rmp_serde::to_vec(value).expect("these types have a form in MessagePack");
    // In a box there is no spare room, so address and length are what `plugin_dealloc` needs.
    let bytes = Box::leak(bytes.into_boxed_slice());
    ((bytes.as_ptr() as i64) << 32) | bytes.len() as i64
}
