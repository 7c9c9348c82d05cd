//! Any bytes as a message.

use std::time::Duration;

use super::{MESSAGE_BYTES, defuse, read, read_whole};

#[test]
fn any_bytes_are_a_message_and_its_texts_are_safe() {
    bolero::check!().with_iterations(5_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            // Without what stands between the parser and the host.
            if let Ok(defused) = defuse::defuse(bytes, MESSAGE_BYTES) {
                assert_eq!(defused.len(), bytes.len());
                read_whole(airlock_core::Digest::of(bytes), &defused);
            }
            let (message, attached) = read(bytes);
            let lines = [&message.subject, &message.sender, &message.recipients, &message.message_id];
            for line in lines.into_iter().flatten() {
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            for text in [&message.body_text, &message.snippet].into_iter().flatten() {
                assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
            }
            for name in attached.iter().filter_map(|attached| attached.filename.as_deref()) {
                assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{name:?}");
            }
        },
    );
}
