//! What waits to be received by a plugin.
//!
//! There is one slot, as in fledge's own host: `init` is in it first, and then the result of the
//! last function that was called, which takes the place of what was not received. Behind it stand
//! the responses to messages, in the order in which they were asked for. Nothing that is received
//! at once holds bytes of two of them.

use std::collections::VecDeque;

use crate::wasi::Feed;

/// One call's.
#[derive(Default)]
pub(crate) struct Dialogue {
    /// What `init` has for arguments.
    pub(super) args: Vec<String>,
    slot: Slot,
    responses: VecDeque<Pending>,
    /// Bytes of all responses that wait.
    waiting: u64,
    /// Whether it was said that what the plugin wants kept is not.
    pub(super) knows_not_kept: bool,
    /// Where what answers a message goes that came over standard output.
    pub(super) stdin: Option<Feed>,
}

#[derive(Default)]
enum Slot {
    /// `init`, which nobody has asked for.
    #[default]
    Init,
    Holds(Pending),
    Empty,
}

struct Pending {
    bytes: Vec<u8>,
    /// How many of them were received.
    received: usize,
}

impl Pending {
    fn new(bytes: Vec<u8>) -> Self {
        Pending { bytes, received: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.received..]
    }
}

impl Dialogue {
    /// Whether what is received next is `init`, which is still to be made.
    pub(super) fn wants_init(&self) -> bool {
        matches!(self.slot, Slot::Init)
    }

    /// Puts something into the slot, in the place of whatever is there.
    pub(super) fn hold(&mut self, bytes: Vec<u8>) {
        self.slot = Slot::Holds(Pending::new(bytes));
    }

    /// Puts a response behind those that wait.
    ///
    /// # Errors
    /// How many bytes would wait, where those are more than `maximum`.
    pub(super) fn respond(&mut self, bytes: Vec<u8>, maximum: u64) -> Result<(), u64> {
        let waiting = self.waiting + bytes.len() as u64;
        if waiting > maximum {
            return Err(waiting);
        }
        self.waiting = waiting;
        self.responses.push_back(Pending::new(bytes));
        Ok(())
    }

    /// What is received next: what is left of one message.
    pub(super) fn next(&self) -> &[u8] {
        match (&self.slot, self.responses.front()) {
            (Slot::Holds(pending), _) => pending.rest(),
            (_, Some(pending)) => pending.rest(),
            (_, None) => &[],
        }
    }

    /// Takes so many bytes of [`Dialogue::next`].
    pub(super) fn received(&mut self, count: usize) {
        if let Slot::Holds(pending) = &mut self.slot {
            pending.received += count;
            if pending.rest().is_empty() {
                self.slot = Slot::Empty;
            }
        } else if let Some(pending) = self.responses.front_mut() {
            pending.received += count;
            if pending.rest().is_empty() {
                self.waiting -= pending.bytes.len() as u64;
                self.responses.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dialogue;

    fn receive(dialogue: &mut Dialogue, most: usize) -> String {
        let count = dialogue.next().len().min(most);
        let text = String::from_utf8_lossy(&dialogue.next()[..count]).into_owned();
        dialogue.received(count);
        text
    }

    #[test]
    fn the_slot_goes_before_responses_and_is_overwritten() {
        let mut dialogue = Dialogue::default();
        assert!(dialogue.wants_init());
        assert_eq!(receive(&mut dialogue, 9), "");
        dialogue.hold(b"init".to_vec());
        dialogue.respond(b"one".to_vec(), 6).expect("room");
        dialogue.respond(b"two".to_vec(), 6).expect("room");
        assert_eq!(dialogue.respond(b"three".to_vec(), 6), Err(11));
        assert_eq!(receive(&mut dialogue, 2), "in");
        dialogue.hold(b"result".to_vec());
        assert_eq!(receive(&mut dialogue, 9), "result");
        assert_eq!([(); 4].map(|()| receive(&mut dialogue, 2)), ["on", "e", "tw", "o"]);
        assert_eq!(receive(&mut dialogue, 9), "");
        assert!(!dialogue.wants_init());
        dialogue.respond(b"sixsix".to_vec(), 6).expect("room again");
    }
}
