//! The records of one run: a hash chain, written batch by batch.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::chain::{self, Hash, NOTHING, link};
use super::data_key::{DataKey, insert_key};
use super::database::Database;
use super::sealed::{self, Opener};
use super::state::State;
use super::{Adopted, Entry, Events, FORMAT, Header, Message, inbox};
use crate::engine::call::{SecretId, Time, Wall};
use crate::seal::{Seal, SealError};
use crate::secret::Parts;

/// The journal of one run, open for writing.
///
/// Every call blocks on the disk. Two handles of one run cannot both write: the second one's
/// record has a number that is taken, and its append fails.
pub struct Journal {
    database: Database,
    seal: Arc<Seal>,
    /// Made with the first secret that this handle seals.
    key: Option<DataKey>,
    run: String,
    first: Hash,
    head: Hash,
    /// The number of the next record.
    next: u64,
    /// Messages handed out and not yet part of a written event.
    heard: Vec<i64>,
    notice: Option<String>,
}

/// A journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite says no: the disk is full, the file is locked, read-only or damaged.
    #[error("the journal cannot be read or written")]
    Database(#[from] rusqlite::Error),
    /// No such run.
    #[error("run {0} is not in the journal")]
    NoSuchRun(String),
    /// A run of that name is there.
    #[error("run {0} is in the journal already")]
    RunExists(String),
    /// It has ended.
    #[error("run {0} is closed")]
    Closed(String),
    /// It was written by another release.
    #[error("run {run} has journal format {found}, this release reads format {known}")]
    Format {
        /// The run.
        run: String,
        /// Its number.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A record is not what it was when it was written, or is missing.
    #[error("the journal of run {run} breaks at record {record}")]
    Broken {
        /// The run.
        run: String,
        /// The first record that does not follow from the one before.
        record: u64,
    },
    /// A record is whole, but says what this release does not know.
    #[error("record {record} of run {run} is of no kind that this release knows")]
    Unreadable {
        /// The run.
        run: String,
        /// The record.
        record: u64,
    },
    /// A sealed secret does not open, or is not the one it should be.
    #[error("run {run}: the sealed secret {id} does not open with any key at hand")]
    Sealed {
        /// The run.
        run: String,
        /// Its [`SecretId`].
        id: u64,
    },
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record cannot be put into JSON.
    #[error("a record cannot be put into JSON")]
    Encode(#[from] serde_json::Error),
}

impl JournalError {
    /// What to do, as an imperative.
    pub fn hint(&self) -> String {
        match self {
            Self::Database(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => {
                    "free space in the state directory, then: rotate resume"
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    "end the process that holds the journal, then: rotate resume"
                }
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    "save a copy of the state directory, then start a new run of the role"
                }
                _ => "check that the state directory can be written",
            },
            Self::NoSuchRun(_) => "list them: rotate runs",
            Self::RunExists(_) => "start again: a new run takes a new name",
            Self::Closed(_) => "start a new one: rotate verify RUN",
            Self::Format { .. } | Self::Unreadable { .. } => "use the release that wrote it",
            Self::Broken { .. } => {
                "save a copy of the state directory as evidence, then start a new run of the role"
            }
            Self::Sealed { .. } => {
                "bring `key` of the state directory back from a backup, or use a recipient's: \
                 rotate escrow reseal --identity FILE"
            }
            Self::Seal(_) => "check the files `key` and `recipients` in the state directory",
            Self::Encode(_) => "report this: no plan should hold what JSON cannot",
        }
        .to_owned()
    }
}

impl Journal {
    /// Begins the journal of a run: its header becomes record 0, and what an earlier run had
    /// sealed is sealed again under this run, all in one write.
    ///
    /// # Errors
    /// [`JournalError::RunExists`], [`JournalError::Format`] for a header of another format, and
    /// what the disk brings.
    pub fn create(
        state: &State,
        header: &Header,
        adopted: &[(SecretId, &Parts)],
    ) -> Result<Self, JournalError> {
        let run = header.run.clone();
        if header.format != FORMAT {
            return Err(JournalError::Format { run, found: header.format, known: FORMAT });
        }
        let json = serde_json::to_string(header)?;
        let first = link(&NOTHING, Time(0), json.as_bytes());
        let mut key = None;
        let seals = seal_all(&mut key, state.seal(), &run, adopted.iter().copied())?;
        state.database.write(|transaction| {
            insert_run(transaction, header)?;
            insert_record(transaction, &run, 0, Time(0), &json, &first)?;
            insert_seals(transaction, &run, key.as_ref(), &seals)
        })?;
        Ok(Self {
            database: state.database.clone(),
            seal: Arc::clone(state.seal()),
            key,
            run,
            first,
            head: first,
            next: 1,
            heard: Vec::new(),
            notice: None,
        })
    }

    /// [`Journal::create`], with secrets that earlier runs sealed under names of their own. One
    /// that is sealed no longer is left out.
    ///
    /// # Errors
    /// As [`Journal::create`], and [`JournalError::Sealed`].
    pub fn begin(
        state: &State,
        header: &Header,
        adopted: &[Adopted],
    ) -> Result<Self, JournalError> {
        let mut lent = Vec::with_capacity(adopted.len());
        for (one, held) in sealed::lent(state, adopted) {
            if let Some(parts) = held? {
                lent.push((one.now, parts));
            }
        }
        let lent: Vec<_> = lent.iter().map(|(id, parts)| (*id, parts)).collect();
        Self::create(state, header, &lent)
    }

    /// Reads a run and checks its chain. A last record that was damaged is left out, which
    /// [`Journal::notice`] says; the next append takes its place.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], [`JournalError::Format`], [`JournalError::Broken`],
    /// [`JournalError::Unreadable`], and what the disk brings. Nothing was changed.
    pub fn open(state: &State, run: &str) -> Result<(Self, Header, Events), JournalError> {
        let connection = state.database.lock();
        let ended = chain::ending(&connection, run)?;
        let chain = chain::read(&connection, run)?;
        drop(connection);
        let mut notice = chain
            .dropped
            .map(|n| format!("record {n} of run {run}, the last one, was damaged and is left out"));
        if notice.is_none() && ended.is_some_and(|head| head != chain.head) {
            notice = Some(format!("run {run} had more records when it was closed"));
        }
        let journal = Self {
            database: state.database.clone(),
            seal: Arc::clone(state.seal()),
            key: None,
            run: run.to_owned(),
            first: chain.first,
            head: chain.head,
            next: 1 + chain.events.len() as u64,
            heard: Vec::new(),
            notice,
        };
        Ok((journal, chain.header, chain.events))
    }

    /// Writes a batch: its events, and the seals of what they brought, in one durable
    /// transaction; forgets what is proved dead or delivered; takes the messages that were heard
    /// out of the inbox. All of it, or nothing.
    ///
    /// # Errors
    /// What the disk brings. Every earlier record stays as it is, and the journal can be tried
    /// again.
    pub fn append(&mut self, batch: &[Entry<'_>], forget: &[SecretId]) -> Result<(), JournalError> {
        let run = self.run.as_str();
        let brought = batch.iter().filter_map(|entry| entry.brought);
        let seals = seal_all(&mut self.key, &self.seal, run, brought)?;
        let (mut head, mut next) = (self.head, self.next);
        let mut records = Vec::with_capacity(batch.len());
        for entry in batch {
            let json = serde_json::to_string(entry.event)?;
            head = link(&head, entry.at, json.as_bytes());
            records.push((next, entry.at, json, head));
            next += 1;
        }
        let damaged = self.notice.is_some();
        self.database.write(|transaction| {
            refuse_if_closed(transaction, run)?;
            if damaged {
                transaction.execute(
                    "DELETE FROM record WHERE run = ?1 AND n >= ?2",
                    params![run, self.next.cast_signed()],
                )?;
            }
            for (n, at, json, hash) in &records {
                insert_record(transaction, run, *n, *at, json, hash)?;
            }
            insert_seals(transaction, run, self.key.as_ref(), &seals)?;
            let mut delete =
                transaction.prepare_cached("DELETE FROM seal WHERE run = ?1 AND id = ?2")?;
            for id in forget {
                delete.execute(params![run, id.0.cast_signed()])?;
            }
            inbox::remove(transaction, &self.heard)
        })?;
        (self.head, self.next) = (head, next);
        self.heard.clear();
        self.notice = None;
        Ok(())
    }

    /// Everything sealed under this run and not forgotten, opened.
    ///
    /// # Errors
    /// [`JournalError::Sealed`], and what the disk brings.
    pub fn secrets(&self) -> Result<Vec<(SecretId, Parts)>, JournalError> {
        let connection = self.database.lock();
        let mut select =
            connection.prepare_cached("SELECT id, sealed FROM seal WHERE run = ?1 ORDER BY id")?;
        let mut rows = select.query([&self.run])?;
        let mut opener = Opener::new(&connection, &self.seal, &self.run);
        let mut secrets = Vec::new();
        while let Some(row) = rows.next()? {
            let id = SecretId(row.get::<_, i64>(0)?.cast_unsigned());
            let sealed = row.get_ref(1)?.as_bytes().unwrap_or_default();
            secrets.push((id, opener.open(id, sealed)?));
        }
        Ok(secrets)
    }

    /// What people and other processes said since the last call. A message stays in the inbox
    /// until the next [`Journal::append`], which is to hold its event: a crash between the two
    /// loses nothing, and nothing is heard twice.
    ///
    /// # Errors
    /// What the disk brings.
    pub fn inbox(&mut self) -> Result<Vec<Message>, JournalError> {
        let after = self.heard.last().copied().unwrap_or(0);
        let waiting = inbox::waiting(&self.database.lock(), &self.run, after)?;
        self.heard.extend(waiting.iter().map(|(n, _)| *n));
        Ok(waiting.into_iter().filter_map(|(_, message)| message).collect())
    }

    /// Ends the run, keeping its report; returns what was said too late to be heard.
    ///
    /// # Errors
    /// What the disk brings; the run is then still open.
    pub fn close(
        &mut self,
        at: Wall,
        report_json: &str,
        exit_code: u8,
    ) -> Result<Vec<Message>, JournalError> {
        let after = self.heard.last().copied().unwrap_or(0);
        let late = self.database.write(|transaction| {
            let late = inbox::waiting(transaction, &self.run, after)?;
            transaction.execute("DELETE FROM inbox WHERE run = ?1", [&self.run])?;
            transaction.execute(
                "UPDATE run SET closed = ?2, report = ?3, exit_code = ?4, head = ?5 WHERE run = ?1",
                params![self.run, at.0, report_json, exit_code, self.head],
            )?;
            Ok(late)
        })?;
        self.heard.clear();
        // The log still holds seals that were forgotten; emptied where no other process reads
        // it, else with the next run.
        let _ = self.database.lock().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        Ok(late.into_iter().filter_map(|(_, message)| message).collect())
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The hash of the last record, `sha256:` and 64 hexadecimal digits.
    pub fn head(&self) -> String {
        chain::text(&self.head)
    }

    /// The hash of record 0, the header and plan.
    pub fn first(&self) -> String {
        chain::text(&self.first)
    }

    /// What was found wrong at opening, and did not hinder it.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}

/// An error if the run has ended, or never was.
pub(super) fn refuse_if_closed(connection: &Connection, run: &str) -> Result<(), JournalError> {
    let closed: Option<Option<i64>> = connection
        .prepare_cached("SELECT closed FROM run WHERE run = ?1")?
        .query_row([run], |row| row.get(0))
        .optional()?;
    match closed {
        None => Err(JournalError::NoSuchRun(run.to_owned())),
        Some(Some(_)) => Err(JournalError::Closed(run.to_owned())),
        Some(None) => Ok(()),
    }
}

fn insert_run(transaction: &Transaction<'_>, header: &Header) -> Result<(), JournalError> {
    let inserted = transaction.execute(
        "INSERT OR IGNORE INTO run (run, format, mode, roles, started) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![header.run, header.format, header.mode, json(&header.roles)?, header.started.0],
    )?;
    if inserted == 0 {
        return Err(JournalError::RunExists(header.run.clone()));
    }
    Ok(())
}

fn insert_record(
    transaction: &Transaction<'_>,
    run: &str,
    n: u64,
    at: Time,
    json: &str,
    hash: &Hash,
) -> Result<(), JournalError> {
    transaction
        .prepare_cached("INSERT INTO record (run, n, at, json, hash) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![run, n.cast_signed(), at.0.cast_signed(), json, hash])?;
    Ok(())
}

fn insert_seals(
    transaction: &Transaction<'_>,
    run: &str,
    key: Option<&DataKey>,
    seals: &[(SecretId, Vec<u8>)],
) -> Result<(), JournalError> {
    if let Some(key) = key.filter(|_| !seals.is_empty()) {
        insert_key(transaction, run, key)?;
    }
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO seal (run, id, sealed) VALUES (?1, ?2, ?3)")?;
    for (id, sealed) in seals {
        insert.execute(params![run, id.0.cast_signed(), sealed])?;
    }
    Ok(())
}

fn seal_all<'a>(
    key: &mut Option<DataKey>,
    seal: &Seal,
    run: &str,
    parts: impl Iterator<Item = (SecretId, &'a Parts)>,
) -> Result<Vec<(SecretId, Vec<u8>)>, JournalError> {
    let mut seals = Vec::new();
    for (id, parts) in parts {
        let key = match key {
            Some(key) => key,
            None => key.insert(DataKey::make(seal)?),
        };
        seals.push((id, sealed::seal(key, run, id, parts)?));
    }
    Ok(seals)
}

fn json(value: &impl Serialize) -> Result<String, JournalError> {
    Ok(serde_json::to_string(value)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::call::{Event, What};
    use crate::secret::Secret;

    fn header() -> Header {
        Header {
            run: "r1".to_owned(),
            format: FORMAT,
            engine: 1,
            mode: "contain".to_owned(),
            roles: Vec::new(),
            started: Wall(0),
            providers: BTreeMap::new(),
            plan: serde_json::Value::Null,
            details: serde_json::Value::Null,
            adopts: None,
        }
    }

    /// `max_page_count` makes SQLite answer as on a full disk.
    #[test]
    fn a_full_disk_stops_the_append_and_harms_nothing_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let mut journal = Journal::create(&state, &header(), &[]).unwrap();
        let event = Event { wall: Wall(0), what: What::Tick };
        let parts = Parts {
            public: BTreeMap::new(),
            // More than the pages that are left.
            secret: BTreeMap::from([("secret".to_owned(), Secret::new(vec![7; 100_000]))]),
        };
        let small = Entry { at: Time(1), event: &event, brought: None };
        let large =
            |id| [Entry { at: Time(id), event: &event, brought: Some((SecretId(id), &parts)) }];
        journal.append(&[small], &[]).unwrap();
        let pages = |count: u32| {
            let text = format!("PRAGMA max_page_count = {count}");
            state.database.lock().query_row(&text, [], |_| Ok(())).unwrap();
        };

        pages(1);
        let before = journal.head();
        let error = journal.append(&large(2), &[]).unwrap_err();
        assert_eq!(error.hint(), "free space in the state directory, then: rotate resume");
        assert_eq!(journal.head(), before);
        assert_eq!(Journal::open(&state, "r1").unwrap().2.len(), 1);
        assert!(journal.secrets().unwrap().is_empty());

        pages(1_000_000);
        journal.append(&large(3), &[]).unwrap();
        let (reopened, _, events) = Journal::open(&state, "r1").unwrap();
        assert_eq!(events.iter().map(|(at, _)| at.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(reopened.head(), journal.head());
    }

    #[test]
    fn a_journal_can_move_to_a_thread_of_its_own() {
        fn movable<T: Send>() {}
        fn shared<T: Send + Sync>() {}
        movable::<Journal>();
        shared::<State>();
    }
}
