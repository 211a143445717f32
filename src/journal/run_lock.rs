//! One process per run: a lock that dies with it, beside those of the roles.
//!
//! A run of what stdin held is of no role, and a verification holds none: without this, two
//! processes would drive one journal, and neither could go on writing it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::lock::{self, Holder, Refused};
use super::state::State;

/// A run is driven by this process until this is dropped, or the process ends in any way.
pub(crate) struct RunLock {
    /// None in memory: nobody else could see such a lock.
    held: Option<(File, PathBuf)>,
}

/// A run cannot be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunLockError {
    /// Another process drives it.
    #[error("run {run} is held by {}", known(.holder.as_deref()))]
    Held {
        /// The run.
        run: String,
        /// Who; none in the instant between locking and writing it down.
        holder: Option<Box<Holder>>,
    },
    /// The lock file cannot be used.
    #[error("run {run}: the lock {} cannot be used", .path.display())]
    Unusable {
        /// The run.
        run: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RunLockError {
    /// What to do, as an imperative.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Held { run, .. } => format!("follow it: rotate report {run}"),
            Self::Unusable { .. } => "name another directory: --state DIR".to_owned(),
        }
    }
}

impl State {
    /// Takes a run, if no process drives it. Never waits.
    ///
    /// # Errors
    /// [`RunLockError::Held`] says who drives it.
    pub(crate) fn lock_run(&self, run: &str, holder: &Holder) -> Result<RunLock, RunLockError> {
        let Some(path) = self.run_lock_path(run) else { return Ok(RunLock { held: None }) };
        let run = run.to_owned();
        loop {
            match lock::take(&path, holder) {
                // Let go of between opening and locking it: who comes next makes another file.
                Ok(file) if file.metadata().is_ok_and(|about| about.nlink() == 0) => {}
                Ok(file) => return Ok(RunLock { held: Some((file, path)) }),
                Err(Refused::Held(holder)) => return Err(RunLockError::Held { run, holder }),
                Err(Refused::Unusable(source)) => {
                    return Err(RunLockError::Unusable { run, path, source });
                }
            }
        }
    }

    /// Who drives a run at this moment; none where nobody does.
    pub(crate) fn driver(&self, run: &str) -> Option<Holder> {
        lock::holder_of(&self.run_lock_path(run)?)
    }

    /// Where the lock of a run is; none in memory. No role's is called so: its dots are escaped.
    fn run_lock_path(&self, run: &str) -> Option<PathBuf> {
        self.dir().map(|dir| dir.join("locks").join(format!("run.{}", lock::file_name(run))))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        if let Some((file, path)) = &self.held {
            // Runs are many, and each is locked once or twice. Gone before it is let go of, so
            // that whoever locks a file can tell whether it is the one of that name.
            let _ = fs::remove_file(path);
            lock::let_go(file);
        }
    }
}

fn known(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), Holder::process)
}
