//! Credentials that a request carried, kept out of what comes back.

use airlock_core::{Secret, ServiceError};
use http::header::{HeaderMap, HeaderValue};
use memchr::memmem;
use url::Url;

/// Shorter values stand in too many texts by chance to be taken out of them.
const SHORTEST: usize = 6;

/// Replaces what servers repeat of the credentials that they were sent, as pages for testing
/// and pages for errors do, with `[secret NAME]`.
///
/// It knows them as they were sent. A server that gives one away in another form cannot be
/// kept from it: who gets a credential is trusted with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Veil {
    /// The longest first.
    hidden: Vec<Hidden>,
    /// The beginning of what may become something hidden.
    held: Vec<u8>,
}

/// What to look for, and what to put there.
type Hidden = (Box<[u8]>, Box<[u8]>);

impl Veil {
    /// Hides this value of a header, and the token in it where it is a scheme and a token.
    pub(super) fn hide(&mut self, header: &str, secret: &Secret) {
        let value = secret.reveal();
        let token = value.split_once(' ').map(|(_, token)| token);
        for text in [Some(value), token].into_iter().flatten() {
            let known = self.hidden.iter().any(|(hidden, _)| **hidden == *text.as_bytes());
            if text.len() >= SHORTEST && !known {
                let shown = format!("[secret {header}]").into_bytes().into();
                self.hidden.push((text.as_bytes().into(), shown));
            }
        }
        self.hidden.sort_by_key(|(hidden, _)| std::cmp::Reverse(hidden.len()));
    }

    /// Whether there is anything to hide.
    pub(super) fn is_needed(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// What may be shown of a piece and of what was held back before. Only what may be the
    /// beginning of something hidden is held back, so that a stream keeps flowing.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let longest = self.hidden.first().map_or(0, |(hidden, _)| hidden.len());
        let from = (self.held.len() + 1).saturating_sub(longest.max(1));
        let may_begin = |at: &usize| {
            let end = &self.held[*at..];
            self.hidden.iter().any(|(hidden, _)| hidden.len() > end.len() && hidden.starts_with(end))
        };
        let sure = (from..self.held.len()).find(may_begin).unwrap_or(self.held.len());
        self.shown(sure)
    }

    /// What was held back, at the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.shown(self.held.len())
    }

    /// Takes what begins before `sure` out of what is held.
    fn shown(&mut self, sure: usize) -> Vec<u8> {
        let mut shown = Vec::with_capacity(sure);
        let mut at = 0;
        while at < sure {
            let first = self.hidden.iter().filter_map(|(hidden, instead)| {
                memmem::find(&self.held[at..], hidden).map(|found| (at + found, hidden.len(), instead))
            });
            // Of two at one place the first is the longer.
            match first.min_by_key(|(found, ..)| *found).filter(|(found, ..)| *found < sure) {
                Some((found, length, instead)) => {
                    shown.extend_from_slice(&self.held[at..found]);
                    shown.extend_from_slice(instead);
                    at = found + length;
                }
                None => {
                    shown.extend_from_slice(&self.held[at..sure]);
                    at = sure;
                }
            }
        }
        self.held.drain(..at);
        shown
    }

    fn whole(&self, bytes: &[u8]) -> Vec<u8> {
        let mut fresh = Veil { hidden: self.hidden.clone(), held: bytes.to_vec() };
        fresh.rest()
    }

    /// The same text without what is hidden.
    fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.whole(text.as_bytes())).into_owned()
    }

    /// Takes it out of every value.
    pub(super) fn over_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let shown = self.whole(value.as_bytes());
            if shown != value.as_bytes() {
                *value = HeaderValue::from_bytes(&shown).unwrap_or(HeaderValue::from_static(""));
            }
        }
    }

    /// The same address; its path and query go where they hold something hidden.
    pub(super) fn over_url(&self, mut url: Url) -> Url {
        if self.text(url.as_str()) != url.as_str() {
            url.set_path("/");
            url.set_query(None);
        }
        url
    }

    /// The same error without it.
    pub(super) fn over_error(&self, error: ServiceError) -> ServiceError {
        match error {
            ServiceError::Failed(text) => ServiceError::Failed(self.text(&text)),
            ServiceError::Invalid(text) => ServiceError::Invalid(self.text(&text)),
            ServiceError::NotFound(text) => ServiceError::NotFound(self.text(&text)),
            ServiceError::Unavailable(text) => ServiceError::Unavailable(self.text(&text)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::Secret;
    use proptest::prelude::*;

    use super::Veil;

    fn veil() -> Veil {
        let mut veil = Veil::default();
        veil.hide("authorization", &Secret::new("Bearer abcabd-long"));
        veil.hide("x-key", &Secret::new("abcabd"));
        veil.hide("x-short", &Secret::new("abc"));
        veil
    }

    #[test]
    fn the_longest_is_hidden_and_the_rest_flows() {
        let mut veil = veil();
        assert_eq!(veil.pass(b"data: 1\n\n"), b"data: 1\n\n");
        assert_eq!(veil.pass(b"x Bearer abc"), b"x ");
        assert_eq!(veil.pass(b"abd-long y abcabd z abcab"), b"[secret authorization] y [secret x-key] z ");
        assert_eq!(veil.pass(b"c"), b"abc");
        assert_eq!(veil.rest(), b"abc");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            words in proptest::collection::vec(
                prop::sample::select(vec!["Bearer abcabd-long", "abcabd", "abc", "Bearer ", "ab", "-"]), 0..12
            ),
            size in 1..9_usize,
        ) {
            let text = words.concat();
            let mut streaming = veil();
            let mut shown: Vec<u8> =
                text.as_bytes().chunks(size).flat_map(|piece| streaming.pass(piece)).collect();
            shown.extend(streaming.rest());
            prop_assert_eq!(&shown, &veil().whole(text.as_bytes()));
            prop_assert!(!String::from_utf8_lossy(&shown).contains("abcabd"));
        }
    }
}
