//! Finding and reading.

use std::time::Instant;

use airlock_core::{Digest, GetMail, ListMail, SearchMail, SearchSyntax};
use airlock_email::{Auth, Mailbox, NewMessage, Security};

use crate::corpus::{Chance, Language};
use crate::dovecot::fetching;
use crate::percentile;

/// How many messages there are; the environment may say another number.
fn count() -> usize {
    std::env::var("MAILBOX").ok().and_then(|told| told.parse().ok()).unwrap_or(100_000)
}

/// Queries of a kind.
const QUERIES: usize = 200;

pub(crate) fn message(number: usize, language: &Language, chance: &mut Chance) -> NewMessage {
    // Most are short, some are long.
    let bytes = 200 + chance.next(1_200) * (1 + chance.next(100) / 90 * 10);
    let text = language.text(bytes, chance).replace("\r\n", "\n");
    let subject = language.text(30, chance).trim_end().to_owned();
    NewMessage {
        digest: Digest::of(&number.to_le_bytes()),
        message_id: Some(format!("{number}@bench.example")),
        subject: Some(subject),
        sender: Some(format!("{}{}@x.example", language.word(chance.next(50)), chance.next(40))),
        recipients: Some("anna@x.example".to_owned()),
        cc: None,
        reply_to: None,
        references: None,
        in_reply_to: None,
        snippet: Some(text.chars().take(120).collect()),
        body_html: None,
        attachments_json: number.is_multiple_of(7).then(|| "[{\"filename\":\"a.pdf\"}]".to_owned()),
        body_text: Some(text),
        sent_at: Some(1_700_000_000 + number as i64 * 60),
        received_at: Some(1_700_000_003 + number as i64 * 60),
        place: Some((number as u32 + 1, String::new())),
    }
}

pub(crate) fn run() {
    let language = Language::new(60_000);
    let mut chance = Chance::new(11);
    let home = tempfile::tempdir().unwrap();
    let mailbox = fetching(home.path(), 1, Security::Plain, Auth::Plain);
    let (count, start) = (count(), Instant::now());
    let mut phrases = Vec::new();
    for from in (0..count).step_by(1_000) {
        let to = count.min(from + 1_000);
        let messages: Vec<_> = (from..to).map(|number| message(number, &language, &mut chance)).collect();
        let text = messages[0].body_text.clone().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = chance.next(words.len() - 2);
        phrases.push(format!("\"{} {}\"", words[at], words[at + 1]));
        mailbox.keep(1, "INBOX", &messages).unwrap();
    }
    let size = std::fs::metadata(mailbox.file()).unwrap().len() >> 20;
    println!("search: {count} messages kept in {:.1} s, {size} MiB", start.elapsed().as_secs_f64());
    queries(&mailbox, &language, &phrases, &mut chance);
    reads(&mailbox, count);
}

/// A mailbox of PRX-Email's own, opened for the first time and again.
pub(crate) fn open() {
    let (count, language, mut chance) = (count(), Language::new(60_000), Chance::new(11));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("email.db");
    let mut theirs = rusqlite::Connection::open(&file).unwrap();
    theirs.execute_batch(include_str!("../../src/tests/upstream.sql")).unwrap();
    let transaction = theirs.transaction().unwrap();
    let sql = "INSERT INTO messages (account_id, folder_id, message_id, subject, sender, recipients, snippet,
               body_text, attachments_json, received_at, created_at, updated_at)
               VALUES (4, 2, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, 1)";
    for number in 0..count {
        let m = message(number, &language, &mut chance);
        let values = rusqlite::params![
            m.message_id,
            m.subject,
            m.sender,
            m.recipients,
            m.snippet,
            m.body_text,
            m.attachments_json,
            m.received_at
        ];
        transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
    }
    transaction.commit().unwrap();
    drop(theirs);
    let size = || std::fs::metadata(&file).unwrap().len() >> 20;
    let (before, mut times) = (size(), Vec::new());
    for _ in 0..2 {
        let start = Instant::now();
        drop(Mailbox::open(&file).unwrap());
        times.push(start.elapsed().as_secs_f64());
    }
    let (first, again) = (times[0], times[1] * 1_000.0);
    println!(
        "open: {count} messages of PRX-Email, {before} MiB: {first:.1} s, {} MiB; again {again:.1} ms",
        size()
    );
}

fn queries(mailbox: &Mailbox, language: &Language, phrases: &[String], chance: &mut Chance) {
    let common = |chance: &mut Chance| language.word(chance.next(50)).to_owned();
    let usual = |chance: &mut Chance| language.word(50 + chance.next(5_000)).to_owned();
    let rare = |chance: &mut Chance| language.word(5_000 + chance.next(55_000)).to_owned();
    let any = |chance: &mut Chance| language.any(chance).to_owned();
    let sender = |chance: &mut Chance| format!("{}{}", language.word(chance.next(50)), chance.next(40));
    type Make<'a> = Box<dyn Fn(&mut Chance) -> String + 'a>;
    let kinds: Vec<(&str, Make<'_>)> = vec![
        ("a common word", Box::new(common)),
        ("a usual word", Box::new(usual)),
        ("a rare word", Box::new(rare)),
        ("a word as often as in texts", Box::new(any)),
        ("two usual words", Box::new(|c| format!("{} {}", usual(c), usual(c)))),
        ("a common and a rare word", Box::new(|c| format!("{} {}", common(c), rare(c)))),
        ("three common words", Box::new(|c| format!("{} {} {}", common(c), common(c), common(c)))),
        ("two words as in texts", Box::new(|c| format!("{} {}", any(c), any(c)))),
        ("a phrase of a message", Box::new(|c| phrases[c.next(phrases.len())].clone())),
        ("a phrase of two common words", Box::new(|c| format!("\"{} {}\"", common(c), common(c)))),
        ("from:", Box::new(|c| format!("from:{}", sender(c)))),
        ("from: and a usual word", Box::new(|c| format!("from:{} {}", sender(c), usual(c)))),
        ("from: and a common word", Box::new(|c| format!("from:{} {}", sender(c), common(c)))),
        ("subject:", Box::new(|c| format!("subject:{}", usual(c)))),
        ("has:attachment", Box::new(|_| "has:attachment".to_owned())),
        ("has:attachment and a usual word", Box::new(|c| format!("has:attachment {}", usual(c)))),
        ("has:attachment and a common word", Box::new(|c| format!("has:attachment {}", common(c)))),
        (
            "after:, before: and a common word",
            Box::new(|c| format!("after:2023-12-01 before:2023-12-05 {}", common(c))),
        ),
        ("after: and a usual word", Box::new(|c| format!("after:2024-01-01 {}", usual(c)))),
        ("a beginning of 2 letters", Box::new(|c| format!("{}*", &any(c)[..2]))),
        (
            "a beginning of 3 letters",
            Box::new(|c| {
                let word = usual(c);
                format!("{}*", &word[..word.len().min(3)])
            }),
        ),
        (
            "a beginning of 5 letters",
            Box::new(|c| {
                let word = rare(c);
                format!("{}*", &word[..word.len().min(5)])
            }),
        ),
        ("a usual word and not a common one", Box::new(|c| format!("{} -{}", usual(c), common(c)))),
        ("not a common word", Box::new(|c| format!("-{}", common(c)))),
    ];
    let (mut all, mut worst) = (Vec::new(), (0.0, String::new()));
    for (name, make) in kinds {
        let (mut times, mut found) = (Vec::new(), 0);
        for _ in 0..QUERIES {
            let query = make(chance);
            let request = SearchMail { account_id: None, query, syntax: SearchSyntax::Words, limit: 20 };
            let start = Instant::now();
            found += mailbox.search(&request).unwrap().messages.len();
            let time = start.elapsed().as_secs_f64() * 1_000.0;
            times.push(time);
            if time > worst.0 {
                worst = (time, request.query);
            }
        }
        times.sort_by(f64::total_cmp);
        print(name, &times, &format!("{:.1} found", found as f64 / QUERIES as f64));
        all.extend(times);
    }
    all.sort_by(f64::total_cmp);
    print("all", &all, &format!("the slowest: {}", worst.1));
}

fn print(name: &str, sorted: &[f64], more: &str) {
    println!(
        "  {name:36} p50 {:7.3} ms, p95 {:7.3} ms, p99 {:7.3} ms; {more}",
        percentile(sorted, 50),
        percentile(sorted, 95),
        percentile(sorted, 99),
    );
}

fn reads(mailbox: &Mailbox, count: usize) {
    let mut chance = Chance::new(13);
    let mut timed = |name: &str, read: &dyn Fn(usize) -> usize| {
        let mut times: Vec<f64> = (0..1_000)
            .map(|_| {
                let which = chance.next(count);
                let start = Instant::now();
                assert!(read(which) > 0);
                start.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        print(name, &times, "");
    };
    timed("list, 20 messages", &|_| {
        let request = ListMail { account_id: None, folder: "INBOX".to_owned(), limit: 20 };
        mailbox.list(&request).unwrap().messages.len()
    });
    timed("get", &|which| {
        let request = GetMail { account_id: None, message_id: format!("<{which}@bench.example>") };
        usize::from(mailbox.get(&request).unwrap().message.is_some())
    });
}
