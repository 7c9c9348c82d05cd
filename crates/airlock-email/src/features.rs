//! Switches of what may be done with an account's mail, beside the grants of plugins.

use airlock_core::{MailCode, MailError};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::Mailbox;
use crate::db::{self, failed, now};

/// What can be switched on and off, for each account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// List and get; on where nothing is said.
    InboxRead,
    /// Search; on where nothing is said.
    InboxSearch,
    /// Send; off where nothing is said.
    EmailSend,
    /// Reply; off where nothing is said.
    EmailReply,
    /// Have what failed tried again; off where nothing is said.
    OutboxRetry,
    /// Put a copy of what was sent into the account's folder for that; on where nothing is said.
    SaveSent,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 6] = [
        Feature::InboxRead,
        Feature::InboxSearch,
        Feature::EmailSend,
        Feature::EmailReply,
        Feature::OutboxRetry,
        Feature::SaveSent,
    ];

    /// Its name, as PRX has it.
    pub fn key(self) -> &'static str {
        match self {
            Feature::InboxRead => "inbox_read",
            Feature::InboxSearch => "inbox_search",
            Feature::EmailSend => "email_send",
            Feature::EmailReply => "email_reply",
            Feature::OutboxRetry => "outbox_retry",
            Feature::SaveSent => "save_sent",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// [`MailCode::Validation`] where there is none.
    pub fn named(key: &str) -> Result<Self, MailError> {
        let found = Feature::ALL.into_iter().find(|feature| feature.key() == key);
        found.ok_or_else(|| MailError::invalid(&format!("unknown feature flag: {key}")))
    }
}

impl Mailbox {
    /// Switches a feature on or off for an account.
    pub fn switch(&self, account: i64, feature: Feature, on: bool) -> Result<(), MailError> {
        switch(&self.connection(), account, feature, on).map_err(failed)
    }

    /// Switches a feature on for so many of a hundred accounts, the same ones each time, and off
    /// for the others.
    pub fn roll_out(&self, feature: Feature, percent: u8) -> Result<(), MailError> {
        let ids: Vec<i64> = self.accounts()?.into_iter().map(|account| account.id).collect();
        let mut connection = self.connection();
        let transaction = db::writing(&mut connection)?;
        for id in ids {
            switch(&transaction, id, feature, id.rem_euclid(100) < i64::from(percent)).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Whether a feature is on for an account.
    pub fn is_on(&self, account: i64, feature: Feature) -> Result<bool, MailError> {
        let sql = "SELECT coalesce(enabled, default_enabled) FROM feature_flags
                   LEFT JOIN account_feature_flags ON feature_key = key AND account_id = ?1
                   WHERE key = ?2";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let on = statement.query_row(params![account, feature.key()], |row| row.get(0)).optional();
        Ok(on.map_err(failed)?.unwrap_or(false))
    }

    /// Refuses what is switched off.
    pub(crate) fn require(&self, account: i64, feature: Feature) -> Result<(), MailError> {
        match self.is_on(account, feature)? {
            true => Ok(()),
            false => Err(MailError::new(
                MailCode::FeatureDisabled,
                &format!("feature '{}' is disabled for account {account}", feature.key()),
            )),
        }
    }
}

fn switch(connection: &Connection, account: i64, feature: Feature, on: bool) -> rusqlite::Result<()> {
    let sql = "INSERT INTO account_feature_flags (account_id, feature_key, enabled, updated_at)
               VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (account_id, feature_key) DO UPDATE SET enabled = ?3, updated_at = ?4";
    connection.execute(sql, params![account, feature.key(), on, now()]).map(drop)
}
