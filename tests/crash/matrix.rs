//! The matrix: every server, every point. The servers work beside each other, the cells of one of
//! them one after another, so that its turns can be counted.
//!
//! A share of the points is tried, another one each day, so that a week of runs has been
//! everywhere; `ROTATE_CRASH=all` tries every one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::cell::{Became, Point, Undisturbed, cell, undisturbed};
use crate::docs;
use crate::gate::{Crossing, Side};
use crate::journal::Write;
use crate::site::{self, Site};

/// How many points of each kind a server gets in a run of the tests.
const SHARE: usize = 6;

/// How often a run is killed at a random instant, and how often twice: in a share, and in all.
const RANDOM: (usize, usize) = (4, 40);
const TWICE: (usize, usize) = (3, 30);

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

fn all() -> bool {
    std::env::var_os("ROTATE_CRASH").is_some_and(|what| what == "all")
}

/// Points of one kind, and how many there are.
type Plan = (Vec<Vec<Point>>, usize);

/// The days since 1970: which share is tried.
fn today() -> u64 {
    let seconds = jiff::Timestamp::now().as_second();
    u64::try_from(seconds).unwrap_or_default() / 86_400
}

fn share(points: Vec<Point>) -> Plan {
    let of = points.len();
    let step = if all() { 1 } else { of.div_ceil(SHARE).max(1) };
    let first = usize::try_from(today()).unwrap_or_default() % step;
    let tried = points.into_iter().skip(first).step_by(step);
    (tried.map(|point| vec![point]).collect(), of)
}

fn plan(it: &Undisturbed, seed: u64) -> [Plan; KINDS.len()] {
    let mut random = StdRng::seed_from_u64(seed);
    let took = u64::try_from(it.took.as_millis()).unwrap_or(1_000).max(1);
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
    // The second time it begins at the calls that are left: an early turn is reached, a late one not.
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
    for (plan, column) in plan(&it, today()).into_iter().zip(&mut row.columns) {
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
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let one = |start: fn(&Arc<Crossing>) -> Option<Box<dyn Site>>| {
            let crossing = Arc::default();
            let site = start(&crossing)?;
            Some(row(site.as_ref(), &crossing))
        };
        let only = std::env::var("ROTATE_CRASH_ONLY").ok().and_then(|n| n.parse::<usize>().ok());
        let chosen = site::ALL.into_iter().enumerate();
        let chosen = chosen.filter(|(n, _)| only.is_none_or(|only| only == *n));
        let running: Vec<_> = chosen.map(|(_, start)| scope.spawn(move || one(start))).collect();
        running.into_iter().filter_map(|one| one.join().unwrap()).collect()
    });
    let table = table(&rows);
    println!("{table}");
    println!("in {} s", begun.elapsed().as_secs());
    let failures: Vec<_> = rows.iter().flat_map(|row| row.failures.clone()).collect();
    docs::write("matrix", &table);
    assert!(failures.is_empty(), "{} wrong\n{}", failures.len(), failures.join("\n\n"));
}
