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
use crate::engine::capability::Capabilities;
use crate::engine::plan::{ENGINE, Plan};
use crate::secret::Parts;

mod chain;
mod data_key;
mod database;
mod escrow;
mod inbox;
mod key;
mod lock;
mod record;
mod reseal;
mod run_lock;
mod runs;
mod sealed;
mod state;
mod take_over;

pub(crate) use escrow::{EscrowError, Opening};
pub use inbox::Message;
pub use lock::{Holder, LockError, RoleLock};
pub use record::{Journal, JournalError};
pub(crate) use reseal::Resealed;
pub(crate) use run_lock::{RunLock, RunLockError};
pub use runs::RunSummary;
pub use state::{State, StateError};
pub(crate) use state::{add_recipients, name_recipients, run_id};
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

impl Header {
    /// The header of a plan that begins at `started`.
    ///
    /// # Errors
    /// [`JournalError::Encode`]: the plan holds what JSON cannot.
    pub fn of(plan: &Plan, started: Wall) -> Result<Self, JournalError> {
        let providers = plan.providers.iter();
        Ok(Self {
            run: plan.run.clone(),
            format: FORMAT,
            engine: ENGINE,
            mode: plan.mode.word().to_owned(),
            roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
            started,
            providers: providers.map(|one| (one.id.clone(), one.sha256.clone())).collect(),
            plan: serde_json::to_value(plan)?,
            details: serde_json::Value::Null,
            adopts: None,
        })
    }

    /// The plan, for a resume.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`]: it was written by another release.
    pub fn plan(&self) -> Result<Plan, JournalError> {
        serde_json::from_value(self.plan.clone())
            .map_err(|_| JournalError::Unreadable { run: self.run.clone(), record: 0 })
    }

    /// Whether the run can be resumed by this release and with these providers: the same events
    /// must make the same calls. A run that cannot is begun anew.
    pub fn is_resumable_with(&self, capabilities: &Capabilities) -> bool {
        let known = |id: &String| capabilities.providers.get(id);
        let same =
            |(id, sha256): (&String, &String)| known(id).is_some_and(|p| p.sha256 == *sha256);
        self.engine == ENGINE && self.providers.iter().all(same)
    }
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
