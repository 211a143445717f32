//! Seals that the installation key does not open: a key that was lost, a directory that was put
//! together from two. And sealing anew, once a recipient has brought a key.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::record::{JournalError, unsealed};
use super::state::State;
use super::{Adopted, sealed};
use crate::engine::call::SecretId;
use crate::seal::Identities;

/// What became of the seals of an installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resealed {
    /// Opened, and sealed to the key and the recipients of today.
    pub(crate) again: usize,
    /// Opened by none of the keys; left as they are.
    pub(crate) closed: usize,
}

impl State {
    /// The same installation, opening also what was sealed to the public halves of these keys.
    pub(crate) fn opened_by(mut self, more: &Identities) -> Self {
        self.seal = Arc::new(self.seal.opened_by(more));
        self
    }

    /// What is to be said before anything is done: seals that do not open.
    pub(crate) fn notice(&self) -> Option<String> {
        let what = match self.closed {
            0 => return None,
            1 => "1 sealed secret does".to_owned(),
            some => format!("{some} sealed secrets do"),
        };
        Some(format!(
            "{what} not open with the key of this installation: bring `key` back from a backup, \
             or use a recipient's: rotate escrow reseal --identity FILE"
        ))
    }

    /// How many seals the installation key does not open. They are only tried where the key is
    /// not the one that was in use before.
    pub(super) fn recognise_key(&self) -> rusqlite::Result<usize> {
        let own = self.seal.own();
        let known: Option<String> = {
            let connection = self.database.lock();
            let select = "SELECT key FROM installation WHERE n = 1";
            connection.query_row(select, [], |row| row.get(0)).optional()?
        };
        if known.is_some_and(|known| known == own) {
            return Ok(0);
        }
        let closed = self.seals()?.iter().filter(|one| !self.opens(one)).count();
        if closed == 0 {
            // Where it cannot be written, they are tried again the next time.
            let _ = self.remember_key();
        }
        Ok(closed)
    }

    fn remember_key(&self) -> rusqlite::Result<()> {
        let insert = "INSERT OR REPLACE INTO installation (n, key) VALUES (1, ?1)";
        self.database.lock().execute(insert, [self.seal.own()])?;
        Ok(())
    }

    fn opens(&self, (run, id, blob): &(String, SecretId, Vec<u8>)) -> bool {
        sealed::open(&self.seal, run, *id, blob).is_ok()
    }

    fn seals(&self) -> rusqlite::Result<Vec<(String, SecretId, Vec<u8>)>> {
        let connection = self.database.lock();
        let mut select =
            connection.prepare_cached("SELECT run, id, sealed FROM seal ORDER BY run, id")?;
        let rows = select.query_map([], |row| {
            Ok((row.get(0)?, SecretId(row.get::<_, i64>(1)?.cast_unsigned()), row.get(2)?))
        })?;
        rows.collect()
    }

    /// Those of them that open, for a run that can do without the others.
    pub(crate) fn openable(&self, adopted: &[Adopted]) -> Vec<Adopted> {
        let opens = |one: &&Adopted| unsealed(self, &one.run, one.before).is_ok();
        adopted.iter().filter(opens).cloned().collect()
    }

    /// Seals everything that opens again, to the key and the recipients of today. A seal that a
    /// run changes meanwhile is that run's, and is left.
    ///
    /// # Errors
    /// What the disk brings; nothing was changed.
    pub(crate) fn reseal(&self) -> Result<Resealed, JournalError> {
        let (mut done, mut anew) = (Resealed::default(), Vec::new());
        // Before the journal is locked: a run that revokes must not wait for this.
        for (run, id, blob) in self.seals()? {
            match sealed::open(&self.seal, &run, id, &blob) {
                Ok(parts) => {
                    let sealed = sealed::seal(&self.seal, &run, id, &parts)?;
                    anew.push((run, id, blob, sealed));
                }
                Err(_) => done.closed += 1,
            }
        }
        done.again = self.database.write(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE seal SET sealed = ?4 WHERE run = ?1 AND id = ?2 AND sealed = ?3",
            )?;
            let mut again = 0;
            for (run, id, before, now) in &anew {
                again += update.execute(params![run, id.0.cast_signed(), before, now])?;
            }
            Ok(again)
        })?;
        if done.closed == 0 {
            self.remember_key()?;
        }
        // The log still holds the seals of before, which a recipient taken out could open.
        let _ = self.database.lock().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        Ok(done)
    }
}
