use airlock_core::{SearchMail, SearchSyntax};
use proptest::prelude::*;

use crate::testing::{account, mail, mailbox};
use crate::{Mailbox, NewMessage};

fn search(mailbox: &Mailbox, account: i64, query: &str, syntax: SearchSyntax) -> Vec<String> {
    let request = SearchMail { account_id: Some(account), query: query.to_owned(), syntax, limit: 50 };
    let found = mailbox.search(&request).expect("a query");
    found.messages.into_iter().filter_map(|message| message.subject).collect()
}

fn filled() -> (tempfile::TempDir, Mailbox, i64) {
    let (home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let day = 24 * 60 * 60;
    let messages = [
        mail("weekly report", "numbers of the third quarter"),
        NewMessage {
            sender: Some("bert@y.example".to_owned()),
            recipients: Some("anna@x.example".to_owned()),
            attachments_json: Some("[{\"filename\":\"a.pdf\"}]".to_owned()),
            received_at: Some(2 * day),
            ..mail("Über Köln", "a draft of the report, 100%")
        },
        NewMessage { sent_at: Some(3 * day), ..mail("quarter", "a third and a quarter are not the same") },
    ];
    mailbox.keep(one, "INBOX", &messages).expect("kept");
    (home, mailbox, one)
}

#[test]
fn words_find_the_best_first_in_every_part_of_a_message() {
    let (_home, mailbox, one) = filled();
    let words = |query: &str| search(&mailbox, one, query, SearchSyntax::Words);
    // A word in the subject weighs more than one in the text.
    assert_eq!(words("report"), ["weekly report", "Über Köln"]);
    assert_eq!(words("quarter"), ["quarter", "weekly report"]);
    assert_eq!(words("\"third quarter\""), ["weekly report"]);
    assert_eq!(words("third quarter -numbers"), ["quarter"]);
    assert_eq!(words("koln"), ["Über Köln"]);
    assert_eq!(words("num*"), ["weekly report"]);
    assert_eq!(words("from:bert"), ["Über Köln"]);
    assert_eq!(words("from:bert@y.example to:anna subject:\"über köln\""), ["Über Köln"]);
    assert_eq!(words("-report"), ["quarter"]);
    assert_eq!(words("has:attachment"), ["Über Köln"]);
    assert_eq!(words("report -has:attachment"), ["weekly report"]);
    assert_eq!(words("after:1970-01-03 before:1970-01-04"), ["Über Köln"]);
    assert_eq!(words("after:1970-01-04"), ["quarter"]);
    assert_eq!(words("report OR quarter"), Vec::<String>::new());
}

#[test]
fn plain_search_is_like_that_of_prx() {
    let (_home, mailbox, one) = filled();
    let plain = |query: &str| search(&mailbox, one, query, SearchSyntax::Plain);
    assert_eq!(plain("EPOR"), ["Über Köln", "weekly report"]);
    assert_eq!(plain("bert@"), ["Über Köln"]);
    assert_eq!(plain("w%y r_port"), ["weekly report"]);
    assert_eq!(plain("-report"), Vec::<String>::new());
    assert_eq!(plain("' OR 1=1 --"), Vec::<String>::new());
}

#[test]
fn a_snippet_shows_where_the_words_are() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let body = format!("{} needle {}", "hay ".repeat(200), "straw ".repeat(200));
    mailbox.keep(one, "INBOX", &[mail("stack", &body)]).expect("kept");
    let request =
        SearchMail { account_id: None, query: "needle".to_owned(), syntax: SearchSyntax::Words, limit: 1 };
    let found = mailbox.search(&request).expect("found").messages;
    let snippet = found[0].snippet.clone().expect("one");
    assert!(snippet.contains("needle") && snippet.starts_with('…') && snippet.len() < 300, "{snippet}");
}

#[test]
fn what_is_removed_or_changed_is_found_as_it_is() {
    let (_home, mailbox, one) = filled();
    mailbox
        .connection()
        .execute("UPDATE messages SET subject = 'monthly' WHERE subject = 'quarter'", [])
        .expect("changed");
    mailbox.connection().execute("DELETE FROM messages WHERE subject LIKE '%report'", []).expect("removed");
    let words = |query: &str| search(&mailbox, one, query, SearchSyntax::Words);
    assert_eq!((words("monthly"), words("numbers")), (vec!["monthly".to_owned()], vec![]));
    let check = "INSERT INTO message_words(message_words, rank) VALUES ('integrity-check', 1)";
    mailbox.connection().execute(check, []).expect("the index is that of the messages");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a search that reads every message.
    #[test]
    fn words_find_what_holds_all_of_them_and_none_of_the_unwanted(
        bodies in proptest::collection::vec("[a-d]( [a-d]){0,4}", 1..8),
        wanted in proptest::collection::vec("[a-e]", 0..3),
        unwanted in proptest::collection::vec("[a-e]", 0..3),
    ) {
        prop_assume!(!wanted.is_empty() || !unwanted.is_empty());
        let (_home, mailbox) = mailbox();
        let one = account(&mailbox, "one");
        let messages: Vec<NewMessage> =
            bodies.iter().enumerate().map(|(n, body)| mail(&format!("{n}"), body)).collect();
        mailbox.keep(one, "INBOX", &messages).expect("kept");
        let query: Vec<String> =
            wanted.iter().cloned().chain(unwanted.iter().map(|word| format!("-{word}"))).collect();
        let mut found = search(&mailbox, one, &query.join(" "), SearchSyntax::Words);
        found.sort();
        let holds = |body: &str, word: &String| body.split(' ').any(|other| other == word);
        let expected: Vec<String> = bodies
            .iter()
            .enumerate()
            .filter(|(_, body)| wanted.iter().all(|word| holds(body, word)))
            .filter(|(_, body)| !unwanted.iter().any(|word| holds(body, word)))
            .map(|(n, _)| n.to_string())
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn of_very_many_messages_with_a_word_the_latest_come_first_and_each_account_has_its_own() {
    let (_home, mailbox) = mailbox();
    let (one, other) = (account(&mailbox, "one"), account(&mailbox, "other"));
    let many =
        |from: usize| (from..from + 2_500).map(|n| mail(&format!("{n} common"), "b")).collect::<Vec<_>>();
    mailbox.keep(one, "INBOX", &[mail("rare common", "b")]).expect("kept");
    mailbox.keep(other, "INBOX", &many(0)).expect("kept");
    assert_eq!(search(&mailbox, one, "common", SearchSyntax::Words), ["rare common"]);
    mailbox.keep(one, "INBOX", &many(0)).expect("kept");
    let latest = search(&mailbox, one, "common", SearchSyntax::Words);
    assert_eq!((latest.len(), latest[0].as_str()), (50, "2499 common"));
    assert_eq!(search(&mailbox, one, "rare common", SearchSyntax::Words), ["rare common"]);
}

#[test]
fn of_many_messages_with_a_phrase_the_latest_come_first() {
    let (_home, mailbox) = mailbox();
    let one = account(&mailbox, "one");
    let many: Vec<NewMessage> = (0..100).map(|n| mail(&format!("{n}"), "of the harbour")).collect();
    let best = mail("of the harbour", "of the harbour");
    mailbox.keep(one, "INBOX", &[best]).expect("kept");
    mailbox.keep(one, "INBOX", &many[1..]).expect("kept");
    let found = search(&mailbox, one, "\"the harbour\"", SearchSyntax::Words);
    assert_eq!((found.len(), found[0].as_str()), (50, "of the harbour"), "of 100 the best");
    mailbox.keep(one, "INBOX", &many[..1]).expect("kept");
    let found = search(&mailbox, one, "\"the harbour\"", SearchSyntax::Words);
    assert_eq!((found.len(), found[0].as_str(), found[1].as_str()), (50, "0", "99"), "of 101 the latest");
}
