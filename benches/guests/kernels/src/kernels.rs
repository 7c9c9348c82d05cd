//! Kernels that are compiled twice: into a guest, and into the benchmark itself.
//!
//! Each gives a number that depends on all of its work, so that nothing of it is left out and both
//! sides can be seen to have done the same.

use serde_json::Value;

/// Bytes and text that are worked on.
const LENGTH: usize = 1 << 20;

/// Bytes of JSON, about.
const JSON_LENGTH: usize = 100_000;

/// Rows and columns of a matrix.
const SIDE: usize = 128;

/// What the kernels work on, made the same on both sides.
pub(crate) struct Inputs {
    pub(crate) bytes: Vec<u8>,
    text: String,
    json: String,
    left: Vec<f64>,
    right: Vec<f64>,
}

impl Inputs {
    pub(crate) fn new() -> Self {
        let mut numbers = Numbers(1);
        Inputs {
            bytes: (0..LENGTH).map(|_| numbers.below(256) as u8).collect(),
            text: text(&mut numbers),
            json: records(&mut numbers),
            left: (0..SIDE * SIDE).map(|_| f64::from(numbers.below(1000)) / 7.0).collect(),
            right: (0..SIDE * SIDE).map(|_| f64::from(numbers.below(1000)) / 11.0).collect(),
        }
    }
}

/// Numbers that look random and are the same everywhere (a 64-bit linear congruential generator
/// with Knuth's constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % bound
    }
}

/// Words of ASCII and of longer characters.
fn text(numbers: &mut Numbers) -> String {
    const LETTERS: [char; 12] = ['a', 'b', 'd', 'e', 'n', 'o', 'r', 's', 't', 'é', 'λ', '界'];
    let mut text = String::with_capacity(LENGTH);
    while text.len() < LENGTH - 64 {
        for _ in 0..=numbers.below(9) {
            text.push(LETTERS[numbers.below(12) as usize]);
        }
        text.push(if numbers.below(12) == 0 { '\n' } else { ' ' });
    }
    text
}

/// Records as an API would give them: numbers, texts with escapes, lists, objects.
fn records(numbers: &mut Numbers) -> String {
    let mut records = Vec::new();
    let mut length = 0;
    while length < JSON_LENGTH {
        let tags: Vec<String> = (0..numbers.below(6)).map(|tag| format!(r#""tag-{tag}""#)).collect();
        let record = format!(
            r#"{{"id":{},"name":"record {} of \"many\"\n","score":{}.{:03},"active":{},"tags":[{}],"#,
            numbers.below(1 << 30),
            numbers.below(1000),
            numbers.below(1000),
            numbers.below(1000),
            numbers.below(2) == 0,
            tags.join(","),
        );
        let place = format!(
            r#""place":{{"latitude":-{}.5,"longitude":{}e-2,"note":null}}}}"#,
            numbers.below(90),
            numbers.below(18_000),
        );
        let record = record + &place;
        length += record.len() + 1;
        records.push(record);
    }
    format!("[{}]", records.join(","))
}

/// FNV-1a of 64 bits: one multiplication after the other.
pub(crate) fn fnv(inputs: &Inputs) -> u64 {
    inputs
        .bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The first 64 bits of SHA-256 (FIPS 180-4): rotations and additions of 32 bits.
pub(crate) fn sha256(inputs: &Inputs) -> u64 {
    let mut state: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let (blocks, rest) = inputs.bytes.as_chunks::<64>();
    for block in blocks {
        sha256_block(&mut state, block);
    }
    // The input is a number of whole blocks, so that its end is a block of its own.
    assert!(rest.is_empty());
    let mut end = [0; 64];
    end[0] = 0x80;
    end[56..].copy_from_slice(&(inputs.bytes.len() as u64 * 8).to_be_bytes());
    sha256_block(&mut state, &end);
    u64::from(state[0]) << 32 | u64::from(state[1])
}

fn sha256_block(state: &mut [u32; 8], block: &[u8; 64]) {
    let mut schedule = [0; 64];
    for (word, bytes) in schedule.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for at in 16..64 {
        let (early, late) = (schedule[at - 15], schedule[at - 2]);
        let small = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
        let large = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
        schedule[at] =
            small.wrapping_add(large).wrapping_add(schedule[at - 16]).wrapping_add(schedule[at - 7]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (constant, word) in ROUNDS.iter().zip(schedule) {
        let turned = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let chosen = (e & f) ^ (!e & g);
        let one = h.wrapping_add(turned).wrapping_add(chosen).wrapping_add(*constant).wrapping_add(word);
        let turned = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let two = turned.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(two));
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(mixed);
    }
}

/// Parses JSON into values, which allocates each text, list and object.
pub(crate) fn json(inputs: &Inputs) -> u64 {
    let parsed = serde_json::from_str(&inputs.json).unwrap_or(Value::Null);
    weight(&parsed)
}

/// Something of every value, so that all are looked at.
fn weight(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(is_true) => 2 + u64::from(*is_true),
        Value::Number(number) => number.as_f64().map_or(4, f64::to_bits) >> 32,
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().fold(5, |sum, item| sum.wrapping_add(weight(item))),
        Value::Object(fields) => {
            fields.values().fold(6, |sum, field| sum.wrapping_mul(3).wrapping_add(weight(field)))
        }
    }
}

/// The product of two matrices, row by row, which compilers make vectors of.
pub(crate) fn matrix(inputs: &Inputs) -> u64 {
    let mut product = vec![0.0; SIDE * SIDE];
    for (row, left) in product.chunks_exact_mut(SIDE).zip(inputs.left.chunks_exact(SIDE)) {
        for (factor, right) in left.iter().zip(inputs.right.chunks_exact(SIDE)) {
            for (sum, value) in row.iter_mut().zip(right) {
                *sum += factor * value;
            }
        }
    }
    product.iter().fold(0, |bits, value| bits.rotate_left(1) ^ value.to_bits())
}

/// Words of the text, as white space of Unicode parts them.
pub(crate) fn words(inputs: &Inputs) -> u64 {
    inputs.text.split_whitespace().count() as u64
}

/// The text with its characters in the other order, and something of what it is then.
pub(crate) fn reverse(inputs: &Inputs) -> u64 {
    let reversed: String = inputs.text.chars().rev().collect();
    let middle = reversed.as_bytes()[reversed.len() / 2];
    (reversed.len() as u64) << 8 | u64::from(middle)
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];
