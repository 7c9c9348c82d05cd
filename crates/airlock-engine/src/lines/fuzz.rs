//! Line tables of any bytes: they are read in no more memory than rows may take, and tell places that
//! can be shown.

use std::time::Duration;

use super::{Lines, MAX_PATH, Row, Sequence};

#[test]
fn line_tables_of_any_bytes_are_read_or_left_out() {
    let bytes = bolero::produce::<Vec<u8>>().with().len(0..=4096_usize);
    let target = bolero::check!().with_generator(bytes);
    target.with_iterations(2000).with_test_time(Duration::from_secs(2)).for_each(|bytes: &Vec<u8>| {
        let lines = Lines::of(&module(bytes));
        // Each byte makes a row at most, and a path is of two parts.
        let most = bytes.len() * (2 * size_of::<Row>() + size_of::<Sequence>() + 2 * MAX_PATH + 32);
        assert!(lines.bytes() <= most as u64, "{} bytes of {}", lines.bytes(), bytes.len());
        for offset in 0..200 {
            let Some(place) = lines.find(offset) else { continue };
            assert!(place.line > 0 && place.column != Some(0) && place.file.len() <= 6 * MAX_PATH + 1);
        }
    });
}

/// A module with a function of some bytes, and with these bytes as its line tables. The texts that
/// they refer to are the same.
fn module(table: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let body = [&[100, 0], [0x01].repeat(98).as_slice(), &[0x0b]].concat();
    section(&mut module, 10, &[&[1], &body[..101]].concat());
    for (name, data) in [(".debug_line", table), (".debug_str", b"a.c\0b\0"), (".debug_line_str", b"c\0d")] {
        let length = u8::try_from(name.len()).expect("short");
        section(&mut module, 0, &[&[length], name.as_bytes(), data].concat());
    }
    module
}

fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    let mut rest = content.len();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        module.push(if rest == 0 { low } else { low | 0x80 });
        if rest == 0 {
            break;
        }
    }
    module.extend_from_slice(content);
}
