//! What is held under seal, and the book of who had it opened.
//!
//! A line of the book is written before the bytes leave: *write, then act*. Lines are chained like
//! the records of a run, so that one that was taken out is missed.

use std::io::Write;

use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::chain::{Hash, NOTHING, link};
use super::record::JournalError;
use super::sealed::Opener;
use super::state::State;
use crate::engine::call::{SecretId, Time, Wall};
use crate::secret::Parts;

/// One opening of a seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// The run that holds it.
    pub(crate) run: String,
    /// The credential, `ROLE/NAME`.
    pub(crate) credential: String,
    /// `old` or `new`.
    pub(crate) side: String,
    /// The part.
    pub(crate) part: String,
    /// Where it went: a path, or `stdout`.
    pub(crate) to: String,
    /// When.
    pub(crate) at: Wall,
    /// Who: the number of the user of the process.
    pub(crate) user: u32,
    /// On which host.
    pub(crate) host: String,
}

/// A part of what is held cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EscrowError {
    /// It is not held here, or no more.
    #[error("nothing of it is held under seal")]
    NotHeld,
    /// It has several parts, or none of that name.
    #[error("it has no such part: {}", .0.join(", "))]
    Parts(Vec<String>),
    /// The journal says no.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The bytes could not be written.
    #[error("it cannot be written")]
    Write(#[source] std::io::Error),
}

impl State {
    /// Names of everything under seal, run by run.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn sealed(&self) -> Result<Vec<(String, SecretId)>, JournalError> {
        let connection = self.database.lock();
        let mut select = connection.prepare_cached("SELECT run, id FROM seal ORDER BY run, id")?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, SecretId(row.get::<_, i64>(1)?.cast_unsigned())))
        };
        Ok(select.query_map([], row)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The parts of what these calls of a run brought, later ones over earlier ones: the name of
    /// the only one, or of the one that was asked for.
    ///
    /// # Errors
    /// [`EscrowError`]; nothing was opened for anybody.
    pub(crate) fn part_of(
        &self,
        run: &str,
        secrets: &[SecretId],
        wanted: Option<&str>,
    ) -> Result<String, EscrowError> {
        let held = self.held(run, secrets)?;
        let names: Vec<String> = held.secret.into_keys().collect();
        match (wanted, names.as_slice()) {
            (None, [only]) => Ok(only.clone()),
            (Some(wanted), _) if names.iter().any(|name| name == wanted) => Ok(wanted.to_owned()),
            _ => Err(EscrowError::Parts(names)),
        }
    }

    /// Writes the opening down, and then the bytes of the part to `out`, which must keep nothing of
    /// them in a buffer.
    ///
    /// # Errors
    /// [`EscrowError`]; what was written down stays written.
    pub(crate) fn hand_over(
        &self,
        secrets: &[SecretId],
        opening: &Opening,
        out: &mut dyn Write,
    ) -> Result<(), EscrowError> {
        let held = self.held(&opening.run, secrets)?;
        let part = held.secret.get(&opening.part).ok_or(EscrowError::NotHeld)?;
        self.note(opening)?;
        out.write_all(part.expose()).and_then(|()| out.flush()).map_err(EscrowError::Write)
    }

    fn held(&self, run: &str, secrets: &[SecretId]) -> Result<Parts, EscrowError> {
        let mut all = Parts::default();
        let connection = self.database.lock();
        let mut opener = Opener::new(&connection, self.seal(), run);
        for id in secrets {
            if let Some(parts) = opener.held(*id)? {
                all.public.extend(parts.public);
                all.secret.extend(parts.secret);
            }
        }
        if all.secret.is_empty() { Err(EscrowError::NotHeld) } else { Ok(all) }
    }

    fn note(&self, opening: &Opening) -> Result<(), JournalError> {
        let json = serde_json::to_string(opening)?;
        self.database.write(|transaction| {
            let last: Option<(i64, Hash)> = transaction
                .query_row("SELECT n, hash FROM opening ORDER BY n DESC LIMIT 1", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let (n, head) = last.map_or((0, NOTHING), |(n, head)| (n + 1, head));
            let hash = link(&head, Time(n.cast_unsigned()), json.as_bytes());
            transaction.execute(
                "INSERT INTO opening (n, json, hash) VALUES (?1, ?2, ?3)",
                params![n, json, hash],
            )?;
            Ok(())
        })
    }

    /// Every opening, oldest first.
    ///
    /// # Errors
    /// [`JournalError::Broken`] where a line was changed or taken out, and what the disk brings.
    pub(crate) fn openings(&self) -> Result<Vec<Opening>, JournalError> {
        let connection = self.database.lock();
        let mut select =
            connection.prepare_cached("SELECT n, json, hash FROM opening ORDER BY n")?;
        let mut rows = select.query([])?;
        let (mut all, mut head, mut n) = (Vec::new(), NOTHING, 0_u64);
        while let Some(row) = rows.next()? {
            let broken = || JournalError::Broken { run: "openings".to_owned(), record: n };
            let (at, json, hash): (i64, String, Hash) = (row.get(0)?, row.get(1)?, row.get(2)?);
            head = link(&head, Time(n), json.as_bytes());
            if at.cast_unsigned() != n || hash != head {
                return Err(broken());
            }
            all.push(serde_json::from_str(&json).map_err(|_| broken())?);
            n += 1;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(part: &str) -> Opening {
        Opening {
            run: "r1".to_owned(),
            credential: "mail/a".to_owned(),
            side: "new".to_owned(),
            part: part.to_owned(),
            to: "stdout".to_owned(),
            at: Wall(1),
            user: 0,
            host: "here".to_owned(),
        }
    }

    #[test]
    fn the_book_misses_a_line_that_was_taken_out() {
        let state = State::in_memory().unwrap();
        for part in ["a", "b", "c"] {
            state.note(&opening(part)).unwrap();
        }
        assert_eq!(state.openings().unwrap().len(), 3);
        state.database.lock().execute("DELETE FROM opening WHERE n = 1", []).unwrap();
        assert!(matches!(state.openings(), Err(JournalError::Broken { record: 1, .. })));
    }

    #[test]
    fn what_is_not_held_is_not_handed_over_and_not_written_down() {
        let state = State::in_memory().unwrap();
        let mut out = Vec::new();
        let error = state.hand_over(&[SecretId(7)], &opening("a"), &mut out).unwrap_err();
        assert!(matches!(error, EscrowError::NotHeld) && out.is_empty());
        assert_eq!(state.openings().unwrap(), []);
    }
}
