//! What is known of all runs and roles: the history, and the marks.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Row, params};

use super::record::{Journal, JournalError, refuse_if_closed};
use super::state::State;
use crate::engine::call::Wall;
use crate::engine::leftover::credential_of;
use crate::inventory::Mark;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub run: String,
    /// `contain`, `revoke-only`, `restore`, `rehearse` or `verify`.
    pub mode: String,
    /// The roles it is about.
    pub roles: Vec<String>,
    /// When it began.
    pub started: Wall,
    /// When it ended; none while it runs, or where it was cut short.
    pub closed: Option<Wall>,
    /// How it ended.
    pub exit_code: Option<u8>,
}

/// A run, and what it planned.
pub(crate) struct PlannedFor {
    pub(crate) run: String,
    pub(crate) mode: String,
    /// The roles it is about.
    pub(crate) roles: Vec<String>,
    /// `ROLE/NAME`, each as an entry of the inventory; empty where its plan cannot be read.
    pub(crate) credentials: Vec<String>,
}

/// What a run issued.
pub(crate) struct Issued {
    pub(crate) run: String,
    /// The roles it is about.
    pub(crate) roles: Vec<String>,
    /// Its id in the inventory.
    pub(crate) provider: String,
    pub(crate) handle: String,
    /// No place holds it, and no later run has had it in hand: the seal of this run alone does.
    pub(crate) sealed: bool,
}

impl State {
    /// Every run, newest first: in the order in which they began, whatever the clock said then.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        let connection = self.database.lock();
        let mut select = connection.prepare_cached(
            "SELECT run, mode, roles, started, closed, exit_code FROM run
             ORDER BY rowid DESC",
        )?;
        let rows = select.query_map([], summary)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The newest run of a role in one of these modes; in any mode where none is named.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn latest(&self, role: &str, modes: &[&str]) -> Result<Option<RunSummary>, JournalError> {
        Ok(self.runs()?.into_iter().find(|run| {
            run.roles.iter().any(|name| name == role)
                && (modes.is_empty() || modes.contains(&run.mode.as_str()))
        }))
    }

    /// Runs of these roles and the credentials that each planned, newest run first. No verify is
    /// among them.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn planned_for(&self, roles: &[String]) -> Result<Vec<PlannedFor>, JournalError> {
        let connection = self.database.lock();
        // Headers alone: years of rehearsals must not be replayed to find the last contain.
        let mut select = connection.prepare_cached(
            "SELECT run.run, run.mode, run.roles,
                    CASE WHEN one.type = 'object' THEN one.value ->> '$.id' END
             FROM run LEFT JOIN record ON record.run = run.run AND record.n = 0
             LEFT JOIN json_each(CASE WHEN json_valid(record.json) THEN record.json ELSE '{}' END,
                 '$.plan.credentials') AS one
             WHERE run.mode <> 'verify' AND EXISTS (SELECT 1 FROM json_each(run.roles) AS role
                 WHERE role.value IN (SELECT value FROM json_each(?1)))
             ORDER BY run.rowid DESC",
        )?;
        let mut rows = select.query([serde_json::to_string(roles)?])?;
        let mut runs: Vec<PlannedFor> = Vec::new();
        while let Some(row) = rows.next()? {
            let run: String = row.get(0)?;
            if runs.last().is_none_or(|last| last.run != run) {
                let of_run: String = row.get(2)?;
                let roles = serde_json::from_str(&of_run).unwrap_or_default();
                runs.push(PlannedFor { run, mode: row.get(1)?, roles, credentials: Vec::new() });
            }
            // What another run left is not what the inventory names.
            if let (Some(last), Some(id)) = (runs.last_mut(), row.get::<_, Option<String>>(3)?)
                && credential_of(&id) == id
            {
                last.credentials.push(id);
            }
        }
        Ok(runs)
    }

    /// The verifies of a run, oldest first: each has looked at its old ones once more. What a
    /// restore repeats is what the run before it said, whose verifies are its own.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn verifies_of(&self, run: &str) -> Result<Vec<String>, JournalError> {
        let connection = self.database.lock();
        let mut select = connection.prepare_cached(
            "WITH RECURSIVE
             header AS (SELECT run.rowid AS began, run.run, run.mode,
                 CASE WHEN json_valid(record.json) THEN record.json ELSE '{}' END AS json
                 FROM run JOIN record ON record.run = run.run AND record.n = 0),
             past(run) AS (VALUES (?1) UNION
                 SELECT one.value ->> '$.earlier.run' FROM past
                 JOIN header ON header.run = past.run AND header.mode = 'restore'
                 JOIN json_each(header.json, '$.plan.credentials') AS one)
             SELECT run FROM header
             WHERE mode = 'verify' AND json ->> '$.plan.of.run' IN (SELECT run FROM past)
             ORDER BY began",
        )?;
        let rows = select.query_map([run], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The final report of a run as it was written, JSON; none while it is open.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], and what the disk brings.
    pub fn report_of(&self, run: &str) -> Result<Option<String>, JournalError> {
        self.database
            .lock()
            .query_row("SELECT report FROM run WHERE run = ?1", [run], |row| row.get(0))
            .optional()?
            .ok_or_else(|| JournalError::NoSuchRun(run.to_owned()))
    }

    /// Why the records of a run are not to be relied on; none where they are whole. Who has ended
    /// writes no more: of a closed run the last record is missed like any other.
    pub(crate) fn damage(&self, run: &str) -> Option<String> {
        let closed = || refuse_if_closed(&self.database.lock(), run).is_err();
        match Journal::open(self, run) {
            Err(error) => Some(error.to_string()),
            Ok((journal, ..)) => journal.notice().filter(|_| closed()).map(str::to_owned),
        }
    }

    /// Everything that runs of this installation issued and reported, newest run first.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn issued(&self) -> Result<Vec<Issued>, JournalError> {
        let connection = self.database.lock();
        let mut select = connection.prepare_cached(
            "SELECT run.run, run.roles, one.value ->> '$.provider',
                    one.value ->> '$.new.handle', one.value ->> '$.new.state' = 'delivered',
                    one.value ->> '$.old.handle'
             FROM run, json_each(run.report, '$.credentials') AS one
             WHERE run.report IS NOT NULL AND json_valid(run.report)
             ORDER BY run.rowid DESC",
        )?;
        let mut rows = select.query([])?;
        let (mut issued, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(row) = rows.next()? {
            let provider: String = row.get::<_, Option<_>>(2)?.unwrap_or_default();
            if let Some(handle) = row.get::<_, Option<String>>(3)? {
                let newest = seen.insert((provider.clone(), handle.clone()));
                let roles: String = row.get(1)?;
                issued.push(Issued {
                    run: row.get(0)?,
                    roles: serde_json::from_str(&roles).unwrap_or_default(),
                    provider: provider.clone(),
                    handle,
                    sealed: newest && row.get::<_, Option<bool>>(4)? != Some(true),
                });
            }
            if let Some(handle) = row.get::<_, Option<String>>(5)? {
                seen.insert((provider, handle));
            }
        }
        Ok(issued)
    }

    /// Old ones of these roles that may live on, as far as reports tell: the newest run that had
    /// each in hand, and its id there. Whose revocation was accepted and whose refusals only lack a
    /// control is none of them, nor is one that ends by itself.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn perhaps_alive(
        &self,
        roles: &[String],
    ) -> Result<Vec<(String, String)>, JournalError> {
        let connection = self.database.lock();
        // A restore has no old one in hand: it repeats what its contain said. A verify that got no
        // answer has seen nothing either.
        let mut select = connection.prepare_cached(
            "SELECT run.run, run.roles, one.value ->> '$.id', one.value ->> '$.old.fingerprint',
                    coalesce(one.value ->> '$.old.verdict' IN ('alive', 'dying')
                        OR one.value ->> '$.old.verdict' = 'unproven'
                           AND one.value ->> '$.old.revoke' <> 'accepted', FALSE)
             FROM run, json_each(run.report, '$.credentials') AS one
             WHERE run.report IS NOT NULL AND json_valid(run.report) AND run.mode <> 'restore'
               AND NOT (run.mode = 'verify' AND one.value ->> '$.old.verdict' = 'unproven')
               AND one.value ->> '$.old.fingerprint' IS NOT NULL
             ORDER BY run.rowid DESC",
        )?;
        let mut rows = select.query([])?;
        let (mut open, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(row) = rows.next()? {
            let (of_run, alive): (String, bool) = (row.get(1)?, row.get(4)?);
            let of_run: Vec<String> = serde_json::from_str(&of_run).unwrap_or_default();
            let newest = seen.insert(row.get::<_, String>(3)?);
            if newest && alive && of_run.iter().any(|role| roles.contains(role)) {
                open.push((row.get(0)?, row.get(2)?));
            }
        }
        Ok(open)
    }

    /// New ones of these roles that lie in no place, as far as reports tell: the newest run that
    /// had each in hand, and its id there.
    ///
    /// # Errors
    /// What the disk brings.
    pub(crate) fn put_nowhere(
        &self,
        roles: &[String],
    ) -> Result<Vec<(String, String)>, JournalError> {
        let connection = self.database.lock();
        // Whoever took one in to end it has it as an old one; a verify has it for looking only.
        let mut select = connection.prepare_cached(
            "SELECT run.run, run.roles, one.value ->> '$.id', one.value ->> '$.old.fingerprint',
                    one.value ->> '$.new.fingerprint',
                    coalesce(one.value ->> '$.new.state' <> 'delivered', TRUE)
             FROM run, json_each(run.report, '$.credentials') AS one
             WHERE run.report IS NOT NULL AND json_valid(run.report) AND run.mode <> 'verify'
             ORDER BY run.rowid DESC",
        )?;
        let mut rows = select.query([])?;
        let (mut held, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(row) = rows.next()? {
            let (of_run, nowhere): (String, bool) = (row.get(1)?, row.get(5)?);
            let of_run: Vec<String> = serde_json::from_str(&of_run).unwrap_or_default();
            if let Some(new) = row.get::<_, Option<String>>(4)?
                && seen.insert(new)
                && nowhere
                && of_run.iter().any(|role| roles.contains(role))
            {
                held.push((row.get(0)?, row.get(2)?));
            }
            seen.extend(row.get::<_, Option<String>>(3)?);
        }
        Ok(held)
    }

    /// The mark of a contained role, if it has one.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn contained(&self, role: &str) -> Result<Option<Mark>, JournalError> {
        Ok(self
            .database
            .lock()
            .query_row("SELECT since, because, run FROM contained WHERE role = ?1", [role], |row| {
                Ok(Mark { since: row.get(0)?, because: row.get(1)?, run: row.get(2)? })
            })
            .optional()?)
    }

    /// Marks a role as contained: no rehearsal from this installation until a person restores it.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn set_contained(&self, role: &str, mark: &Mark) -> Result<(), JournalError> {
        self.database.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO contained (role, since, because, run)
                 VALUES (?1, ?2, ?3, ?4)",
                params![role, mark.since, mark.because, mark.run],
            )?;
            Ok(())
        })
    }

    /// Takes the mark away: a person has restored the role.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn clear_contained(&self, role: &str) -> Result<(), JournalError> {
        self.database.write(|transaction| {
            transaction.execute("DELETE FROM contained WHERE role = ?1", [role])?;
            Ok(())
        })
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let roles: String = row.get(2)?;
    Ok(RunSummary {
        run: row.get(0)?,
        mode: row.get(1)?,
        roles: serde_json::from_str(&roles).unwrap_or_default(),
        started: Wall(row.get(3)?),
        closed: row.get::<_, Option<i64>>(4)?.map(Wall),
        exit_code: row.get(5)?,
    })
}
