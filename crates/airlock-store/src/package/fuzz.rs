//! Archives of any bytes: nothing of them leads anywhere, and none is larger than it may be.

use std::time::Duration;

use airlock_core::{ErrorKind, visible};

use super::{MAX_BYTES, MAX_ENTRIES, archive, normalised};

#[test]
fn any_archive_is_refused_or_stays_inside() {
    bolero::check!().with_iterations(5_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            judge(bytes.to_vec());
            let Some((kind, rest)) = bytes.split_first() else { return };
            judge(likely(*kind, rest));
        },
    );
}

fn judge(bytes: Vec<u8>) {
    match archive::read("a source", bytes) {
        Ok(files) => {
            assert!(files.len() <= MAX_ENTRIES);
            assert!(files.values().map(|bytes| bytes.len() as u64).sum::<u64>() <= MAX_BYTES);
            for path in files.keys() {
                assert_eq!(normalised(path).as_deref(), Some(path.as_str()));
            }
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::NotInstallable { .. }), "{error:?}");
            assert_eq!(visible(&error.to_string(), false), error.to_string());
        }
    }
}

/// An archive whose entries have names and contents cut from the bytes.
fn likely(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in bytes.split(|byte| *byte == 0).take(8) {
        let (name, content) = entry.split_at(entry.len().min(40) / 2);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(
            kind.wrapping_add(name.first().copied().unwrap_or(0)) % 9 + b'0',
        ));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        let link = content.len().min(100);
        header.as_old_mut().linkname[..link].copy_from_slice(&content[..link]);
        header.set_size(content.len() as u64);
        header.set_cksum();
        // Into memory, which takes it.
        let _ = builder.append(&header, content);
    }
    builder.into_inner().unwrap_or_default()
}
