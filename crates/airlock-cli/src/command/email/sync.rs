//! Mail that is fetched: of one account, or of all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use airlock_email::{Account, Stop, SyncProgress, SyncedFolder, Watch};
use airlock_host::{Error, MailAnswer, MailError, MailTask, MailTool, SyncMail, visible};
use indicatif::ProgressStyle;
use serde_json::{Value, json};

use super::super::Session;
use crate::flags::Sync;
use crate::mail::Opened;
use crate::printer::Matters;
use crate::spinner::Moving;

/// How many connections there are at once, where there are several accounts.
const AT_ONCE: usize = 4;

/// A folder that is fetched, or an account whose folders are not known.
struct Entry<'a> {
    account: &'a Account,
    /// None where the server did not say which there are.
    folder: Option<String>,
    result: Result<SyncedFolder, MailError>,
    /// Messages that were kept, of one that failed too.
    kept: u64,
}

pub(super) fn run(session: &Session, asked: &Sync) -> Result<u8, Error> {
    let opened = session.mail()?;
    let mailbox = opened.service.mailbox();
    let accounts = match asked.all_accounts {
        true => mailbox.accounts()?.into_iter().filter(|account| account.imap.is_some()).collect(),
        false => vec![super::account(mailbox, &asked.account)?],
    };
    let bar = Bar::new(session.quiet);
    let entries = fetch(opened, asked, &accounts, &bar)?;
    drop(bar);
    let is_one = !asked.all && !asked.all_accounts && entries.len() == 1;
    let synced = entries.iter().map(|entry| entry.kept).sum::<u64>();
    let failed = entries.iter().filter(|entry| entry.result.is_err()).count();
    if session.printer.json && (failed == 0 || !is_one) {
        let folders = entries.iter().map(described).collect::<Vec<_>>();
        return session.object(failed == 0, json!({ "synced": synced, "folders": folders }));
    }
    for entry in entries {
        match entry.result {
            // The only thing that was asked for.
            Err(error) if is_one => return Err(error.into()),
            Err(error) => {
                let of = match &entry.folder {
                    Some(folder) => format!("`{folder}` of {}", entry.account.name),
                    None => entry.account.name.clone(),
                };
                session.printer.finding(Matters::Error, &format!("{of}: {error}"), None);
            }
            Ok(_) => {}
        }
    }
    session.printer.note(&format!("{synced} new {}", if synced == 1 { "message" } else { "messages" }));
    Ok(u8::from(failed > 0))
}

/// Fetches what is asked for; what became of each folder, by its account.
fn fetch<'a>(
    opened: &Opened,
    asked: &Sync,
    accounts: &'a [Account],
    bar: &Bar,
) -> Result<Vec<Entry<'a>>, Error> {
    let at_once = if asked.all_accounts { AT_ONCE } else { 1 };
    let mut entries = Vec::new();
    let mut wanted = Vec::new();
    for (index, (account, folders)) in accounts.iter().zip(folders(opened, asked, accounts)?).enumerate() {
        match folders {
            Ok(folders) => wanted.extend(folders.into_iter().enumerate().map(|one| (one, index))),
            // Nothing of it can be fetched: where it is the only one, that is all there is to say.
            Err(error) if !asked.all_accounts => return Err(error.into()),
            Err(error) => entries.push((index, Entry { account, folder: None, result: Err(error), kept: 0 })),
        }
    }
    // The first folder of each account first: no account waits for all folders of another.
    wanted.sort_by_key(|((place, _), index)| (*place, *index));
    let request = |((_, folder), index): &((usize, String), usize)| SyncMail {
        account_id: Some(accounts[*index].id),
        folder: folder.clone(),
        cursor: None,
        // All there is, so that one connection is enough for a folder.
        max_messages: u32::MAX,
    };
    let requests: Vec<SyncMail> = wanted.iter().map(request).collect();
    let fetched = opened.service.fetch_all(&requests, at_once, bar)?;
    for (((_, folder), index), result) in wanted.into_iter().zip(fetched) {
        let account = &accounts[index];
        let kept = match &result {
            Ok(found) => found.synced.synced,
            Err(_) => bar.kept(account.id, &folder),
        };
        entries.push((index, Entry { account, folder: Some(folder), result, kept }));
    }
    entries.sort_by_key(|(index, _)| *index);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// The folders of each account that are fetched.
fn folders(
    opened: &Opened,
    asked: &Sync,
    accounts: &[Account],
) -> Result<Vec<Result<Vec<String>, MailError>>, Error> {
    if !asked.all {
        let mut folders = asked.folders.clone();
        // What was said twice is fetched once: no folder is fetched by two at the same time.
        let mut said = BTreeSet::new();
        folders.retain(|folder| said.insert(folder.clone()));
        if folders.is_empty() {
            folders.push("INBOX".to_owned());
        }
        return Ok(accounts.iter().map(|_| Ok(folders.clone())).collect());
    }
    for account in accounts {
        opened.service.note(MailTask::Folders, &account.name)?;
    }
    let mut all = Vec::new();
    for some in accounts.chunks(AT_ONCE) {
        all.extend(std::thread::scope(|scope| {
            let asked: Vec<_> =
                some.iter().map(|account| scope.spawn(|| selectable(opened, account))).collect();
            let told = asked.into_iter().map(|one| one.join());
            told.map(|told| told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
        }));
    }
    Ok(all)
}

/// The folders of an account that can hold messages.
fn selectable(opened: &Opened, account: &Account) -> Result<Vec<String>, MailError> {
    let (credentials, stop) = (&*opened.credentials, Stop::new());
    let mailbox = opened.service.mailbox();
    let folders = mailbox.sync_folders(Some(account.id), credentials, &opened.connector, &stop)?;
    Ok(folders.into_iter().filter(|folder| folder.is_selectable).map(|folder| folder.path).collect())
}

/// What became of a folder, as its JSON.
fn described(entry: &Entry<'_>) -> Value {
    match &entry.result {
        Ok(found) => MailAnswer::Synced(found.synced.clone()).to_json(),
        Err(error) => {
            let mut told = error.to_json(MailTool::Sync);
            told["account_id"] = json!(entry.account.id);
            told["folder"] = json!(entry.folder);
            told["synced"] = json!(entry.kept);
            told
        }
    }
}

/// How far it is, of all folders together: a bar on a terminal, as long as this is there.
struct Bar {
    moving: Option<Moving>,
    /// What is done of how much, by account and folder.
    seen: Mutex<BTreeMap<(i64, String), (u64, u64)>>,
}

impl Bar {
    fn new(quiet: bool) -> Self {
        let is_shown = !quiet && std::io::stderr().is_terminal();
        Bar { moving: is_shown.then(|| Moving::new("connecting")), seen: Mutex::default() }
    }

    /// How many messages of a folder were kept.
    fn kept(&self, account: i64, folder: &str) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(account, folder.to_owned())).map_or(0, |(done, _)| *done)
    }
}

impl Watch for Bar {
    fn progressed(&self, progress: &SyncProgress<'_>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = seen.is_empty();
        seen.insert((progress.account_id, progress.folder.to_owned()), (progress.done, progress.total));
        let Some(bar) = self.moving.as_ref().map(Moving::bar) else { return };
        let (done, total) = seen.values().fold((0, 0), |(done, total), one| (done + one.0, total + one.1));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(visible(progress.folder, false).into_owned());
        if is_first && let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
    }
}
