//! Every pointer against the same question asked in numbers that cannot overflow.

use std::ops::Range;
use std::time::Duration;

use super::{read_u32, slice, slice_mut, tail, utf16, write};

#[test]
fn pointers_are_taken_as_numbers_that_cannot_overflow() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let Some((head, memory)) = bytes.split_first_chunk::<10>() else { return };
            let (one, other) = (near(&head[..5], memory.len()), near(&head[5..], memory.len()));
            judge_reads(memory, one, other);
            judge_writes(memory, one, &bytes[..bytes.len().min(other as usize)]);
        },
    );
}

/// A number made of five bytes: any, or a little off one of the edges.
fn near(head: &[u8], length: usize) -> u32 {
    let any = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let off = i32::from(head[1].cast_signed() >> 2);
    match head[0] % 4 {
        0 => any,
        1 => 0_u32.wrapping_add_signed(off),
        2 => u32::try_from(length).expect("it is small").wrapping_add_signed(off),
        _ => any % (u32::try_from(length).expect("it is small") + 1),
    }
}

/// Where `length` bytes at `pointer` are in a memory of `size`, if they are inside.
fn range(pointer: u32, length: u64, size: usize) -> Option<Range<usize>> {
    let end = u128::from(pointer) + u128::from(length);
    (end <= size as u128).then_some(pointer as usize..end as usize)
}

fn judge_reads(memory: &[u8], pointer: u32, length: u32) {
    let at = |pointer, length| range(pointer, length, memory.len()).map(|inside| &memory[inside]);
    assert_eq!(slice(memory, pointer, length).ok(), at(pointer, length.into()));

    let after = (memory.len() as u64).saturating_sub(pointer.into());
    assert_eq!(tail(memory, pointer), at(pointer, after).unwrap_or_default());

    let number =
        |pointer| Some(at(pointer, 4)?.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte)));
    assert_eq!(read_u32(memory, pointer), number(pointer));

    let text = || {
        let length = pointer.checked_sub(4).and_then(number).filter(|length| length % 2 == 0)?;
        let units =
            at(pointer, length.into())?.chunks(2).map(|pair| u16::from(pair[1]) << 8 | u16::from(pair[0]));
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    assert_eq!(utf16(memory, pointer), text());
}

fn judge_writes(memory: &[u8], pointer: u32, bytes: &[u8]) {
    let inside = range(pointer, bytes.len() as u64, memory.len());
    let mut expected = memory.to_vec();
    if let Some(inside) = inside.clone() {
        expected.splice(inside, bytes.iter().copied());
    }
    let mut written = memory.to_vec();
    assert_eq!(write(&mut written, pointer, bytes).is_ok(), inside.is_some());
    assert_eq!(written, expected);
    let length = u32::try_from(bytes.len()).expect("it is small");
    assert_eq!(slice_mut(&mut written, pointer, length).ok(), inside.map(|inside| &mut expected[inside]));
}
