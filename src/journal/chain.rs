//! The chain: every record holds the hash of the one before it.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, Row};
use sha2::{Digest as _, Sha256};

use super::record::JournalError;
use super::{Events, FORMAT, Header};
use crate::engine::call::Time;

pub(super) type Hash = [u8; 32];

/// What stands before record 0.
pub(super) const NOTHING: Hash = [0; 32];

/// A run as it was read.
pub(super) struct Chain {
    pub(super) header: Header,
    pub(super) events: Events,
    pub(super) first: Hash,
    pub(super) head: Hash,
    /// The number of a damaged last record.
    pub(super) dropped: Option<u64>,
}

/// Reads every record of a run, each held against the one before it.
pub(super) fn read(connection: &Connection, run: &str) -> Result<Chain, JournalError> {
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
            // Damage is forgiven to the last record alone; a gap before it is more than damage.
            if n + 1 < rows.len() || stored.n != i64::try_from(n).ok() {
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
pub(super) fn ending(connection: &Connection, run: &str) -> Result<Option<Hash>, JournalError> {
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

/// The hash of a record.
pub(super) fn link(head: &Hash, at: Time, json: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(at.0.to_be_bytes());
    hash.update(json);
    hash.finalize().into()
}

/// A hash as people see it.
pub(super) fn text(hash: &Hash) -> String {
    let mut text = String::from("sha256:");
    for byte in hash {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
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
