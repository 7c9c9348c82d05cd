//! The plugin in Rust of MoFA's page: a sum, and bytes that are handed over by pointer and length.

/// The sum of two numbers.
#[unsafe(no_mangle)]
pub extern "C" fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

/// How many bytes it was handed.
///
/// # Safety
/// `data` is the start of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn process_data(data: *const u8, length: usize) -> i32 {
    // SAFETY: the caller says so.
    let data = unsafe { std::slice::from_raw_parts(data, length) };
    i32::try_from(data.len()).unwrap_or(i32::MAX)
}

/// The sum of the bytes, which shows that they have arrived.
///
/// # Safety
/// As [`process_data`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sum(data: *const u8, length: usize) -> i32 {
    // SAFETY: the caller says so.
    let data = unsafe { std::slice::from_raw_parts(data, length) };
    data.iter().map(|byte| i32::from(*byte)).sum()
}
