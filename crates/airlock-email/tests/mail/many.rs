//! Ten thousand messages.

use std::collections::BTreeSet;

use airlock_core::MailCode;
use airlock_email::{Auth, Security};

use crate::dovecot::{Dovecot, fetching};
use crate::fetching::{letter, request};
use crate::proxy::{Fault, Proxy};
use crate::server::{Known, PASSWORD};

const MANY: usize = 10_000;

#[test]
fn of_ten_thousand_messages_each_is_here_once_whatever_is_cut_and_the_oldest_come_first() {
    let server = Dovecot::start();
    server.deliver((1..=MANY).map(letter));
    let proxy = Proxy::to(server.port);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), proxy.port, Security::Plain, Auth::Plain);
    let sync = |at_most: u32| {
        let synced = mailbox.sync(&request(at_most), &*Known::new(PASSWORD), &server.connector(), &());
        synced.map(|synced| synced.synced.synced)
    };
    let uids = || mailbox.flags(1, "INBOX").unwrap().into_keys().collect::<Vec<u32>>();
    let is_beginning = || {
        let here = uids();
        assert!(here.iter().copied().eq(1..=here.len() as u32), "some are left out of {here:?}");
        here.len()
    };
    assert_eq!(sync(1_500).unwrap(), 1_500);
    assert_eq!(is_beginning(), 1_500);
    // After so many bytes of what all of it takes, twice as far each time.
    let mut kept = 1_500;
    for to_client in [10_000, 400_000, 900_000, 1_600_000] {
        proxy.set(Fault { to_client, ..Fault::NONE });
        assert_eq!(sync(u32::MAX).unwrap_err().code(), MailCode::Network);
        let here = is_beginning();
        assert!(here >= kept, "{here} are left of {kept}");
        kept = here;
    }
    assert!((1_500..MANY).contains(&kept), "{kept}");
    proxy.set(Fault::NONE);
    assert_eq!(sync(u32::MAX).unwrap(), (MANY - kept) as u64);
    assert_eq!(is_beginning(), MANY);
    assert_eq!(sync(u32::MAX).unwrap(), 0);
    // What the mailbox has, asked of the file itself: each message once, as it was sent.
    let ids: BTreeSet<String> = (1..=MANY).map(|number| format!("<n{number}@x.example>")).collect();
    let missing = ids.iter().filter(|id| {
        let get = airlock_core::GetMail { account_id: None, message_id: (*id).clone() };
        let message = mailbox.get(&get).unwrap().message;
        let text = message.and_then(|message| message.body_text);
        text != Some(format!("text of {}", id.trim_start_matches("<n").split('@').next().unwrap()))
    });
    assert_eq!(missing.cloned().collect::<Vec<_>>(), Vec::<String>::new());
}
