//! Any text as a query over a mailbox with mail in it.

use std::time::Duration;

use airlock_core::{MailCode, SearchMail, SearchSyntax};

use super::Query;
use crate::testing::{mail, mailbox};

#[test]
fn any_text_is_a_query_or_an_error_and_reaches_no_other_account() {
    let (_home, mailbox) = mailbox();
    let (one, other) = (crate::testing::account(&mailbox, "one"), crate::testing::account(&mailbox, "other"));
    mailbox.keep(one, "INBOX", &[mail("hello", "a word and a \"quote\"")]).expect("kept");
    mailbox.keep(other, "INBOX", &[mail("hello", "a word of another")]).expect("kept");
    bolero::check!().with_iterations(5_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            for syntax in [SearchSyntax::Words, SearchSyntax::Plain] {
                let query = text.clone().into_owned();
                let search = SearchMail { account_id: Some(one), query, syntax, limit: 5 };
                match mailbox.search(&search) {
                    Ok(found) => assert!(found.messages.iter().all(|message| message.account_id == one)),
                    Err(error) => assert_eq!(error.code(), MailCode::Validation, "{error}"),
                }
            }
            if let Ok(query) = Query::read(&text) {
                // Outside of strings, only what is written here.
                for expression in query.wanted().into_iter().chain(query.unwanted()) {
                    let outside: Vec<&str> = expression.split('"').step_by(2).collect();
                    assert!(
                        outside.iter().all(|text| text.chars().all(|c| c.is_ascii_graphic() || c == ' '))
                    );
                    assert_eq!(expression.matches('"').count() % 2, 0, "{expression}");
                }
            }
        },
    );
}
