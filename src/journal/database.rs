//! The SQLite file: how it is opened, and what is in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::record::JournalError;
use super::state::StateError;

/// How long a writer waits for another process. A commit takes milliseconds; whoever blocks for
/// two seconds must not delay a revocation any longer.
const BUSY: Duration = Duration::from_secs(2);

/// `ROTA` in ASCII: marks the file as ours.
const APPLICATION: i32 = 0x524f_5441;

/// Raised with every change of [`SCHEMA`].
const SCHEMA_NUMBER: i32 = 1;

const SCHEMA: &str = "
CREATE TABLE run (
    run TEXT PRIMARY KEY,
    format INTEGER NOT NULL,
    mode TEXT NOT NULL,
    roles TEXT NOT NULL,
    started INTEGER NOT NULL,
    closed INTEGER,
    exit_code INTEGER,
    report TEXT,
    head BLOB
) STRICT;
CREATE TABLE record (
    run TEXT NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    json TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE seal (
    run TEXT NOT NULL,
    id INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (run, id)
) STRICT;
CREATE TABLE inbox (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE TABLE contained (
    role TEXT PRIMARY KEY,
    since TEXT,
    because TEXT,
    run TEXT
) STRICT;
";

/// Came later, and change nothing of the above: a journal without them is as good. `installation`
/// holds the public half of the key that opened every seal when it was last looked at.
const ADDED: &str = "
CREATE TABLE IF NOT EXISTS opening (
    n INTEGER PRIMARY KEY,
    json TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS installation (
    n INTEGER PRIMARY KEY CHECK (n = 1),
    key TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS data_key (
    run TEXT NOT NULL,
    id BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (run, id)
) STRICT;
";

/// One connection, shared by everything that a process does with its state.
#[derive(Clone)]
pub(super) struct Database {
    connection: Arc<Mutex<Connection>>,
    commits: Arc<AtomicU64>,
}

impl Database {
    /// Opens the file, making it where there is none. The caller holds the set-up lock: two
    /// processes must not switch a new file to WAL at once.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        // SQLite gives `-wal` and `-shm` the mode of the file itself, so it has to exist first.
        create_private(path)
            .map_err(|source| StateError::Unusable { path: path.to_owned(), source })?;
        let damaged = |source| StateError::Database { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(damaged)?;
        connection.busy_timeout(BUSY).map_err(damaged)?;
        // Before anything is changed: a file of another release or program stays as it is.
        let empty = recognise(&connection, path)?;
        prepare(&connection).map_err(damaged)?;
        if empty {
            create_schema(&mut connection).map_err(damaged)?;
        }
        connection.execute_batch(ADDED).map_err(damaged)?;
        Ok(Self::of(connection))
    }

    /// A database that ends with the process.
    pub(super) fn in_memory() -> Result<Self, StateError> {
        let failed = |source| StateError::Database { path: ":memory:".into(), source };
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        create_schema(&mut connection).map_err(failed)?;
        connection.execute_batch(ADDED).map_err(failed)?;
        Ok(Self::of(connection))
    }

    fn of(connection: Connection) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), commits: Arc::default() }
    }

    /// How many transactions were made durable through it.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The connection. A panic of another thread in the middle of a transaction has rolled it
    /// back, so a poisoned lock is as good as any.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of `change`, durably, or nothing.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction)?;
        transaction.commit()?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(result)
    }
}

/// Whether the file is new; an error where it is neither new nor of this schema.
fn recognise(connection: &Connection, path: &Path) -> Result<bool, StateError> {
    let damaged = |source| StateError::Database { path: path.to_owned(), source };
    let number = |name: &str| -> Result<i32, StateError> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(damaged)
    };
    let (schema, application) = (number("user_version")?, number("application_id")?);
    match (application, schema) {
        (APPLICATION, SCHEMA_NUMBER) => Ok(false),
        (APPLICATION, found) => Err(StateError::Schema { found, known: SCHEMA_NUMBER }),
        // Tables, not pages: a crash can leave the switch to WAL without the schema.
        (0, 0) if tables(connection).map_err(damaged)? == 0 => Ok(true),
        _ => Err(StateError::NotAJournal { path: path.to_owned() }),
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Otherwise SQLite parses a cached statement again for every new value that is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is forgotten is overwritten, not only unlinked.
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")
}

fn create_schema(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", SCHEMA_NUMBER)?;
    transaction.commit()
}

/// Makes the file, empty and 0600, where there is none; refuses one that others may open.
fn create_private(path: &Path) -> io::Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "open to others"));
    }
    Ok(())
}

/// Makes a directory, 0700, and what is missing above it.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit is on the disk before it is acknowledged, and what is deleted is overwritten.
    #[test]
    fn a_connection_is_durable_and_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.sqlite");
        for _ in ["made", "opened again"] {
            let database = Database::open(&path).unwrap();
            let connection = database.lock();
            let pragma = |name: &str| -> String {
                let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
                format!("{:?}", connection.pragma_query_value(None, name, value).unwrap())
            };
            assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
            assert_eq!(pragma("synchronous"), "Integer(2)");
            assert_eq!(pragma("secure_delete"), "Integer(1)");
            assert_eq!(pragma("busy_timeout"), "Integer(2000)");
        }
    }

    /// With what the planner could guess from a value, each new value would cost a parse.
    #[test]
    fn a_cached_statement_is_parsed_once() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("journal.sqlite")).unwrap();
        let connection = database.lock();
        let ask = "SELECT n, message FROM inbox WHERE run = ?1 AND n > ?2 ORDER BY n";
        for n in 0..3 {
            let mut select = connection.prepare_cached(ask).unwrap();
            let found: Vec<i64> = select
                .query_map(rusqlite::params!["r1", n], |row| row.get(0))
                .and_then(Iterator::collect)
                .unwrap();
            assert!(found.is_empty());
            assert_eq!(select.get_status(rusqlite::StatementStatus::RePrepare), 0);
        }
    }

    /// A process died after the switch to WAL and before the schema was there.
    #[test]
    fn a_set_up_that_was_cut_short_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.sqlite");
        create_private(&path).unwrap();
        prepare(&Connection::open(&path).unwrap()).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
        let database = Database::open(&path).unwrap();
        let runs = "SELECT count(*) FROM run";
        let count: i64 = database.lock().query_row(runs, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0);
    }
}
