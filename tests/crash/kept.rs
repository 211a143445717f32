//! What a killed run left on the disk, damaged, or read by another release: every cut of its last
//! record and of its log, and headers of other numbers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rotate::journal::{Journal, State};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::cell::{CONTAIN, Point, end_of, killed, taken_up, undisturbed};
use crate::gate::{Crossing, Side};
use crate::journal::{Kept, Write, kept, open};
use crate::site::{Role, Site, redis, verdaccio};

type Start = fn(&Arc<Crossing>) -> Option<Box<dyn Site>>;

fn bench(start: Start) -> Option<(Box<dyn Site>, Arc<Crossing>)> {
    let crossing = Arc::default();
    Some((start(&crossing)?, crossing))
}

/// A role whose run died in that write.
fn cut_short(site: &dyn Site, crossing: &Crossing, cell: usize, record: usize) -> Role {
    cut_short_at(site, crossing, cell, Point::Write(Write::Record(record)))
}

fn cut_short_at(site: &dyn Site, crossing: &Crossing, cell: usize, point: Point) -> Role {
    let role = site.role(cell);
    assert!(killed(&role, crossing, &CONTAIN, point).is_none(), "it was over before");
    crossing.begin(None);
    role
}

fn last(journal: &Connection) -> (String, i64) {
    let select = "SELECT json, n FROM record ORDER BY n DESC LIMIT 1";
    journal.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn run_of(journal: &Connection) -> String {
    journal.query_row("SELECT run FROM run", [], |row| row.get(0)).unwrap()
}

/// What is read of it: the records after the header, and whether one was left out.
fn read(state: &Path, run: &str) -> (usize, bool) {
    let state = State::open(state).unwrap();
    let (journal, _, events) = Journal::open(&state, run).unwrap();
    (events.len(), journal.notice().is_some())
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Its text cut at every byte, and its hash: it is left out, the one before it stands.
#[test]
fn a_last_record_cut_at_every_byte_is_left_out() {
    let Some((site, crossing)) = bench(redis) else { return };
    let role = cut_short(site.as_ref(), &crossing, 0, 14);
    let (state, scratch) = (role.host.path("state"), role.host.path("scratch"));
    let (json, n) = last(&open(&role.host));
    let run = run_of(&open(&role.host));
    let whole = read(&state, &run);
    assert_eq!(whole, (usize::try_from(n).unwrap(), false));
    copy(&state, &scratch);
    let journal = Connection::open(scratch.join("journal.sqlite")).unwrap();
    let set = |column: &str, value: &dyn rusqlite::ToSql| {
        let sql = format!("UPDATE record SET {column} = ?1 WHERE n = ?2");
        assert_eq!(journal.execute(&sql, rusqlite::params![value, n]).unwrap(), 1);
    };
    let hash: Vec<u8> =
        journal.query_row("SELECT hash FROM record WHERE n = ?1", [n], |row| row.get(0)).unwrap();
    for length in 0..json.len() {
        set("json", &&json[..length]);
        assert_eq!(read(&scratch, &run), (whole.0 - 1, true), "{length} bytes of its text");
    }
    set("json", &json);
    for length in 0..hash.len() {
        set("hash", &&hash[..length]);
        assert_eq!(read(&scratch, &run), (whole.0 - 1, true), "{length} bytes of its hash");
    }
    set("hash", &hash);
    assert_eq!(read(&scratch, &run), whole, "put together again");
}

/// SQLite's log cut within its last frame, a page and its head: the transaction it belongs to is
/// not there, and all before it is. Every byte with `ROTATE_CRASH=all`.
#[test]
fn a_log_cut_in_its_last_frame_holds_all_but_the_last_write() {
    const FRAME: usize = 24 + 4096;
    let Some((site, crossing)) = bench(redis) else { return };
    // Without a trap, whose removal would be the last write.
    let point = Point::Turn(12, Side::Before);
    let role = cut_short_at(site.as_ref(), &crossing, 0, point);
    let (state, scratch) = (role.host.path("state"), role.host.path("scratch"));
    // Read without opening it, which would take the log into the file.
    let log = fs::read(state.join("journal.sqlite-wal")).unwrap();
    assert!(log.len() > 32 + FRAME && (log.len() - 32) % FRAME == 0, "{} bytes", log.len());
    copy(&state, &scratch);
    let run = run_of(&Connection::open(scratch.join("journal.sqlite")).unwrap());
    copy(&state, &scratch);
    let whole = read(&scratch, &run);
    let step = if std::env::var_os("ROTATE_CRASH").is_some() { 1 } else { 103 };
    let cuts = (log.len() - FRAME..log.len()).step_by(step).chain([log.len() - 1]);
    for length in cuts {
        copy(&state, &scratch);
        fs::write(scratch.join("journal.sqlite-wal"), &log[..length]).unwrap();
        let found = read(&scratch, &run);
        assert!(found.0 <= whole.0 && !found.1, "{length}: {found:?} of {whole:?}");
        assert!(found.0 + 4 >= whole.0, "{length}: more than one write is gone: {found:?}");
    }
}

/// The binary takes such a run up. The record was acknowledged, and what it said is gone: what was
/// made because of it is ended where it has our label, and named where it has none.
#[test]
fn a_run_whose_last_record_was_cut_is_taken_up() {
    for start in [redis as Start, verdaccio] {
        let Some((site, crossing)) = bench(start) else { return };
        let it = undisturbed(site.as_ref(), &crossing);
        for (cell, record) in [4, it.records / 2, it.records - 2].into_iter().enumerate() {
            let role = cut_short(site.as_ref(), &crossing, cell + 1, record);
            let journal = open(&role.host);
            let (json, n) = last(&journal);
            if n == 0 {
                continue;
            }
            let cut = &json[..json.len() / 2];
            journal.execute("UPDATE record SET json = ?1 WHERE n = ?2", (cut, n)).unwrap();
            drop(journal);
            let outcome = taken_up(&role);
            let end = end_of(site.as_ref(), &role, &outcome);
            let place = format!("{}, record {n} of {}", site.name(), it.records);
            assert!(!end.old_alive && end.placed_alive, "{place}: {end:#?}\n{}", outcome.stderr);
            let named = end.table.matches("  stranger ").count();
            assert_eq!(end.live, Some(1 + named), "{place}: {end:#?}\n{}", outcome.stderr);
            assert_eq!(outcome.code, Some(if named > 0 { 3 } else { 0 }), "{place}");
        }
    }
}

/// Another number in the header, its chain made whole again: what another release has written.
fn rewritten(role: &Role, change: impl Fn(&mut serde_json::Value)) {
    let journal = open(&role.host);
    let mut select = journal.prepare("SELECT n, at, json FROM record ORDER BY n").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(i64, i64, String)> = rows.map(Result::unwrap).collect();
    let mut before = [0_u8; 32];
    for (n, at, mut json) in rows {
        if n == 0 {
            let mut header = serde_json::from_str(&json).unwrap();
            change(&mut header);
            json = header.to_string();
        }
        let hash = Sha256::new().chain_update(before).chain_update(at.to_be_bytes());
        before = hash.chain_update(&json).finalize().into();
        let update = "UPDATE record SET json = ?1, hash = ?2 WHERE n = ?3";
        journal.execute(update, rusqlite::params![json, before, n]).unwrap();
    }
}

/// The binary was replaced in between: the run is not taken up, and a new one of the same role
/// finds what it made and ends with one credential in its place.
#[test]
fn a_run_of_another_release_is_adopted_by_the_next_of_its_role() {
    let changes: [(&str, fn(&mut serde_json::Value)); 2] = [
        ("engine", |header| header["engine"] = 999.into()),
        ("provider file", |header| {
            let providers = header["providers"].as_object_mut().unwrap();
            providers.values_mut().for_each(|hash| *hash = "0".repeat(64).into());
        }),
    ];
    for start in [redis as Start, verdaccio] {
        let Some((site, crossing)) = bench(start) else { return };
        let it = undisturbed(site.as_ref(), &crossing);
        let mut cell = 1;
        for (what, change) in changes {
            for record in (3..it.records).step_by(5) {
                let role = cut_short(site.as_ref(), &crossing, cell, record);
                cell += 1;
                let place = format!("{}, {what}, record {record} of {}", site.name(), it.records);
                rewritten(&role, change);
                let resumed = role.host.rotate(&["resume"]);
                assert_eq!(resumed.code, Some(1), "{place}: {}", resumed.stderr);
                let told = "begun with other provider files or another release";
                assert!(resumed.stderr.contains(told), "{place}: {}", resumed.stderr);
                let outcome = role.host.rotate(&CONTAIN);
                let end = end_of(site.as_ref(), &role, &outcome);
                let well = !end.old_alive && end.placed_alive;
                assert!(well, "{place}: {end:#?}\n{}", outcome.stderr);
                assert!(end.live.is_none_or(|it| it == 1), "{place}: {end:#?}\n{}", outcome.stderr);
                assert!(matches!(kept(&role.host), Kept::Closed(_)), "{place}");
                let none = role.host.rotate(&["resume"]);
                assert_eq!(
                    none.code,
                    Some(2),
                    "{place}: the old one is open still: {}",
                    none.stderr
                );
            }
        }
    }
}
