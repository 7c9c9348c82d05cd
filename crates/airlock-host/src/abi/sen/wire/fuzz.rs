//! Whatever a plugin answers with is read as what it is, or refused.

use std::time::Duration;

use super::{Effect, EffectResult, ExecuteError, ExecuteResult, HttpResponse, read};

#[test]
fn any_answer_is_refused_or_reads_back() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(1)).for_each(
        |bytes: &[u8]| {
            if let Ok(result) = read::<ExecuteResult>(bytes) {
                // As a map and, where nothing is left out on the way, as an array.
                let named = rmp_serde::to_vec_named(&result).expect("it has a form");
                assert_eq!(read::<ExecuteResult>(&named).as_ref(), Ok(&result));
            }
            let result = made_of(bytes);
            let named = rmp_serde::to_vec_named(&result).expect("it has a form");
            assert_eq!(read::<ExecuteResult>(&named).as_ref(), Ok(&result));
            let followed = [named.as_slice(), bytes].concat();
            assert_eq!(read::<ExecuteResult>(&followed).as_ref(), Ok(&result), "bytes behind the end");
            for cut in 0..named.len().min(64) {
                assert!(read::<ExecuteResult>(&named[..cut]).is_err(), "cut at {cut}");
            }
            let told = told_of(bytes);
            let named = rmp_serde::to_vec_named(&told).expect("it has a form");
            assert_eq!(read::<EffectResult>(&named).as_ref(), Ok(&told));
        },
    );
}

/// Pieces of the bytes as texts.
fn texts(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    let pieces = bytes.split(|byte| byte % 16 == 0).map(|piece| String::from_utf8_lossy(piece).into_owned());
    pieces.chain(std::iter::repeat(String::new()))
}

fn made_of(bytes: &[u8]) -> ExecuteResult {
    let number = |at: usize| u32::from(bytes.get(at).copied().unwrap_or_default()) << (at % 4 * 8);
    let (mut texts, id) = (texts(bytes), number(1));
    let mut text = || texts.next().unwrap_or_default();
    let mut pairs = || (0..number(2) % 3).map(|_| (text(), text())).collect::<Vec<_>>();
    match number(0) % 5 {
        0 => ExecuteResult::Success(text()),
        1 => ExecuteResult::Error(ExecuteError {
            code: bytes.last().copied().unwrap_or_default(),
            message: text(),
        }),
        2 => {
            let headers = pairs();
            ExecuteResult::Effect(Effect::HttpGet { id, url: text(), headers })
        }
        3 => {
            let headers = pairs();
            let content_type = (id % 2 == 0).then(&mut text);
            ExecuteResult::Effect(Effect::HttpPost { id, url: text(), body: text(), content_type, headers })
        }
        _ => ExecuteResult::Effect(Effect::Sleep { id, duration_ms: u64::from(id) << 20 }),
    }
}

fn told_of(bytes: &[u8]) -> EffectResult {
    let mut texts = texts(bytes);
    let mut text = || texts.next().unwrap_or_default();
    match bytes.len() % 3 {
        0 => EffectResult::SleepComplete,
        1 => EffectResult::Error(text()),
        _ => {
            let status = u16::from_le_bytes([bytes[0], bytes[bytes.len() / 2]]);
            EffectResult::Http(HttpResponse { status, body: text(), headers: vec![(text(), text())] })
        }
    }
}
