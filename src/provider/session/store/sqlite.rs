//! Sessions in an SQLite file of this machine.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::percent_decode_str;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};
use url::Url;

use super::table::{Dialect, Owner, Table};
use super::{MOST, Name, Sessions, Store};
use crate::engine::call::{Fault, Reason, Values, Why};
use crate::provider::session::wire::Failure;

/// How long another writer is waited for: the site writes a session in milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// An SQLite file: `sqlite://localhost/absolute/path`.
pub(super) struct Sqlite {
    path: PathBuf,
    table: Table,
}

impl Sqlite {
    /// Names the file; it is opened for each statement.
    pub(super) fn open(base: &Url, values: &Values) -> Result<Self, Failure> {
        // Another machine's file would be read as one of ours.
        if !matches!(base.host_str(), Some("localhost" | "127.0.0.1")) {
            return Err(Reason::Unsupported.into());
        }
        let path = percent_decode_str(base.path()).decode_utf8();
        let path = path.map_err(|_| Reason::Unsupported)?;
        let table = Table::of(values, Dialect::Sqlite)?;
        Ok(Self { path: PathBuf::from(&*path), table })
    }

    /// Does the work where waiting for the disk holds up nobody.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY)?;
            work(&connection)
        });
        match done.await {
            Ok(done) => done.map_err(|error| failure(&error)),
            Err(_) => Err(Failure::Lost(Reason::Unexpected.into())),
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn remove(&mut self, names: &[Name]) -> Result<u64, Failure> {
        let (removal, names) = (self.table.removal(), names.to_vec());
        self.work(move |connection| {
            let mut statement = connection.prepare(&removal)?;
            let mut removed = 0;
            for name in &names {
                removed += statement.execute([name.as_str()])?;
            }
            Ok(u64::try_from(removed).unwrap_or(u64::MAX))
        })
        .await
    }

    async fn of_user(&mut self, user: &str) -> Result<Sessions, Failure> {
        let ((listing, owner), user) = (self.table.listing()?, user.to_owned());
        self.work(move |connection| {
            let mut statement = connection.prepare(&listing)?;
            let mut rows = match owner {
                Owner::Column => statement.query([&user])?,
                Owner::Django => statement.query([])?,
            };
            let (mut names, mut read) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                read += 1;
                let name = Name::new(row.get(0)?);
                names.extend(owner.is(&user, || row.get(1))?.then_some(name));
            }
            Ok(Sessions { names, complete: read <= MOST })
        })
        .await
    }
}

/// SQLite's own name of an error; its text quotes the statement.
fn failure(error: &Error) -> Failure {
    let Error::SqliteFailure(failure, _) = error else {
        return Failure::Refused(Reason::Unexpected.into());
    };
    let word = |word: &str, reason| Why { reason, status: None, word: Some(word.to_owned()) };
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Fault::Throttled(None).into(),
        ErrorCode::CannotOpen => Failure::Refused(word("cannot-open", Reason::Unreadable)),
        ErrorCode::NotADatabase => Failure::Refused(word("not-a-database", Reason::Unreadable)),
        ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            Failure::Refused(word("read-only", Reason::Unwritable))
        }
        _ => Failure::Refused(Reason::Refused.into()),
    }
}
