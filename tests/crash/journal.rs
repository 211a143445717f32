//! The journal of a host, as a disk sees it: a run is held in the middle of one write, exactly, and
//! ended there.
//!
//! The trap is a trigger in the journal's own file: whoever inserts that record counts through a
//! join that never ends, inside the transaction that was to make the record durable. The file
//! belongs to the test, so that the shipped program needs no switch for it.

use std::time::{Duration, Instant};

use rotate::journal::State;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use rustix::process::Pid;

use crate::bench::Host;
use crate::cell::Point;
use crate::gate::end;

/// Where in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The transaction that holds this record.
    Record(usize),
    /// The transaction that ends the run.
    Close,
}

/// Who holds the lock and works for so long meanwhile is counting: a commit waits for its disk.
const COUNTS: Duration = Duration::from_millis(150);

/// The same where nobody says how long a process has worked.
const HELD: Duration = Duration::from_secs(2);

/// Opens the file beside the run. Its log stays as the run left it.
pub(crate) fn open(host: &Host) -> Connection {
    let journal = Connection::open(host.path("state/journal.sqlite")).unwrap();
    journal.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    journal
}

/// Sets the trap, in a state directory that is made for it.
pub(crate) fn set_trap(host: &Host, at: Write) {
    drop(State::open(&host.path("state")).unwrap());
    let when = match at {
        Write::Record(n) => format!("BEFORE INSERT ON record WHEN NEW.n = {n}"),
        Write::Close => "BEFORE UPDATE OF closed ON run".to_owned(),
    };
    let rows = vec!["(1)"; 64].join(", ");
    // 64 to the tenth: longer than the machine lives.
    let all: Vec<String> = (0..10).map(|n| format!("hold AS h{n}")).collect();
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS hold (x); INSERT INTO hold VALUES {rows};
         CREATE TRIGGER trap {when} BEGIN SELECT count(*) FROM {}; END;",
        all.join(", ")
    );
    open(host).execute_batch(&sql).unwrap();
}

/// Ends the process once it hangs in the trap; false where `over` says that it ended by itself.
pub(crate) fn spring(host: &Host, pid: Pid, mut over: impl FnMut() -> bool) -> bool {
    let journal = open(host);
    journal.busy_timeout(Duration::ZERO).unwrap();
    let mut since = None;
    while !over() {
        match journal.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Ok(()) => since = None,
            Err(error) => {
                assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "{error}");
                let (begun, worked) = *since.get_or_insert_with(|| (Instant::now(), work(pid)));
                let counts = match (worked, work(pid)) {
                    (Some(before), Some(now)) => now.saturating_sub(before) > COUNTS,
                    _ => begun.elapsed() > HELD,
                };
                if counts {
                    end(pid);
                    return true;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// How long a process has worked: its 14th field, in ticks of which Linux shows 100 a second.
fn work(pid: Pid) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // Behind its name, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(11)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Takes the trap away, where there was one.
pub(crate) fn remove_trap_of(host: &Host, point: Point) {
    if !matches!(point, Point::Write(_)) {
        return;
    }
    let sql = "DROP TRIGGER IF EXISTS trap; DROP TABLE IF EXISTS hold";
    open(host).execute_batch(sql).unwrap();
}

/// What the journal holds of the one run in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// No run.
    Nothing,
    /// One that is open, with so many records.
    Open(usize),
    /// One that was closed.
    Closed(usize),
}

pub(crate) fn kept(host: &Host) -> Kept {
    if !host.path("state/journal.sqlite").exists() {
        return Kept::Nothing;
    }
    let journal = open(host);
    let select = "SELECT closed IS NOT NULL, (SELECT count(*) FROM record WHERE run = run.run)
                  FROM run ORDER BY rowid DESC LIMIT 1";
    let row: Result<Option<(bool, u32)>, _> =
        journal.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).optional();
    match row {
        Ok(Some((true, records))) => Kept::Closed(records as usize),
        Ok(Some((false, records))) => Kept::Open(records as usize),
        // Killed before there was a table.
        Ok(None) | Err(_) => Kept::Nothing,
    }
}
