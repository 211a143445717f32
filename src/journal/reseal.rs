//! Seals that the installation key does not open: a key that was lost, a directory that was put
//! together from two. And sealing anew, once a recipient has brought a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::data_key::{DataKey, UNUSED_KEYS, insert_key};
use super::record::JournalError;
use super::sealed::Opener;
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
        let closed = self.closed()?;
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

    fn closed(&self) -> rusqlite::Result<usize> {
        let connection = self.database.lock();
        let mut closed = 0;
        for (run, seals) in seals(&connection)? {
            let mut opener = Opener::new(&connection, &self.seal, &run);
            closed += seals.iter().filter(|(id, blob)| opener.open(*id, blob).is_err()).count();
        }
        Ok(closed)
    }

    /// Those of them that open, for a run that can do without the others.
    pub(crate) fn openable(&self, adopted: &[Adopted]) -> Vec<Adopted> {
        let lent = sealed::lent(self, adopted).into_iter();
        lent.filter(|(_, held)| held.is_ok()).map(|(one, _)| one.clone()).collect()
    }

    /// Seals everything that opens again, to the key and the recipients of today. A seal that a
    /// run changes meanwhile is that run's, and is left.
    ///
    /// # Errors
    /// What the disk brings; nothing was changed.
    pub(crate) fn reseal(&self) -> Result<Resealed, JournalError> {
        // Before the journal is locked: a run that revokes must not wait for this.
        let (anew, closed) = self.anew()?;
        let again = self.database.write(|transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE seal SET sealed = ?4 WHERE run = ?1 AND id = ?2 AND sealed = ?3",
            )?;
            let mut unused = transaction.prepare_cached(UNUSED_KEYS)?;
            let mut again = 0;
            for Anew { run, key, seals } in &anew {
                insert_key(transaction, run, key)?;
                for (id, before, now) in seals {
                    again += update.execute(params![run, id.0.cast_signed(), before, now])?;
                }
                unused.execute([run])?;
            }
            Ok(again)
        })?;
        let done = Resealed { again, closed };
        if done.closed == 0 {
            self.remember_key()?;
        }
        // The log still holds the seals of before, which a recipient taken out could open.
        let _ = self.database.lock().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        Ok(done)
    }

    /// Everything that opens, sealed under one new key for each run; and how much does not open.
    fn anew(&self) -> Result<(Vec<Anew>, usize), JournalError> {
        let connection = self.database.lock();
        let (mut all, mut closed) = (Vec::new(), 0);
        for (run, before) in seals(&connection)? {
            let key = DataKey::make(&self.seal)?;
            let mut opener = Opener::new(&connection, &self.seal, &run);
            let mut seals = Vec::with_capacity(before.len());
            for (id, blob) in before {
                match opener.open(id, &blob) {
                    Ok(parts) => {
                        let now = sealed::seal(&key, &run, id, &parts)?;
                        seals.push((id, blob, now));
                    }
                    Err(_) => closed += 1,
                }
            }
            drop(opener);
            all.push(Anew { run, key, seals });
        }
        Ok((all, closed))
    }
}

/// The seals of one run: as they were, and as they are to be.
struct Anew {
    run: String,
    key: DataKey,
    seals: Vec<(SecretId, Vec<u8>, Vec<u8>)>,
}

/// By run.
type Seals = BTreeMap<String, Vec<(SecretId, Vec<u8>)>>;

fn seals(connection: &Connection) -> rusqlite::Result<Seals> {
    let mut select =
        connection.prepare_cached("SELECT run, id, sealed FROM seal ORDER BY run, id")?;
    let mut rows = select.query([])?;
    let mut all = Seals::new();
    while let Some(row) = rows.next()? {
        let id = SecretId(row.get::<_, i64>(1)?.cast_unsigned());
        all.entry(row.get(0)?).or_default().push((id, row.get(2)?));
    }
    Ok(all)
}
