//! What people and other processes say to a run.

use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use super::record::{JournalError, refuse_if_closed};
use super::state::State;

/// One thing said to a run from outside its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// A step left to a person is done.
    HandDone {
        /// The credential, as the report names it: `ROLE/NAME`.
        credential: String,
    },
    /// Begin nothing new; finish the revocations under way.
    Stop,
    /// A contain wants the role that this rehearsal holds.
    TakeOver,
}

impl State {
    /// Leaves a message for a run, in this process or another.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], [`JournalError::Closed`] (nobody would hear it), and what
    /// the disk brings.
    pub fn tell(&self, run: &str, message: &Message) -> Result<(), JournalError> {
        let text = serde_json::to_string(message)?;
        self.database.write(|transaction| {
            refuse_if_closed(transaction, run)?;
            transaction
                .execute("INSERT INTO inbox (run, message) VALUES (?1, ?2)", params![run, text])?;
            Ok(())
        })
    }
}

/// Messages with a number above `after`, oldest first; none where this release does not know it.
pub(super) fn waiting(
    connection: &Connection,
    run: &str,
    after: i64,
) -> Result<Vec<(i64, Option<Message>)>, JournalError> {
    let mut select = connection
        .prepare_cached("SELECT n, message FROM inbox WHERE run = ?1 AND n > ?2 ORDER BY n")?;
    let rows = select.query_map(params![run, after], |row| {
        let text: String = row.get(1)?;
        Ok((row.get(0)?, serde_json::from_str(&text).ok()))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes messages out for good.
pub(super) fn remove(transaction: &Transaction<'_>, heard: &[i64]) -> Result<(), JournalError> {
    let mut delete = transaction.prepare_cached("DELETE FROM inbox WHERE n = ?1")?;
    for n in heard {
        delete.execute([n])?;
    }
    Ok(())
}
