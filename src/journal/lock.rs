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

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, mode, pid, host, since } = self;
        write!(f, "run {run} ({mode}), process {pid} on {host}")?;
        match jiff::Timestamp::from_millisecond(since.0) {
            Ok(since) => write!(f, ", since {since:.0}"),
            Err(_) => Ok(()),
        }
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
        let unusable =
            |source| LockError::Unusable { role: role.to_owned(), path: path.clone(), source };
        let mut file = open_lock_file(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file).map(Box::new);
                return Err(LockError::Held { role: role.to_owned(), holder });
            }
        }
        // On a full disk the role is ours all the same; others only cannot tell whose.
        let _ = write_holder(&mut file, holder);
        Ok(RoleLock { file: Some(file), role: role.to_owned() })
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
        let mut file = File::open(self.lock_path(role)?).ok()?;
        let holder = read_holder(&mut file)?;
        // A crash leaves its words behind, and not its lock. Shared, and gone at once: it keeps
        // nobody from the role for longer than it takes to look.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
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
            // Closing would do, but for a child process just forked, which shares the open file
            // until it becomes another program.
            let _ = file.unlock();
        }
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
fn file_name(role: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    format!("{}.lock", percent_encoding::utf8_percent_encode(role, KEPT))
}

fn known(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another run".to_owned(), Holder::to_string)
}
