//! The journal's rows. `rows` and then one record a line, chained as they should be, the header
//! first; or `damage` and then what happens to a sound run, four bytes each: what, to which record,
//! where in it, and with which bits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock};

use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use crate::engine::call::{Answer, CallId, Event, SecretId, Time, Wall, What};
use crate::journal::{Entry, FORMAT, Header, Journal, JournalError, State};
use crate::secret::{Parts, Secret};

const RUN: &str = "fuzz";

/// No row, whatever is in it, brings down a resume; none is believed that was changed, and no seal
/// opens that was.
pub fn journal(data: &[u8]) {
    if let Some(rest) = data.strip_prefix(b"rows\n") {
        rows(rest);
    } else if let Some(rest) = data.strip_prefix(b"damage\n") {
        damage(rest);
    }
}

/// One state for the whole process, and one target at a time in it.
fn state() -> MutexGuard<'static, State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    let state = STATE.get_or_init(|| Mutex::new(State::in_memory().unwrap()));
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn clear(rows: &Connection) {
    rows.execute_batch("DELETE FROM record; DELETE FROM seal; DELETE FROM run").unwrap();
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    n: i64,
    at: i64,
    json: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn insert(&self, rows: &Connection) {
        let text = "INSERT OR IGNORE INTO record (run, n, at, json, hash)
                    VALUES (?1, ?2, ?3, CAST(?4 AS TEXT), ?5)";
        let mut insert = rows.prepare_cached(text).unwrap();
        insert.execute(params![RUN, self.n, self.at, self.json, self.hash]).unwrap();
    }
}

fn insert_run(rows: &Connection) {
    let text = "INSERT INTO run (run, format, mode, roles, started)
                VALUES (?1, ?2, 'contain', '[]', 0)";
    rows.execute(text, params![RUN, FORMAT]).unwrap();
}

fn rows(text: &[u8]) {
    let state = state();
    let mut head = vec![0; 32];
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    {
        let rows = state.rows();
        clear(&rows);
        insert_run(&rows);
        for (n, line) in (0_i64..).zip(&lines) {
            let mut hash = Sha256::new();
            hash.update(&head);
            hash.update(n.to_be_bytes());
            hash.update(line);
            head = hash.finalize().to_vec();
            Stored { n, at: n, json: line.to_vec(), hash: head.clone() }.insert(&rows);
        }
    }
    match Journal::open(&state, RUN) {
        Ok((journal, header, events)) => {
            assert_eq!(events.len() + 1, lines.len(), "a record is missing");
            assert_eq!((header.run.as_str(), journal.notice()), (RUN, None));
            for ((at, event), line) in events.iter().zip(&lines[1..]) {
                let again = serde_json::to_string(event).unwrap();
                assert_eq!(&serde_json::from_str::<Event>(&again).unwrap(), event);
                assert_eq!(serde_json::from_slice::<Event>(line).ok().as_ref(), Some(event));
                assert!(at.0 > 0);
            }
            if let Ok(plan) = header.plan() {
                let mut run = crate::engine::run::Run::new(plan);
                // Refused or believed, one by one.
                let _ = crate::drive::replay(&mut run, events);
            }
        }
        Err(error) => {
            let read_all = matches!(
                error,
                JournalError::Unreadable { .. } | JournalError::Broken { record: 0, .. }
            );
            assert!(read_all, "sound rows are refused: {error}");
        }
    }
}

/// A sound run and its one seal.
struct Sound {
    records: Vec<Stored>,
    sealed: Vec<u8>,
}

fn sound(state: &State) -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        clear(&state.rows());
        let header = Header {
            run: RUN.to_owned(),
            format: FORMAT,
            engine: 1,
            mode: "contain".to_owned(),
            roles: vec!["mail".to_owned()],
            started: Wall(1_790_000_000_000),
            providers: BTreeMap::new(),
            plan: serde_json::Value::Null,
            details: serde_json::Value::Null,
            adopts: None,
        };
        let mut journal = Journal::create(state, &header, &[]).unwrap();
        let parts = secret();
        for n in 1..=RECORDS {
            let event = event(n);
            let brought = (n == 1).then_some((SecretId(1), &parts));
            journal.append(&[Entry { at: Time(n), event: &event, brought }], &[]).unwrap();
        }
        let rows = state.rows();
        let text = "SELECT n, at, CAST(json AS BLOB), hash FROM record ORDER BY n";
        let mut select = rows.prepare(text).unwrap();
        let read = select.query_map([], |row| {
            Ok(Stored { n: row.get(0)?, at: row.get(1)?, json: row.get(2)?, hash: row.get(3)? })
        });
        let records = read.unwrap().map(Result::unwrap).collect();
        let sealed = rows.query_row("SELECT sealed FROM seal", [], |row| row.get(0)).unwrap();
        Sound { records, sealed }
    })
}

/// Records behind the header: a first, a last, and some between.
const RECORDS: u64 = 4;

fn event(n: u64) -> Event {
    Event { wall: Wall(n as i64), what: What::Answered(CallId(n), Answer::Done) }
}

fn secret() -> Parts {
    let bytes = Secret::from("made-up secret of the seal".to_owned());
    Parts { secret: BTreeMap::from([("secret".to_owned(), bytes)]), ..Parts::default() }
}

fn damage(steps: &[u8]) {
    let state = state();
    let sound = sound(&state);
    let mut records = sound.records.clone();
    let (mut sealed, mut seal_id) = (sound.sealed.clone(), 1_i64);
    for step in steps.chunks_exact(4).take(16) {
        let (which, place, bits) = (usize::from(step[1]), usize::from(step[2]), step[3]);
        let at = which % records.len().max(1);
        let Some(record) = records.get_mut(at) else { break };
        match step[0] % 10 {
            0 | 1 => flip(&mut record.json, place, bits),
            2 => flip(&mut record.hash, place, bits),
            3 => record.at ^= i64::from(bits) << (place % 57),
            4 => record.n ^= i64::from(bits),
            5 => drop(records.remove(at)),
            6 => record.json.truncate(place),
            7 => record.json.insert(place.min(record.json.len()), bits),
            8 => flip(&mut sealed, which << 8 | place, bits),
            _ => seal_id ^= i64::from(bits),
        }
    }
    store(&state, &records, &sealed, seal_id);
    let kept = read_back(&state);
    // A row whose number is taken by another is not stored.
    let mut numbers = BTreeSet::new();
    records.retain(|record| numbers.insert(record.n));
    records.sort_by_key(|record| record.n);
    let same = records.iter().zip(&sound.records).take_while(|(a, b)| a == b).count();
    match kept {
        Ok((journal, events)) => {
            assert!(same > events, "a record that was changed is believed");
            let damaged = records.len() - same;
            assert!(damaged <= 1, "more than the last record was damaged, and forgiven");
            assert_eq!(damaged == 1, journal.notice().is_some(), "damage is not told");
            assert_seal(&journal, sealed == sound.sealed, seal_id);
        }
        Err(JournalError::Broken { record, .. }) => {
            assert!(records.len() > same || same == 0, "a sound run is refused");
            assert_eq!(record, same as u64, "another record is named");
        }
        Err(error) => panic!("{error}"),
    }
}

fn flip(bytes: &mut [u8], place: usize, bits: u8) {
    if let Some(byte) = place.checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at)) {
        *byte ^= bits;
    }
}

fn store(state: &State, records: &[Stored], sealed: &[u8], id: i64) {
    let rows = state.rows();
    clear(&rows);
    insert_run(&rows);
    records.iter().for_each(|record| record.insert(&rows));
    let text = "INSERT INTO seal (run, id, sealed) VALUES (?1, ?2, ?3)";
    rows.execute(text, params![RUN, id, sealed]).unwrap();
}

/// The journal, and how many events it holds: those of the sound run, as far as they go.
fn read_back(state: &State) -> Result<(Journal, usize), JournalError> {
    let (journal, header, events) = Journal::open(state, RUN)?;
    assert_eq!(header.run, RUN);
    for (n, (at, found)) in (1..).zip(&events) {
        assert_eq!((at.0, found), (n, &event(n)), "an event that nobody wrote");
    }
    Ok((journal, events.len()))
}

fn assert_seal(journal: &Journal, same: bool, id: i64) {
    match journal.secrets() {
        Ok(opened) => {
            assert!(same && id == 1, "a seal opens that was changed, or moved");
            let [(id, parts)] = opened.as_slice() else { panic!("one seal was written") };
            assert!(*id == SecretId(1) && parts.secret["secret"].same(&secret().secret["secret"]));
        }
        Err(JournalError::Sealed { .. }) => assert!(!same || id != 1, "a sound seal is refused"),
        Err(error) => panic!("{error}"),
    }
}
