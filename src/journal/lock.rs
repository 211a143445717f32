//! One run per role at a time: a lock that dies with its process.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::engine::call::Wall;

/// Who holds a role; stands in the lock file for people and for [`State::take_over`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// Its mode.
    pub mode: String,
    /// Its process.
    pub pid: u32,
    /// The host of that process.
    pub host: String,
    /// Since when.
    pub since: Wall,
}

impl Holder {
    /// This process, on this host.
    pub fn here(run: &str, mode: &str, since: Wall) -> Self {
        Self {
            run: run.to_owned(),
            mode: mode.to_owned(),
            pid: std::process::id(),
            host: host(),
            since,
        }
    }
}

impl Holder {
    /// Its process, for who knows the run.
    pub(crate) fn process(&self) -> String {
        let Self { pid, host, since, .. } = self;
        match jiff::Timestamp::from_millisecond(since.0) {
            Ok(since) => format!("process {pid} on {host}, since {since:.0}"),
            Err(_) => format!("process {pid} on {host}"),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} ({}), {}", self.run, self.mode, self.process())
    }
}

/// A role is ours until this is dropped, or the process ends in any way.
pub struct RoleLock {
    /// None in memory: nobody else could see such a lock.
    file: Option<File>,
    role: String,
}

/// A role cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("role {role} is held by {}", known(.holder.as_deref()))]
    Held {
        /// The role.
        role: String,
        /// Who; none in the instant between locking and writing it down.
        holder: Option<Box<Holder>>,
    },
    /// The lock file cannot be used.
    #[error("role {role}: the lock {} cannot be used", .path.display())]
    Unusable {
        /// The role.
        role: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// What to do, as an imperative.
    pub fn hint(&self) -> String {
        match self {
            Self::Held { holder: Some(holder), .. } => {
                format!("follow it: rotate report {}", holder.run)
            }
            Self::Held { holder: None, .. } => "list what is under way: rotate runs".to_owned(),
            Self::Unusable { .. } => "name another directory: --state DIR".to_owned(),
        }
    }
}

impl State {
    /// Takes a role, if nobody has it. Never waits.
    ///
    /// # Errors
    /// [`LockError::Held`] says who has it.
    pub fn lock(&self, role: &str, holder: &Holder) -> Result<RoleLock, LockError> {
        let Some(path) = self.lock_path(role) else {
            return Ok(RoleLock { file: None, role: role.to_owned() });
        };
        let role = role.to_owned();
        match take(&path, holder) {
            Ok(file) => Ok(RoleLock { file: Some(file), role }),
            Err(Refused::Held(holder)) => Err(LockError::Held { role, holder }),
            Err(Refused::Unusable(source)) => Err(LockError::Unusable { role, path, source }),
        }
    }

    /// Takes several roles, or none of them. In sorted order, so that two runs that share roles
    /// cannot each hold what the other one needs.
    ///
    /// # Errors
    /// [`LockError::Held`] names the first role that somebody has.
    pub fn lock_all(&self, roles: &[String], holder: &Holder) -> Result<Vec<RoleLock>, LockError> {
        let mut sorted: Vec<&String> = roles.iter().collect();
        sorted.sort();
        sorted.dedup();
        sorted.into_iter().map(|role| self.lock(role, holder)).collect()
    }

    /// Who holds a role at this moment; none where nobody does.
    pub(crate) fn holder(&self, role: &str) -> Option<Holder> {
        holder_of(&self.lock_path(role)?)
    }

    /// Where the lock of a role is; none in memory.
    pub(super) fn lock_path(&self, role: &str) -> Option<PathBuf> {
        self.dir().map(|dir| dir.join("locks").join(file_name(role)))
    }
}

impl RoleLock {
    /// The role.
    pub fn role(&self) -> &str {
        &self.role
    }
}

impl Drop for RoleLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of one name.
        if let Some(file) = &self.file {
            let _ = file.set_len(0);
            let_go(file);
        }
    }
}

/// A lock file that is not ours.
pub(super) enum Refused {
    /// Somebody has it; who, but for the instant between locking and writing it down.
    Held(Option<Box<Holder>>),
    /// It cannot be used.
    Unusable(io::Error),
}

/// Locks a file, and writes down who did.
pub(super) fn take(path: &Path, holder: &Holder) -> Result<File, Refused> {
    let mut file = open_lock_file(path).map_err(Refused::Unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(source)) => return Err(Refused::Unusable(source)),
        Err(TryLockError::WouldBlock) => {
            return Err(Refused::Held(read_holder(&mut file).map(Box::new)));
        }
    }
    // On a full disk the lock is ours all the same; others only cannot tell whose.
    let _ = write_holder(&mut file, holder);
    Ok(file)
}

pub(super) fn let_go(file: &File) {
    // Closing would do, but for a child process just forked, which shares the open file until it
    // becomes another program.
    let _ = file.unlock();
}

/// Who has locked a file; none where nobody has.
pub(super) fn holder_of(path: &Path) -> Option<Holder> {
    let mut file = File::open(path).ok()?;
    let holder = read_holder(&mut file)?;
    // A crash leaves its words behind, and not its lock. Shared, and gone at once: it keeps nobody
    // from the lock for longer than it takes to look.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Opens a lock file, making it where there is none.
pub(super) fn open_lock_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The name of this host, as locks are marked with it.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    // A holder has some 200 bytes; whatever is longer is none of ours.
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

/// Roles are named by people: what a file name cannot hold is escaped as in a URL.
pub(super) fn file_name(role: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    format!("{}.lock", percent_encoding::utf8_percent_encode(role, KEPT))
}

fn known(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another run".to_owned(), Holder::to_string)
}
