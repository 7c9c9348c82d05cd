//! The bytes of a plugin and their name.

use std::sync::Arc;

use airlock_core::{Digest, Error, ErrorKind, LimitKind, Limits, Phase, Result};

/// The bytes of a plugin and a SHA-256 to know them by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifact {
    bytes: Arc<Vec<u8>>,
    digest: Digest,
}

impl Artifact {
    /// Takes WebAssembly bytes, or with `accept_wat` also WebAssembly text, which is
    /// turned into bytes first. A module that says which component it is to be is made that
    /// component ([`componentised`](crate::componentised)).
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`LimitKind::ArtifactSize`], [`ErrorKind::NotWasm`],
    /// [`ErrorKind::WatNotAsked`], [`ErrorKind::InvalidWat`], [`ErrorKind::InvalidWorld`].
    pub fn new(bytes: Vec<u8>, accept_wat: bool, limits: &Limits) -> Result<Self> {
        let maximum = limits.value(LimitKind::ArtifactSize);
        if bytes.len() as u64 > maximum {
            return Err(Error::new(ErrorKind::Limit {
                limit: LimitKind::ArtifactSize,
                maximum,
                asked: Some(bytes.len() as u64),
                phase: Phase::Admit,
            }));
        }
        let bytes = if bytes.starts_with(b"\0asm") {
            bytes
        } else if accept_wat {
            parse_wat(&bytes)?
        } else if looks_like_wat(&bytes) {
            return Err(Error::new(ErrorKind::WatNotAsked));
        } else {
            return Err(Error::new(ErrorKind::NotWasm { found: describe(&bytes) }));
        };
        // Its name stays that of what somebody has in a file, and decides over.
        let digest = Digest::of(&bytes);
        let bytes = crate::componentised(&bytes)?.unwrap_or(bytes);
        Ok(Artifact { digest, bytes: Arc::new(bytes) })
    }

    /// The WebAssembly bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of the WebAssembly bytes; of a module that a component was made of, that of the
    /// module.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

fn parse_wat(bytes: &[u8]) -> Result<Vec<u8>> {
    let invalid = |reason: String| Error::new(ErrorKind::InvalidWat(reason));
    let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
    wat::parse_str(text).map_err(|error| {
        // The full message draws the line with a caret under it; errors here are one line.
        let full = error.to_string();
        let mut lines = full.lines();
        let reason = lines.next().unwrap_or_default().to_owned();
        let place =
            lines.next().and_then(|line| line.trim().rsplit_once("-->")).map(|(_, at)| at.trim().to_owned());
        invalid(match place {
            Some(at) => format!("{reason} (at {})", at.trim_start_matches("<anon>:")),
            None => reason,
        })
    })
}

fn looks_like_wat(bytes: &[u8]) -> bool {
    let head = bytes.trim_ascii_start();
    head.starts_with(b"(module") || head.starts_with(b"(component") || head.starts_with(b";;")
}

/// What bytes that are no WebAssembly look like, for the error message.
fn describe(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 7] = [
        (b"\x7fELF", "a native program or library (ELF)"),
        (b"MZ", "a native program or library (PE)"),
        (b"\xcf\xfa\xed\xfe", "a native program or library (Mach-O)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"#!", "a script"),
        (b"{", "JSON"),
    ];
    if bytes.is_empty() {
        return "the file is empty".to_owned();
    }
    match known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, what)) => format!("it looks like {what}"),
        None => format!("it starts with {:02x?}, not with `\\0asm`", &bytes[..bytes.len().min(4)]),
    }
}

#[cfg(test)]
mod tests {
    use airlock_core::{LimitKind, Limits};

    use super::Artifact;

    fn refused(bytes: &[u8]) -> String {
        Artifact::new(bytes.to_vec(), false, &Limits::default()).expect_err("refused").to_string()
    }

    #[test]
    fn garbage_says_what_it_looks_like() {
        assert_eq!(refused(b""), "not WebAssembly: the file is empty");
        assert_eq!(
            refused(b"\x7fELF\x02"),
            "not WebAssembly: it looks like a native program or library (ELF)"
        );
        assert_eq!(refused(b"\xde\xad"), "not WebAssembly: it starts with [de, ad], not with `\\0asm`");
    }

    #[test]
    fn wat_when_not_asked_is_refused_and_named() {
        assert_eq!(refused(b" (module)"), "this is WebAssembly text, which was not asked for");
        let artifact = Artifact::new(b"(module)".to_vec(), true, &Limits::default()).expect("valid text");
        assert_eq!(artifact.bytes(), b"\0asm\x01\0\0\0");
        let error =
            Artifact::new(b"(module\n  (func $f".to_vec(), true, &Limits::default()).expect_err("cut short");
        assert_eq!(error.code(), "invalid-wat");
        assert_eq!(error.to_string().lines().count(), 1);
    }

    #[test]
    fn too_large_is_a_limit() {
        let limits = Limits::default().capped(LimitKind::ArtifactSize, 8);
        let error = Artifact::new(b"\0asm\x01\0\0\0\0".to_vec(), false, &limits).expect_err("9 bytes");
        assert_eq!(
            error.to_string(),
            "limit `artifact_size` of 8 B hit while checking the artifact: 9 B asked for"
        );
    }
}
