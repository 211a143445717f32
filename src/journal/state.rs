//! The state directory: keys, journal, locks, evidence, marks.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::distr::SampleString as _;

use super::database::{Database, create_private_dir};
use super::key;
use crate::engine::plan::Options;
use crate::seal::{BadRecipient, Keys, Recipient, Seal, SealError};
use crate::secret::{FingerprintKey, Parts, Secret};

/// How long a process waits for another one that is setting up the same directory, which takes
/// milliseconds. As long as a busy journal may take: never longer than a responder would wait.
const SET_UP: Duration = Duration::from_secs(2);

/// The durable state of one installation.
pub struct State {
    dir: Option<PathBuf>,
    pub(super) seal: Arc<Seal>,
    fingerprint: Secret,
    pub(super) database: Database,
    /// How many seals were found at opening that the installation key does not open.
    pub(super) closed: usize,
}

/// The state directory cannot be used. A contain goes on with [`State::in_memory`].
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("no state directory: neither XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// It cannot be made, read or written.
    #[error("state: {} cannot be used", .path.display())]
    Unusable {
        /// What cannot be used.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may write it, or own it.
    #[error("state: {} can be changed by others", .path.display())]
    Writable {
        /// The directory.
        path: PathBuf,
    },
    /// A key that others may read.
    #[error("state: {} can be opened by others", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// SQLite's WAL and file locks do not hold over a network.
    #[error("state: {} is on a network file system ({kind})", .path.display())]
    Network {
        /// The directory.
        path: PathBuf,
        /// Which one.
        kind: &'static str,
    },
    /// A key file that holds no key.
    #[error("state: {} holds no key", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// A line of the file `recipients` names no recipient.
    #[error("state: line {line} of {} is {why}", .path.display())]
    Recipient {
        /// The file.
        path: PathBuf,
        /// Its line, from one.
        line: usize,
        /// What it is instead.
        why: BadRecipient,
    },
    /// A key or a recipient is not one.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The operating system gives no random bytes.
    #[error("state: the operating system gives no random bytes")]
    NoRandomness,
    /// Another process has been setting up the directory for too long.
    #[error("state: {} is being set up by another process", .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The journal was written by another release.
    #[error("state: journal of format {found}, this release reads format {known}")]
    Schema {
        /// Its number.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The file is something else.
    #[error("state: {} is not a journal of rotate", .path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// SQLite cannot open it.
    #[error("state: journal {} cannot be opened", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

impl StateError {
    /// What to do, as an imperative.
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome => "set HOME, or name a directory: --state DIR".to_owned(),
            Self::Writable { path } => format!(
                "take it back: chown \"$(id -un)\" {0} && chmod 700 {0}, or name another: \
                 --state DIR",
                path.display()
            ),
            Self::OpenToOthers { path } => {
                format!("close it: chmod 600 {}, and treat it as read", path.display())
            }
            Self::Network { .. } => "name a directory on a local disk: --state DIR".to_owned(),
            Self::BadKey { path } => {
                format!("restore {} from a backup, or name another: --state DIR", path.display())
            }
            Self::Recipient { why, .. } | Self::Seal(SealError::BadRecipient(_, why)) => {
                why.hint().to_owned()
            }
            Self::Seal(_) => "restore `key` in the state directory from a backup; where there is \
                              none, move it away, then: rotate escrow reseal --identity FILE"
                .to_owned(),
            Self::Schema { .. } => {
                "use the release that wrote it, or name another: --state DIR".to_owned()
            }
            Self::Busy { .. } => "try again, or name another: --state DIR".to_owned(),
            Self::Unusable { .. }
            | Self::NoRandomness
            | Self::NotAJournal { .. }
            | Self::Database { .. } => "name another directory: --state DIR".to_owned(),
        }
    }
}

impl State {
    /// `$XDG_STATE_HOME/rotate`, or `~/.local/state/rotate`.
    ///
    /// # Errors
    /// [`StateError::NoHome`].
    pub fn default_dir() -> Result<PathBuf, StateError> {
        // The XDG specification: a relative path is to be ignored.
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("rotate"))
            .ok_or(StateError::NoHome)
    }

    /// Opens the directory, making it (0700), its keys and its journal where they are missing.
    ///
    /// # Errors
    /// [`StateError`]: it cannot be written, others may change it, it is on a network file
    /// system, or its journal is another release's, which is left as it is.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let unusable = |source| StateError::Unusable { path: dir.to_owned(), source };
        create_private_dir(dir).map_err(unusable)?;
        refuse_if_writable(dir)?;
        refuse_if_remote(dir)?;
        for name in ["locks", "evidence"] {
            create_private_dir(&dir.join(name)).map_err(unusable)?;
        }
        let _set_up = set_up_lock(dir)?;
        remove_unfinished(dir).map_err(unusable)?;
        let database = Database::open(&dir.join("journal.sqlite"))?;
        let key = key::read_or_make(dir, "key", || Ok(Seal::make_key()))?;
        let fingerprint = key::read_or_make(dir, "fingerprint.key", key::random)?;
        // Without this, a crash of the machine could take the new names with it.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(unusable)?;
        let seal = Arc::new(Seal::new(&key, &recipients(dir)?)?);
        let mut state = Self { dir: Some(dir.to_owned()), seal, fingerprint, database, closed: 0 };
        // What cannot be read here is told by whoever needs it: no contain waits for this.
        state.closed = state.recognise_key().unwrap_or_default();
        Ok(state)
    }

    /// Keys and journal in memory alone: a contain revokes even where nothing can be written.
    ///
    /// # Errors
    /// [`StateError::NoRandomness`], [`StateError::Database`]: not even memory is left.
    pub fn in_memory() -> Result<Self, StateError> {
        Ok(Self {
            dir: None,
            seal: Arc::new(Seal::new(&Seal::make_key(), &[])?),
            fingerprint: key::random()?,
            database: Database::in_memory()?,
            closed: 0,
        })
    }

    /// How many writes this process has made durable here since it was opened. Each is one fsync
    /// of the journal's log; every thousand pages of the log, two more take it into the file.
    pub fn commits(&self) -> u64 {
        self.database.commits()
    }

    /// The rows themselves, for `fuzz` to damage.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn rows(&self) -> std::sync::MutexGuard<'_, rusqlite::Connection> {
        self.database.lock()
    }

    /// Whether anything here outlives the process.
    pub fn is_durable(&self) -> bool {
        self.dir.is_some()
    }

    /// The directory; none in memory.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Where sealed evidence goes (0700); none in memory.
    pub fn evidence_dir(&self) -> Option<PathBuf> {
        self.dir().map(|dir| dir.join("evidence"))
    }

    /// Seals to this installation and the recipients in the file `recipients`.
    pub fn seal(&self) -> &Arc<Seal> {
        &self.seal
    }

    /// The key that fingerprints are made with.
    pub fn fingerprints(&self) -> FingerprintKey {
        FingerprintKey::new(self.fingerprint.duplicate())
    }

    /// All that a [`crate::world::LiveWorld`] needs of this installation.
    pub fn keys(&self) -> Keys {
        Keys {
            seal: Arc::clone(&self.seal),
            fingerprints: self.fingerprints(),
            evidence: self.evidence_dir(),
        }
    }

    /// Options of a new run of these roles: a name of its own, this installation's, and which of
    /// the roles stay contained. All else is as a responder leaves it who says nothing.
    pub fn options(&self, roles: &[String]) -> Options {
        let marked = |role: &&String| self.contained(role).ok().flatten().is_some();
        Options {
            run: run_id(),
            installation: self.installation(),
            contained: roles.iter().filter(marked).cloned().collect(),
            ..Options::default()
        }
    }

    /// Six hexadecimal digits that tell this installation's labels from another's.
    pub fn installation(&self) -> String {
        let mut id = self.fingerprints().of(&Parts::default());
        id.truncate(6);
        id
    }
}

/// `20261122-093000-k3f9`: sorts by time, and four letters tell two responders apart who start in
/// the same second.
pub(crate) fn run_id() -> String {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let tail = rand::distr::Alphanumeric.sample_string(&mut rand::rng(), 4).to_lowercase();
    format!("{now}-{tail}")
}

/// Whoever can write the directory can replace the keys in it.
fn refuse_if_writable(dir: &Path) -> Result<(), StateError> {
    let about = fs::metadata(dir)
        .map_err(|source| StateError::Unusable { path: dir.to_owned(), source })?;
    let trusted = [0, rustix::process::geteuid().as_raw()];
    if about.mode() & 0o022 != 0 || !trusted.contains(&about.uid()) {
        return Err(StateError::Writable { path: dir.to_owned() });
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn refuse_if_remote(dir: &Path) -> Result<(), StateError> {
    // From statfs(2) and linux/magic.h. FUSE is left out: most of it is local.
    const REMOTE: [(u32, &str); 8] = [
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x5346_414f, "afs"),
        (0x00c3_6400, "ceph"),
        (0x0bd0_0bd0, "lustre"),
        (0x0102_1997, "9p"),
    ];
    let about = rustix::fs::statfs(dir)
        .map_err(|error| StateError::Unusable { path: dir.to_owned(), source: error.into() })?;
    // The magic is 32 bits wide, whatever the width and sign of the field.
    let magic = about.f_type as u32;
    match REMOTE.iter().find(|(number, _)| *number == magic) {
        Some((_, kind)) => Err(StateError::Network { path: dir.to_owned(), kind }),
        None => Ok(()),
    }
}

/// Elsewhere there is no magic number to go by: the documentation asks for a local disk.
#[cfg(not(target_os = "linux"))]
fn refuse_if_remote(_dir: &Path) -> Result<(), StateError> {
    Ok(())
}

/// Held while keys and journal are made, so that processes starting at once agree on them.
fn set_up_lock(dir: &Path) -> Result<File, StateError> {
    let path = dir.join("locks").join(".set-up");
    let unusable = |source| StateError::Unusable { path: path.clone(), source };
    let file = super::lock::open_lock_file(&path).map_err(unusable)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
            Err(TryLockError::WouldBlock) if begun.elapsed() > SET_UP => {
                return Err(StateError::Busy { path: dir.to_owned() });
            }
            // A set-up takes a few fsyncs of some milliseconds each.
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Keys that a crash left half made. The set-up lock is held: none of them is being written.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(key::UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A recipient as somebody wrote it, and its key alone.
pub(crate) type Named<'a> = (&'a str, String);

/// Reads recipients, for [`add_recipients`]. Nothing is made or written.
///
/// # Errors
/// [`StateError::Seal`] for one that is none.
pub(crate) fn name_recipients(texts: &[String]) -> Result<Vec<Named<'_>>, StateError> {
    let mut named = Vec::with_capacity(texts.len());
    for (n, text) in texts.iter().enumerate() {
        let bad = |why| SealError::BadRecipient(n + 1, why);
        named.push((text.trim(), text.parse::<Recipient>().map_err(bad)?.to_string()));
    }
    Ok(named)
}

/// Adds recipients to the file of that name in the directory, which is made where it is missing.
/// Those that are there stay.
///
/// # Errors
/// What the disk brings.
pub(crate) fn add_recipients(dir: &Path, new: Vec<Named<'_>>) -> Result<State, StateError> {
    let state = State::open(dir)?;
    let path = dir.join("recipients");
    let unusable = |source| StateError::Unusable { path: path.clone(), source };
    let mut text = recipients_file(&path)?;
    let mut known: Vec<String> = read_recipients(&path, &text)?
        .iter()
        .filter_map(|one| Some(one.parse::<Recipient>().ok()?.to_string()))
        .collect();
    let before = known.len();
    for (written, key) in new {
        if known.contains(&key) {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // With its comment, which says whose it is.
        text.push_str(written);
        text.push('\n');
        known.push(key);
    }
    if known.len() == before {
        return Ok(state);
    }
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(unusable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(unusable)?;
    file.persist(&path).map_err(|error| unusable(error.error))?;
    State::open(dir)
}

/// The file `recipients`: one `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...` a line, `#` begins a
/// comment.
fn recipients(dir: &Path) -> Result<Vec<String>, StateError> {
    let path = dir.join("recipients");
    read_recipients(&path, &recipients_file(&path)?)
}

fn recipients_file(path: &Path) -> Result<String, StateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(StateError::Unusable { path: path.to_owned(), source }),
    }
}

fn read_recipients(path: &Path, text: &str) -> Result<Vec<String>, StateError> {
    let mut all = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let one = line.split('#').next().unwrap_or_default().trim();
        if one.is_empty() {
            continue;
        }
        if let Err(why) = one.parse::<Recipient>() {
            return Err(StateError::Recipient { path: path.to_owned(), line: n + 1, why });
        }
        all.push(one.to_owned());
    }
    Ok(all)
}
