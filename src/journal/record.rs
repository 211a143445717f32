//! The records of one run: a hash chain, written batch by batch.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::database::Database;
use super::state::State;
use super::{Entry, FORMAT, Header, Message, inbox, sealed};
use crate::engine::call::{Event, SecretId, Time, Wall};
use crate::seal::{Seal, SealError};
use crate::secret::Parts;

type Hash = [u8; 32];

/// What stands before record 0.
const NOTHING: Hash = [0; 32];

/// The journal of one run, open for writing.
///
/// Every call blocks on the disk. Two handles of one run cannot both write: the second one's
/// record has a number that is taken, and its append fails.
pub struct Journal {
    database: Database,
    seal: Arc<Seal>,
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
    #[error("run {run}: the sealed secret {id} does not open with this installation's key")]
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
                "open it with the key that was in use then, or with a recipient's"
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
        let seals = seal_all(state.seal(), &run, adopted.iter().copied())?;
        state.database.write(|transaction| {
            insert_run(transaction, header)?;
            insert_record(transaction, &run, 0, Time(0), &json, &first)?;
            insert_seals(transaction, &run, &seals)
        })?;
        Ok(Self {
            database: state.database.clone(),
            seal: Arc::clone(state.seal()),
            run,
            first,
            head: first,
            next: 1,
            heard: Vec::new(),
            notice: None,
        })
    }

    /// Reads a run and checks its chain. A last record that was damaged is left out, which
    /// [`Journal::notice`] says; the next append takes its place.
    ///
    /// # Errors
    /// [`JournalError::NoSuchRun`], [`JournalError::Format`], [`JournalError::Broken`],
    /// [`JournalError::Unreadable`], and what the disk brings. Nothing was changed.
    pub fn open(
        state: &State,
        run: &str,
    ) -> Result<(Self, Header, Vec<(Time, Event)>), JournalError> {
        let connection = state.database.lock();
        let ended = ending(&connection, run)?;
        let chain = read_chain(&connection, run)?;
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
        let seals = seal_all(&self.seal, run, batch.iter().filter_map(|entry| entry.brought))?;
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
            insert_seals(transaction, run, &seals)?;
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
        let mut secrets = Vec::new();
        while let Some(row) = rows.next()? {
            let id = SecretId(row.get::<_, i64>(0)?.cast_unsigned());
            let sealed = row.get_ref(1)?.as_bytes().unwrap_or_default();
            secrets.push((id, sealed::open(&self.seal, &self.run, id, sealed)?));
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
        text(&self.head)
    }

    /// The hash of record 0, the header and plan.
    pub fn first(&self) -> String {
        text(&self.first)
    }

    /// What was found wrong at opening, and did not hinder it.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}

struct Chain {
    header: Header,
    events: Vec<(Time, Event)>,
    first: Hash,
    head: Hash,
    /// The number of a damaged last record.
    dropped: Option<u64>,
}

/// One row as it stands, each column perhaps damaged.
struct Stored {
    n: Option<i64>,
    at: Option<i64>,
    json: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let bytes = |column| -> rusqlite::Result<Vec<u8>> {
            Ok(row.get_ref(column)?.as_bytes().unwrap_or_default().to_vec())
        };
        let number = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_i64().ok());
        Ok(Self { n: number(0)?, at: number(1)?, json: bytes(2)?, hash: bytes(3)? })
    }

    /// Its time and hash, if it follows from the record before it.
    fn follows(&self, n: usize, head: &Hash) -> Option<(Time, Hash)> {
        let at = Time(self.at?.cast_unsigned());
        let hash = link(head, at, &self.json);
        (self.n == i64::try_from(n).ok() && self.hash == hash).then_some((at, hash))
    }
}

fn read_chain(connection: &Connection, run: &str) -> Result<Chain, JournalError> {
    let mut select = connection
        .prepare_cached("SELECT n, at, json, hash FROM record WHERE run = ?1 ORDER BY n")?;
    let rows: Vec<Stored> =
        select.query_map([run], Stored::read)?.collect::<rusqlite::Result<_>>()?;
    let broken =
        |record: usize| JournalError::Broken { run: run.to_owned(), record: record as u64 };
    let unreadable =
        |record: usize| JournalError::Unreadable { run: run.to_owned(), record: record as u64 };

    let zero = rows.first().ok_or_else(|| broken(0))?;
    let (_, first) = zero.follows(0, &NOTHING).ok_or_else(|| broken(0))?;
    let header: Header = serde_json::from_slice(&zero.json).map_err(|_| unreadable(0))?;
    if header.run != run {
        return Err(broken(0));
    }
    let mut chain = Chain { header, events: Vec::new(), first, head: first, dropped: None };
    for (n, stored) in rows.iter().enumerate().skip(1) {
        let Some((at, hash)) = stored.follows(n, &chain.head) else {
            if n + 1 < rows.len() {
                return Err(broken(n));
            }
            chain.dropped = Some(n as u64);
            break;
        };
        let event = serde_json::from_slice(&stored.json).map_err(|_| unreadable(n))?;
        chain.events.push((at, event));
        chain.head = hash;
    }
    Ok(chain)
}

/// The head at closing, if the run is closed; an error if it cannot be read by this release.
fn ending(connection: &Connection, run: &str) -> Result<Option<Hash>, JournalError> {
    let (found, head): (u32, Option<Hash>) = connection
        .query_row("SELECT format, head FROM run WHERE run = ?1", [run], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?
        .ok_or_else(|| JournalError::NoSuchRun(run.to_owned()))?;
    if found != FORMAT {
        return Err(JournalError::Format { run: run.to_owned(), found, known: FORMAT });
    }
    Ok(head)
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
    seals: &[(SecretId, Vec<u8>)],
) -> Result<(), JournalError> {
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO seal (run, id, sealed) VALUES (?1, ?2, ?3)")?;
    for (id, sealed) in seals {
        insert.execute(params![run, id.0.cast_signed(), sealed])?;
    }
    Ok(())
}

fn seal_all<'a>(
    seal: &Seal,
    run: &str,
    parts: impl Iterator<Item = (SecretId, &'a Parts)>,
) -> Result<Vec<(SecretId, Vec<u8>)>, JournalError> {
    parts.map(|(id, parts)| Ok((id, sealed::seal(seal, run, id, parts)?))).collect()
}

fn link(head: &Hash, at: Time, json: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(at.0.to_be_bytes());
    hash.update(json);
    hash.finalize().into()
}

fn text(hash: &Hash) -> String {
    let mut text = String::from("sha256:");
    for byte in hash {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn json(value: &impl Serialize) -> Result<String, JournalError> {
    Ok(serde_json::to_string(value)?)
}
