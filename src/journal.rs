//! The journal: the only durable state of an installation, and of every run.
//!
//! *Write the event, then believe it.* One SQLite file in the state directory holds every run.
//! Each record carries the hash of the one before it; the secrets that an event brought are
//! sealed in the same transaction as the event. What was acknowledged survives any crash.
//!
//! A record's hash is SHA-256 over the previous hash (32 bytes, zeros before record 0), the run
//! time (8 bytes, big-endian milliseconds) and the record's JSON, so that `sqlite3` and a few
//! lines of any language can check a journal without this program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::call::{Event, SecretId, Time, Wall};
use crate::secret::Parts;

mod chain;
mod database;
mod inbox;
mod key;
mod lock;
mod record;
mod runs;
mod sealed;
mod state;
mod take_over;

pub use inbox::Message;
pub use lock::{Holder, LockError, RoleLock};
pub use record::{Journal, JournalError};
pub use runs::RunSummary;
pub use state::{State, StateError};
pub use take_over::TakeOver;

/// The number of the journal format that this release writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// Record 0 of a run: what it is, and all that a resume needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The run's id.
    pub run: String,
    /// The journal's format: [`FORMAT`].
    pub format: u32,
    /// The engine's own number: raised whenever a kept journal replays to other calls.
    pub engine: u32,
    /// `contain`, `revoke-only`, `restore`, `rehearse` or `verify`.
    pub mode: String,
    /// The roles it is about.
    pub roles: Vec<String>,
    /// When it began, for the report only.
    pub started: Wall,
    /// SHA-256, hexadecimal, of every provider file used, by provider id.
    pub providers: BTreeMap<String, String>,
    /// The plan.
    pub plan: serde_json::Value,
    /// What a resume needs beside the plan: case, session, path of the inventory.
    pub details: serde_json::Value,
    /// The run that this one adopts.
    pub adopts: Option<String>,
}

/// A secret that an earlier run sealed and a new run takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The run that sealed it.
    pub run: String,
    /// What it is called there.
    pub before: SecretId,
    /// What the new run calls it.
    pub now: SecretId,
}

/// What happened in a run, in order, each with its run time.
pub type Events = Vec<(Time, Event)>;

/// One event to be written, with the secret parts that it brought.
pub struct Entry<'a> {
    /// Run time.
    pub at: Time,
    /// What happened.
    pub event: &'a Event,
    /// The bytes, and the name the engine knows them by.
    pub brought: Option<(SecretId, &'a Parts)>,
}
