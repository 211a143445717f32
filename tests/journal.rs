//! The journal, from outside: what was acknowledged survives, what was changed is noticed, what
//! is secret is nowhere in the clear.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rotate::engine::call::{Answer, CallId, Event, Holding, SecretId, Time, Wall, What};
use rotate::inventory::Mark;
use rotate::journal::{
    Entry, FORMAT, Header, Holder, Journal, JournalError, LockError, Message, State, StateError,
};
use rotate::secret::{Parts, Secret};
use serde_json::json;
use tempfile::TempDir;

fn header(run: &str, mode: &str) -> Header {
    Header {
        run: run.to_owned(),
        format: FORMAT,
        engine: 1,
        mode: mode.to_owned(),
        roles: vec!["mail-agent".to_owned()],
        started: Wall(1_700_000_000_000),
        providers: BTreeMap::from([("acme".to_owned(), "ab".repeat(32))]),
        plan: json!({ "steps": ["revoke"] }),
        details: json!({ "case": "INC-7", "z": 1, "a": 2 }),
        adopts: None,
    }
}

/// An event that can be told from every other one.
fn event(n: u64) -> Event {
    let holding = Holding { fingerprint: format!("fingerprint-{n}"), public: BTreeMap::new() };
    Event { wall: Wall(1_000 + n as i64), what: What::Answered(CallId(n), Answer::Held(holding)) }
}

fn entry(event: &Event, at: u64) -> Entry<'_> {
    Entry { at: Time(at), event, brought: None }
}

fn append(journal: &mut Journal, numbers: impl IntoIterator<Item = u64>) {
    let events: Vec<_> = numbers.into_iter().map(|n| (n, event(n))).collect();
    let batch: Vec<_> = events.iter().map(|(n, event)| entry(event, *n)).collect();
    journal.append(&batch, &[]).unwrap();
}

fn secret_parts(bytes: &[u8]) -> Parts {
    Parts {
        public: BTreeMap::from([("handle".to_owned(), json!("key_a"))]),
        secret: BTreeMap::from([("secret".to_owned(), Secret::new(bytes.to_vec()))]),
    }
}

fn numbers(events: &[(Time, Event)]) -> Vec<u64> {
    events.iter().map(|(at, _)| at.0).collect()
}

/// A directory whose state is closed: nothing is left in the log.
fn written(batches: &[&[u64]]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut journal = Journal::create(&state, &header("r1", "contain"), &[]).unwrap();
    for batch in batches {
        append(&mut journal, batch.iter().copied());
    }
    dir
}

fn sql(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("journal.sqlite")).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(dir).into_iter().map(|entry| entry.unwrap());
    all.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
}

/// What a crash of the machine would leave: the files as they stand, without shared memory.
fn crashed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["key", "fingerprint.key", "journal.sqlite", "journal.sqlite-wal"] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let dir = written(&[&[1, 2], &[3]]);
    let state = State::open(dir.path()).unwrap();
    let (journal, read, events) = Journal::open(&state, "r1").unwrap();
    assert_eq!(read, header("r1", "contain"));
    assert_eq!(events, vec![(Time(1), event(1)), (Time(2), event(2)), (Time(3), event(3))]);
    assert_eq!(journal.notice(), None);
    assert!(
        matches!(Journal::open(&state, "r2"), Err(JournalError::NoSuchRun(run)) if run == "r2")
    );
}

#[test]
fn the_head_names_everything_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut one = Journal::create(&state, &header("r1", "contain"), &[]).unwrap();
    let mut other = Journal::create(&state, &header("r2", "contain"), &[]).unwrap();
    assert_ne!(one.first(), other.first(), "the headers differ in the run alone");
    assert_eq!(one.first(), one.head());

    append(&mut one, [1, 2]);
    append(&mut other, [1]);
    append(&mut other, [2]);
    assert_ne!(one.head(), other.head());
    let (reopened, ..) = Journal::open(&state, "r1").unwrap();
    assert_eq!((reopened.head(), reopened.first()), (one.head(), one.first()));
    assert!(one.head().starts_with("sha256:") && one.head().len() == 7 + 64);
}

/// The rule in the module's first lines, applied by hand.
#[test]
fn anybody_can_check_the_chain() {
    use sha2::{Digest as _, Sha256};
    let dir = written(&[&[1, 2, 3]]);
    let connection = sql(dir.path());
    let mut select = connection.prepare("SELECT at, json, hash FROM record ORDER BY n").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut previous = vec![0; 32];
    for row in rows {
        let (at, json, hash): (i64, String, Vec<u8>) = row.unwrap();
        let mut sha = Sha256::new();
        sha.update(&previous);
        sha.update(at.to_be_bytes());
        sha.update(json);
        previous = sha.finalize().to_vec();
        assert_eq!(previous, hash);
    }
}

#[test]
fn every_byte_changed_in_the_middle_is_noticed() {
    let dir = written(&[&[1, 2, 3]]);
    let connection = sql(dir.path());
    let read = |column: &str| -> Vec<u8> {
        let text = format!("SELECT CAST({column} AS BLOB) FROM record WHERE n = 2");
        connection.query_row(&text, [], |row| row.get(0)).unwrap()
    };
    let state = State::open(dir.path()).unwrap();
    for (column, cast) in [("json", "TEXT"), ("hash", "BLOB"), ("at", "INTEGER")] {
        let sound = read(column);
        let text = format!("UPDATE record SET {column} = CAST(?1 AS {cast}) WHERE n = 2");
        for at in 0..sound.len() {
            let mut changed = sound.clone();
            changed[at] ^= 1;
            connection.execute(&text, [&changed]).unwrap();
            let error = Journal::open(&state, "r1").map(drop).unwrap_err();
            assert!(
                matches!(&error, JournalError::Broken { run, record: 2 } if run == "r1"),
                "{column} byte {at}: {error}"
            );
        }
        connection.execute(&text, [&sound]).unwrap();
        assert_eq!(numbers(&Journal::open(&state, "r1").unwrap().2), [1, 2, 3]);
    }
}

#[test]
fn every_byte_of_a_record_changed_in_the_file_is_noticed() {
    let dir = written(&[&[1, 2, 3]]);
    let path = dir.path().join("journal.sqlite");
    let sound = fs::read(&path).unwrap();
    let json = serde_json::to_vec(&event(2)).unwrap();
    let start = sound.windows(json.len()).position(|window| window == json).unwrap();
    for at in start..start + json.len() {
        let mut changed = sound.clone();
        changed[at] ^= 0x80;
        fs::write(&path, changed).unwrap();
        let state = State::open(dir.path()).unwrap();
        let error = Journal::open(&state, "r1").map(drop).unwrap_err();
        assert!(matches!(error, JournalError::Broken { record: 2, .. }), "byte {at}: {error}");
    }
}

#[test]
fn a_record_taken_out_or_moved_is_noticed() {
    for change in [
        "DELETE FROM record WHERE n = 2",
        "DELETE FROM record WHERE n = 0",
        "DELETE FROM record",
        "UPDATE record SET n = CASE n WHEN 1 THEN 20 ELSE n END",
        "UPDATE record SET json = (SELECT json FROM record WHERE n = 3) WHERE n = 2",
    ] {
        let dir = written(&[&[1, 2, 3]]);
        sql(dir.path()).execute(change, []).unwrap();
        let state = State::open(dir.path()).unwrap();
        let error = Journal::open(&state, "r1").map(drop).unwrap_err();
        assert!(matches!(error, JournalError::Broken { .. }), "{change}: {error}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn a_damaged_last_record_is_left_out_with_a_notice() {
    let dir = written(&[&[1, 2, 3]]);
    sql(dir.path()).execute("UPDATE record SET json = 'torn' WHERE n = 3", []).unwrap();
    let state = State::open(dir.path()).unwrap();
    let (mut journal, _, events) = Journal::open(&state, "r1").unwrap();
    assert_eq!(numbers(&events), [1, 2]);
    let notice = journal.notice().unwrap();
    assert_eq!(notice, "record 3 of run r1, the last one, was damaged and is left out");
    let count = "SELECT count(*) FROM record";
    let rows = sql(dir.path()).query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(rows, 4, "reading changes nothing");

    append(&mut journal, [30]);
    let (journal, _, events) = Journal::open(&state, "r1").unwrap();
    assert_eq!((numbers(&events), journal.notice()), (vec![1, 2, 30], None));
}

#[test]
fn records_missing_from_a_closed_run_are_noticed() {
    let dir = written(&[&[1, 2, 3]]);
    let state = State::open(dir.path()).unwrap();
    Journal::open(&state, "r1").unwrap().0.close(Wall(9), "{}", 0).unwrap();
    assert_eq!(Journal::open(&state, "r1").unwrap().0.notice(), None);
    sql(dir.path()).execute("DELETE FROM record WHERE n = 3", []).unwrap();
    let (journal, ..) = Journal::open(&state, "r1").unwrap();
    assert_eq!(journal.notice(), Some("run r1 had more records when it was closed"));
}

#[test]
fn another_format_is_named_and_left_alone() {
    let dir = written(&[&[1]]);
    let state = State::open(dir.path()).unwrap();
    sql(dir.path()).execute("UPDATE run SET format = 7", []).unwrap();
    let error = Journal::open(&state, "r1").map(drop).unwrap_err();
    assert_eq!(error.to_string(), "run r1 has journal format 7, this release reads format 1");

    let mut later = header("r2", "contain");
    later.format = 7;
    let error = Journal::create(&state, &later, &[]).map(drop).unwrap_err();
    assert!(matches!(error, JournalError::Format { found: 7, known: 1, .. }));
    assert_eq!(state.runs().unwrap().len(), 1);
}

#[test]
fn another_releases_file_is_not_touched() {
    let dir = written(&[&[1]]);
    let path = dir.path().join("journal.sqlite");
    sql(dir.path()).pragma_update(None, "user_version", 9).unwrap();
    let before = fs::read(&path).unwrap();
    let error = State::open(dir.path()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "state: journal of format 9, this release reads format 1");
    assert_eq!(fs::read(&path).unwrap(), before);

    let stranger = tempfile::tempdir().unwrap();
    sql(stranger.path()).execute_batch("CREATE TABLE theirs (x)").unwrap();
    fs::set_permissions(stranger.path().join("journal.sqlite"), fs::Permissions::from_mode(0o600))
        .unwrap();
    let error = State::open(stranger.path()).map(drop).unwrap_err();
    assert!(matches!(error, StateError::NotAJournal { .. }), "{error}");
}

#[test]
fn a_crash_after_any_batch_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut journal = Journal::create(&state, &header("r1", "contain"), &[]).unwrap();
    for last in 1..=5 {
        let event = event(last);
        let parts = secret_parts(format!("secret {last}").as_bytes());
        let brought = Some((SecretId(last), &parts));
        journal.append(&[Entry { at: Time(last), event: &event, brought }], &[]).unwrap();

        let copy = crashed(dir.path());
        let state = State::open(copy.path()).unwrap();
        let (copied, _, events) = Journal::open(&state, "r1").unwrap();
        assert_eq!(numbers(&events), (1..=last).collect::<Vec<_>>());
        assert_eq!(copied.head(), journal.head());
        assert_eq!(copied.secrets().unwrap().len() as u64, last);
    }
}

/// A log cut at any byte holds whole batches: an event is never there without its seal.
#[test]
fn a_torn_log_holds_whole_batches() {
    let dir = written(&[]);
    let state = State::open(dir.path()).unwrap();
    let (mut journal, ..) = Journal::open(&state, "r1").unwrap();
    for first in [1, 3, 5] {
        let events = [event(first), event(first + 1)];
        let parts = secret_parts(b"secret");
        let batch = [
            Entry { at: Time(first), event: &events[0], brought: None },
            Entry {
                at: Time(first + 1),
                event: &events[1],
                brought: Some((SecretId(first), &parts)),
            },
        ];
        journal.append(&batch, &[]).unwrap();
    }
    let whole = fs::read(dir.path().join("journal.sqlite-wal")).unwrap();
    let mut seen = Vec::new();
    // A step that is no divisor of the frame's 4120 bytes: cuts fall everywhere in a frame.
    for cut in (0..whole.len()).step_by(733).chain([whole.len()]) {
        let copy = crashed(dir.path());
        fs::write(copy.path().join("journal.sqlite-wal"), &whole[..cut]).unwrap();
        let state = State::open(copy.path()).unwrap();
        let (journal, _, events) = Journal::open(&state, "r1").unwrap();
        assert_eq!(events.len() % 2, 0, "cut at {cut}: half a batch");
        assert_eq!(journal.secrets().unwrap().len(), events.len() / 2, "cut at {cut}");
        seen.push(events.len());
    }
    assert!(seen.is_sorted());
    seen.dedup();
    assert_eq!(seen, [0, 2, 4, 6]);
}

#[test]
fn secrets_come_back_until_they_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let earlier = secret_parts(b"brought by an earlier run");
    let adopted = SecretId(SecretId::ADOPTED);
    let mut journal =
        Journal::create(&state, &header("r1", "contain"), &[(adopted, &earlier)]).unwrap();
    let odd = Parts {
        public: BTreeMap::from([("n".to_owned(), json!({ "z": 1.5, "a": null }))]),
        secret: BTreeMap::from([
            ("binary".to_owned(), Secret::new((0..=255).collect())),
            ("empty".to_owned(), Secret::new(Vec::new())),
        ]),
    };
    let event = event(4);
    let brought = Some((SecretId(4), &odd));
    journal.append(&[Entry { at: Time(1), event: &event, brought }], &[]).unwrap();

    let (mut journal, ..) = Journal::open(&state, "r1").unwrap();
    let secrets = journal.secrets().unwrap();
    assert_eq!(secrets.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [SecretId(4), adopted]);
    let (_, back) = &secrets[0];
    assert_eq!(back.public, odd.public);
    assert!(back.secret["binary"].same(&odd.secret["binary"]));
    assert!(back.secret["empty"].is_empty());
    assert!(secrets[1].1.secret["secret"].same(&earlier.secret["secret"]));

    journal.append(&[], &[SecretId(4)]).unwrap();
    let left: Vec<_> = journal.secrets().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(left, [adopted]);
}

#[test]
fn a_seal_that_was_changed_or_moved_does_not_open() {
    for change in [
        "UPDATE seal SET id = 3 - id + 10",
        "UPDATE seal SET sealed = x'00' WHERE id = 1",
        "UPDATE seal SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE id = 1",
        "UPDATE data_key SET sealed = x'00'",
        "UPDATE data_key SET run = 'r2'",
        "DELETE FROM data_key",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let parts = [secret_parts(b"one"), secret_parts(b"two")];
        let adopted = [(SecretId(1), &parts[0]), (SecretId(2), &parts[1])];
        let journal = Journal::create(&state, &header("r1", "contain"), &adopted).unwrap();
        assert_eq!(journal.secrets().unwrap().len(), 2);
        sql(dir.path()).execute(change, []).unwrap();
        let error = journal.secrets().map(drop).unwrap_err();
        assert!(matches!(error, JournalError::Sealed { .. }), "{change}: {error}");
    }
}

#[test]
fn no_secret_is_in_any_file_in_the_clear() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let canary: &[u8] = b"canary/+ 7f3a\"e\xc3\xa9!-9b1c";
    let base64 = base64::engine::general_purpose::STANDARD.encode(canary);
    let percent =
        percent_encoding::percent_encode(canary, percent_encoding::NON_ALPHANUMERIC).to_string();
    let forms =
        [canary, b"7f3a", b"9b1c", base64.trim_end_matches('=').as_bytes(), percent.as_bytes()];

    let parts = secret_parts(canary);
    let adopted = [(SecretId(SecretId::ADOPTED), &parts)];
    let mut journal = Journal::create(&state, &header("r1", "contain"), &adopted).unwrap();
    let event = event(1);
    let brought = Some((SecretId(1), &parts));
    journal.append(&[Entry { at: Time(1), event: &event, brought }], &[]).unwrap();
    state.tell("r1", &Message::HandDone { credential: "mail-agent/openai".to_owned() }).unwrap();
    let _lock = state.lock("mail-agent", &Holder::here("r1", "contain", Wall(0))).unwrap();

    let contains = |needle: &[u8]| {
        files(dir.path()).into_iter().find(|path| {
            fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
        })
    };
    assert!(dir.path().join("journal.sqlite-wal").exists(), "the log is searched too");
    assert!(contains(b"fingerprint-1").is_some(), "the search finds what is there");
    for when in ["open", "forgotten", "closed"] {
        for form in forms {
            assert_eq!(contains(form), None, "{when}");
        }
        match when {
            "open" => journal.append(&[], &[SecretId(1)]).unwrap(),
            _ => drop(journal.close(Wall(2), "{}", 0).unwrap()),
        }
    }
}

#[test]
fn everything_is_for_the_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b/rotate");
    let state = State::open(&dir).unwrap();
    let mut journal = Journal::create(&state, &header("r1", "contain"), &[]).unwrap();
    append(&mut journal, [1]);
    let _lock = state.lock("mail-agent", &Holder::here("r1", "contain", Wall(0))).unwrap();
    let mut names = Vec::new();
    for entry in walkdir::WalkDir::new(&dir) {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().mode() & 0o777;
        let wanted = if entry.file_type().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}", entry.path().display());
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    for name in ["key", "fingerprint.key", "journal.sqlite-wal", "journal.sqlite-shm", "evidence"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
}

#[test]
fn a_directory_that_others_can_change_is_refused() {
    for mode in [0o770, 0o707, 0o722] {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = State::open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, StateError::Writable { .. }), "{mode:o}: {error}");
        assert!(error.hint().contains("chmod 700"));
        assert_eq!(files(dir.path()), Vec::<PathBuf>::new(), "nothing was written");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(State::open(dir.path()).is_ok(), "reading its names harms nobody");
}

#[test]
fn a_key_that_is_open_or_empty_is_refused_and_never_replaced() {
    for name in ["key", "fingerprint.key"] {
        let dir = written(&[]);
        let path = dir.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = State::open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, StateError::OpenToOthers { .. }), "{name}: {error}");
        assert!(error.hint().contains("chmod 600"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "").unwrap();
        let error = State::open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, StateError::BadKey { .. }), "{name}: {error}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_and_memory_goes_on() {
    // No user can write here, root included.
    let error = State::open(Path::new("/proc/rotate")).map(drop).unwrap_err();
    assert!(matches!(error, StateError::Unusable { .. }), "{error}");
    assert_eq!(error.hint(), "name another directory: --state DIR");

    let state = State::in_memory().unwrap();
    assert!(!state.is_durable() && state.dir().is_none() && state.evidence_dir().is_none());
    let parts = secret_parts(b"secret");
    let mut journal =
        Journal::create(&state, &header("r1", "contain"), &[(SecretId(1), &parts)]).unwrap();
    append(&mut journal, [1, 2]);
    assert_eq!(journal.secrets().unwrap().len(), 1);
    assert_eq!(numbers(&Journal::open(&state, "r1").unwrap().2), [1, 2]);
    let holder = Holder::here("r1", "contain", Wall(0));
    assert_eq!(state.lock("mail-agent", &holder).unwrap().role(), "mail-agent");
    state.set_contained("mail-agent", &Mark::default()).unwrap();
    assert!(state.contained("mail-agent").unwrap().is_some());
}

#[test]
fn recipients_are_read_from_their_file() {
    let dir = written(&[]);
    assert_eq!(State::open(dir.path()).unwrap().seal().recipients(), 1);
    // The test vector of the age specification.
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let path = dir.path().join("recipients");
    fs::write(&path, format!("# the security desk\n\n{recipient} # Ada\n")).unwrap();
    assert_eq!(State::open(dir.path()).unwrap().seal().recipients(), 2);
    fs::write(&path, "age1typo\n").unwrap();
    let error = State::open(dir.path()).map(drop).unwrap_err();
    let wanted =
        format!("state: line 1 of {} is neither an age nor an ssh public key", path.display());
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn an_installation_keeps_its_names() {
    let dir = written(&[]);
    let (one, two) = (State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap());
    assert_eq!(one.installation(), two.installation());
    assert_eq!(one.installation().len(), 6);
    let parts = secret_parts(b"secret");
    assert_eq!(one.fingerprints().of(&parts), two.fingerprints().of(&parts));
    let other = State::in_memory().unwrap();
    assert_ne!(one.fingerprints().of(&parts), other.fingerprints().of(&parts));
}

#[test]
fn processes_that_start_at_once_end_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> =
        (0..6).map(|_| child("child_opens_the_state", dir.path(), "contain")).collect();
    let mut said: Vec<String> = children.into_iter().map(said_to_the_end).collect();
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    let leftovers = files(dir.path())
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".unfinished"));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn two_handles_of_one_run_cannot_both_write() {
    let dir = written(&[&[1]]);
    let states = [State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap()];
    let (mut one, ..) = Journal::open(&states[0], "r1").unwrap();
    let (mut other, ..) = Journal::open(&states[1], "r1").unwrap();
    append(&mut one, [2]);
    let late = event(20);
    other.append(&[entry(&late, 20)], &[]).unwrap_err();
    append(&mut one, [3]);
    assert_eq!(numbers(&Journal::open(&states[1], "r1").unwrap().2), [1, 2, 3]);
    let error = Journal::create(&states[1], &header("r1", "contain"), &[]).map(drop).unwrap_err();
    assert!(matches!(error, JournalError::RunExists(_)));
}

#[test]
fn runs_of_several_processes_share_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let states = [State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap()];
    let write = |state: &State, run: &str| {
        let mut journal = Journal::create(state, &header(run, "contain"), &[]).unwrap();
        (1..=40).for_each(|n| append(&mut journal, [n]));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(&states[0], "r1"));
        scope.spawn(|| write(&states[1], "r2"));
    });
    for run in ["r1", "r2"] {
        let (_, _, events) = Journal::open(&states[0], run).unwrap();
        assert_eq!(numbers(&events), (1..=40).collect::<Vec<_>>());
    }
}

#[test]
fn a_message_is_heard_once_and_never_lost() {
    let dir = written(&[]);
    let (here, there) = (State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap());
    let done = Message::HandDone { credential: "mail-agent/openai".to_owned() };
    there.tell("r1", &done).unwrap();
    let (mut journal, ..) = Journal::open(&here, "r1").unwrap();
    assert_eq!(journal.inbox().unwrap(), std::slice::from_ref(&done));
    assert_eq!(journal.inbox().unwrap(), [], "heard already");
    drop(journal);

    let (mut journal, ..) = Journal::open(&here, "r1").unwrap();
    assert_eq!(journal.inbox().unwrap(), [done], "a crash before its event was written");
    there.tell("r1", &Message::Stop).unwrap();
    append(&mut journal, [1]);
    assert_eq!(journal.inbox().unwrap(), [Message::Stop], "said in between");
    append(&mut journal, [2]);
    drop(journal);

    let (mut journal, ..) = Journal::open(&here, "r1").unwrap();
    assert_eq!(journal.inbox().unwrap(), []);
    let error = there.tell("r9", &Message::Stop).unwrap_err();
    assert!(matches!(error, JournalError::NoSuchRun(run) if run == "r9"));
}

#[test]
fn a_closed_run_hears_nothing_and_writes_nothing() {
    let dir = written(&[]);
    let state = State::open(dir.path()).unwrap();
    let (mut journal, ..) = Journal::open(&state, "r1").unwrap();
    state.tell("r1", &Message::Stop).unwrap();
    assert_eq!(journal.close(Wall(5), "{\"exit_code\":3}", 3).unwrap(), [Message::Stop]);

    assert!(matches!(state.tell("r1", &Message::Stop), Err(JournalError::Closed(_))));
    let late = event(1);
    let error = journal.append(&[entry(&late, 1)], &[]).unwrap_err();
    assert!(matches!(error, JournalError::Closed(_)));
    assert_eq!(state.report_of("r1").unwrap().as_deref(), Some("{\"exit_code\":3}"));
    let run = state.latest("mail-agent", &[]).unwrap().unwrap();
    assert_eq!((run.closed, run.exit_code), (Some(Wall(5)), Some(3)));
}

#[test]
fn the_history_is_newest_first_whatever_the_clock_said() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for (run, mode, started) in
        [("r1", "contain", 10), ("r2", "contain", 30), ("r3", "rehearse", 20)]
    {
        let mut header = header(run, mode);
        header.started = Wall(started);
        Journal::create(&state, &header, &[]).unwrap();
    }
    let order: Vec<String> = state.runs().unwrap().into_iter().map(|run| run.run).collect();
    assert_eq!(order, ["r3", "r2", "r1"]);
    let latest = |role, modes: &[&str]| state.latest(role, modes).unwrap().map(|run| run.run);
    assert_eq!(latest("mail-agent", &[]).as_deref(), Some("r3"));
    assert_eq!(latest("mail-agent", &["contain", "revoke-only"]).as_deref(), Some("r2"));
    assert_eq!(latest("mail-agent", &["verify"]), None);
    assert_eq!(latest("mail", &[]), None);
    assert_eq!(state.report_of("r1").unwrap(), None);
    assert!(matches!(state.report_of("r9"), Err(JournalError::NoSuchRun(_))));
}

#[test]
fn a_mark_stays_until_it_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let mark = Mark {
        since: Some("2026-11-21T10:00:00Z".to_owned()),
        because: None,
        run: Some("r1".to_owned()),
    };
    State::open(dir.path()).unwrap().set_contained("mail-agent", &mark).unwrap();
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.contained("mail-agent").unwrap(), Some(mark));
    assert_eq!(state.contained("calendar-agent").unwrap(), None);
    state.clear_contained("mail-agent").unwrap();
    assert_eq!(state.contained("mail-agent").unwrap(), None);
}

#[test]
fn a_role_is_held_by_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap());
    let holder = Holder::here("r1", "contain", Wall(1_700_000_000_000));
    let lock = here.lock("mail-agent", &holder).unwrap();
    let error = there.lock("mail-agent", &Holder::here("r2", "contain", Wall(0))).map(drop);
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "role mail-agent is held by run r1 (contain), process {} on {}, since \
             2023-11-14T22:13:20Z",
            holder.pid, holder.host
        )
    );
    assert_eq!(error.hint(), "follow it: rotate report r1");
    drop(lock);
    assert!(there.lock("mail-agent", &holder).is_ok());
}

#[test]
fn several_roles_are_locked_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let holder = Holder::here("r1", "contain", Wall(0));
    // Names that a file cannot have, and one that another would take for itself.
    let names = ["b/../b", "a", "a", "..", "a.lock", "ä"].map(str::to_owned);
    let locks = state.lock_all(&names, &holder).unwrap();
    let held: Vec<_> = locks.iter().map(|lock| lock.role()).collect();
    assert_eq!(held, ["..", "a", "a.lock", "b/../b", "ä"]);
    drop(locks);

    let _b = state.lock("b", &holder).unwrap();
    let wanted = ["c", "b", "a"].map(str::to_owned);
    let error = state.lock_all(&wanted, &holder).map(drop).unwrap_err();
    assert!(matches!(error, LockError::Held { role, .. } if role == "b"));
    assert!(state.lock("a", &holder).is_ok() && state.lock("c", &holder).is_ok());
}

#[test]
fn a_lock_dies_with_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("child_holds_the_role", dir.path(), "contain");
    wait_for_line(&mut child, "held");
    let holder = Holder::here("r1", "contain", Wall(0));
    let error = state.lock("mail-agent", &holder).map(drop).unwrap_err();
    let pid = child.id();
    assert!(matches!(error, LockError::Held { holder: Some(held), .. } if held.pid == pid));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(state.lock("mail-agent", &holder).is_ok());
}

#[test]
fn contain_takes_a_role_from_a_rehearsal() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("child_holds_the_role", dir.path(), "rehearse");
    wait_for_line(&mut child, "held");
    let me = Holder::here("r1", "contain", Wall(0));
    let mut take_over = state.take_over("mail-agent", &me).unwrap();
    assert_eq!(take_over.rehearsal().unwrap().run, "rehearse-run");
    let (mut rehearsal, ..) = Journal::open(&state, "rehearse-run").unwrap();
    assert_eq!(rehearsal.inbox().unwrap(), [Message::TakeOver], "told before it is ended");

    assert!(take_over.poll(Duration::from_millis(1999)).unwrap().is_none());
    assert!(child.try_wait().unwrap().is_none(), "it has two seconds");
    let _ = take_over.poll(Duration::from_secs(2)).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    let lock = take_over.poll(Duration::from_secs(2)).unwrap().unwrap();
    assert_eq!(lock.role(), "mail-agent");
}

#[test]
fn a_rehearsal_that_does_not_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("child_holds_the_role", dir.path(), "rehearse-deaf");
    wait_for_line(&mut child, "held");
    let me = Holder::here("r1", "contain", Wall(0));
    let mut take_over = state.take_over("mail-agent", &me).unwrap();
    assert!(take_over.poll(Duration::from_secs(2)).unwrap().is_none());
    assert!(child.try_wait().unwrap().is_none(), "it does not hear SIGTERM");
    let _ = take_over.poll(Duration::from_secs(3)).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(take_over.poll(Duration::from_secs(3)).unwrap().is_some());
}

#[test]
fn contain_takes_nothing_from_another_contain() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("child_holds_the_role", dir.path(), "contain");
    wait_for_line(&mut child, "held");
    let me = Holder::here("r1", "contain", Wall(0));
    let error = state.take_over("mail-agent", &me).map(drop).unwrap_err();
    assert!(matches!(error, LockError::Held { holder: Some(held), .. } if held.mode == "contain"));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = state.take_over("mail-agent", &me).unwrap().poll(Duration::ZERO).unwrap();
    assert!(lock.is_some(), "free: nothing to wait for");
}

#[test]
fn a_rehearsal_that_stops_by_itself_is_not_ended() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("child_holds_the_role", dir.path(), "rehearse");
    wait_for_line(&mut child, "held");
    let me = Holder::here("r1", "contain", Wall(0));
    let mut take_over = state.take_over("mail-agent", &me).unwrap();
    assert!(take_over.poll(Duration::ZERO).unwrap().is_none());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(take_over.poll(Duration::from_secs(1)).unwrap().is_some());
}

/// The file may name a process that has nothing to do with the lock.
#[test]
fn only_the_process_that_holds_the_lock_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    let me = Holder::here("r1", "contain", Wall(0));
    let this = std::process::id();
    for (pid, host) in [(bystander.id(), &*me.host), (this, &*me.host), (this, "elsewhere")] {
        let (run, mode, host) = ("r0".to_owned(), "rehearse".to_owned(), host.to_owned());
        let named = Holder { run, mode, pid, host, since: Wall(0) };
        let _lock = state.lock("mail-agent", &named).unwrap();
        let mut take_over = state.take_over("mail-agent", &me).unwrap();
        assert!(take_over.poll(Duration::from_millis(1999)).unwrap().is_none(), "it may stop");
        let error = take_over.poll(Duration::from_secs(2)).map(drop).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{named}");
    }
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// Starts one of the tests below in a process of its own.
fn child(test: &str, dir: &Path, mode: &str) -> Child {
    // What a process ignores, the one it becomes ignores too.
    let deaf = if mode.ends_with("deaf") { "trap '' TERM; " } else { "" };
    let this = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", &format!("{deaf}exec \"$0\" \"$@\"")])
        .arg(this)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("ROTATE_TEST_STATE", dir)
        .env("ROTATE_TEST_MODE", mode.trim_end_matches("-deaf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for_line(child: &mut Child, wanted: &str) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.ends_with(wanted)), "no line {wanted}");
}

fn said_to_the_end(mut child: Child) -> String {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let line = said.lines().find_map(|line| line.split("installation ").nth(1));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn given(name: &str) -> String {
    std::env::var(name).expect("started by another test only")
}

#[test]
#[ignore = "started by a_lock_dies_with_its_process and its neighbours"]
fn child_holds_the_role() {
    let state = State::open(Path::new(&given("ROTATE_TEST_STATE"))).unwrap();
    let mode = given("ROTATE_TEST_MODE");
    let run = format!("{mode}-run");
    let _journal = Journal::create(&state, &header(&run, &mode), &[]).unwrap();
    let _lock = state.lock("mail-agent", &Holder::here(&run, &mode, Wall(0))).unwrap();
    println!("held");
    // Until it is ended: the other side never writes.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
#[ignore = "started by processes_that_start_at_once_end_with_one_key"]
fn child_opens_the_state() {
    let state = State::open(Path::new(&given("ROTATE_TEST_STATE"))).unwrap();
    let run = format!("r{}", std::process::id());
    Journal::create(&state, &header(&run, &given("ROTATE_TEST_MODE")), &[]).unwrap();
    let key = fs::read(state.dir().unwrap().join("key")).unwrap();
    println!("installation {} {key:?}", state.installation());
}
