//! The matrix: every server, every point. The servers work beside each other, the cells of one of
//! them one after another, so that its turns can be counted.
//!
//! A share of the points is tried, `ROTATE_CRASH_SHARE=N` tries another one, `ROTATE_CRASH=all`
//! every one.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::cell::{Became, Point, Undisturbed, cell, undisturbed};
use crate::docs;
use crate::gate::{Crossing, Side};
use crate::journal::Write;
use crate::site::{self, Site};

/// So many servers at once: more of them on two cores, and the slow ones answer too late for a run
/// that waits for nobody.
const AT_ONCE: usize = 3;

/// How many points of each kind a server gets in a run of the tests.
const SHARE: usize = 3;

/// How often a run is killed at a random instant, and how often twice: in a share, and in all.
const RANDOM: (usize, usize) = (2, 12);
const TWICE: (usize, usize) = (2, 12);

/// The kinds of points: the columns of the table.
const KINDS: [&str; 5] =
    ["before a call", "after a call", "in a journal write", "random instants", "killed twice"];

/// One column of one server.
#[derive(Clone, Copy, Default)]
struct Column {
    of: usize,
    tried: usize,
    same: usize,
    told: usize,
    late: usize,
}

struct Row {
    server: &'static str,
    columns: [Column; KINDS.len()],
    failures: Vec<String>,
}

impl Row {
    fn tried(&self) -> usize {
        self.columns.iter().map(|column| column.tried).sum()
    }
}

fn all() -> bool {
    std::env::var_os("ROTATE_CRASH").is_some_and(|what| what == "all")
}

/// Points of one kind, and how many there are.
type Plan = (Vec<Vec<Point>>, usize);

/// Which share is tried.
fn asked() -> u64 {
    std::env::var("ROTATE_CRASH_SHARE").ok().and_then(|share| share.parse().ok()).unwrap_or(0)
}

fn share(points: Vec<Point>) -> Plan {
    let of = points.len();
    let step = if all() { 1 } else { of.div_ceil(SHARE).max(1) };
    let first = usize::try_from(asked()).unwrap_or_default() % step;
    let tried = points.into_iter().skip(first).step_by(step);
    (tried.map(|point| vec![point]).collect(), of)
}

fn plan(it: &Undisturbed, seed: u64) -> [Plan; KINDS.len()] {
    let mut random = StdRng::seed_from_u64(seed);
    // Nothing happens in the last quarter but the printing of the report.
    let took = u64::try_from(it.took.as_millis() * 3 / 4).unwrap_or(1_000).max(1);
    let count = |(few, many): (usize, usize)| if all() { many } else { few };
    let turns = |side| (0..it.turns).map(|turn| Point::Turn(turn, side)).collect();
    let writes = (0..it.records).map(|n| Point::Write(Write::Record(n)));
    let writes = writes.chain([Point::Write(Write::Close)]).collect();
    let mut instant = || Point::Instant(Duration::from_millis(random.random_range(0..took)));
    let instants: Vec<_> = (0..count(RANDOM)).map(|_| vec![instant()]).collect();
    let any = |random: &mut StdRng| match random.random_range(0..3) {
        0 => Point::Turn(random.random_range(0..it.turns), Side::Before),
        1 => Point::Turn(random.random_range(0..it.turns), Side::After),
        _ => Point::Write(Write::Record(random.random_range(1..it.records))),
    };
    // The second time it begins at the calls that are left: an early turn is reached, no late one.
    let twice: Vec<_> = (0..count(TWICE))
        .map(|_| {
            let second = match random.random_range(0..2) {
                0 => Point::Turn(random.random_range(0..4), Side::Before),
                _ => Point::Turn(random.random_range(0..4), Side::After),
            };
            vec![any(&mut random), second]
        })
        .collect();
    let (instants_of, twice_of) = (instants.len(), twice.len());
    [
        share(turns(Side::Before)),
        share(turns(Side::After)),
        share(writes),
        (instants, instants_of),
        (twice, twice_of),
    ]
}

fn row(site: &dyn Site, crossing: &Crossing) -> Row {
    let it = undisturbed(site, crossing);
    let mut row = Row { server: site.name(), columns: Default::default(), failures: Vec::new() };
    let mut number = 1;
    for (plan, column) in plan(&it, asked()).into_iter().zip(&mut row.columns) {
        let (cells, of) = plan;
        column.of = of;
        for points in cells {
            column.tried += 1;
            match cell(site, crossing, &it, number, &points) {
                Became::Same => column.same += 1,
                Became::Told => column.told += 1,
                Became::Late => column.late += 1,
                Became::Other(what) => {
                    let words: Vec<_> = points.iter().map(Point::to_string).collect();
                    let place = format!("{}, killed {}", site.name(), words.join(", then "));
                    row.failures.push(format!("{place}:\n{what}"));
                }
            }
            number += 1;
        }
    }
    row
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("| Server | {} |\n|---|", KINDS.join(" | "));
    text.push_str(&"---|".repeat(KINDS.len()));
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row.server);
        for Column { of, tried, same, told, late } in row.columns {
            let _ = write!(text, " {same}");
            for (count, word) in [(told, "told"), (late, "over before")] {
                if count > 0 {
                    let _ = write!(text, ", {count} {word}");
                }
            }
            let wrong = tried - same - told - late;
            if wrong > 0 {
                let _ = write!(text, ", **{wrong} wrong**");
            }
            let _ = if of == tried { write!(text, " |") } else { write!(text, " (of {of}) |") };
        }
        text.push('\n');
    }
    text
}

#[test]
fn killed_anywhere_and_taken_up_it_ends_as_if_nothing_had_happened() {
    let begun = Instant::now();
    let only = std::env::var("ROTATE_CRASH_ONLY").ok().and_then(|n| n.parse::<usize>().ok());
    let chosen = site::ALL.into_iter().enumerate();
    let chosen = chosen.filter(|(n, _)| only.is_none_or(|only| only == *n));
    let left = Mutex::new(chosen.map(|(_, start)| start).rev().collect::<Vec<_>>());
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(start) = { left.lock().unwrap().pop() } {
                    let crossing = Arc::default();
                    let Some(site) = start(&crossing) else { continue };
                    let row = row(site.as_ref(), &crossing);
                    // Each as it comes: the whole table takes minutes.
                    println!("{}", table(std::slice::from_ref(&row)));
                    rows.lock().unwrap().push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| row.server);
    let table = table(&rows);
    println!("{table}\nin {} s", begun.elapsed().as_secs());
    let failures: Vec<_> = rows.iter().flat_map(|row| row.failures.clone()).collect();
    docs::write(&table, rows.iter().map(Row::tried).sum());
    assert!(failures.is_empty(), "{} wrong\n{}", failures.len(), failures.join("\n\n"));
}
