//! Many: what grows faster than their number would be late.

use std::time::Instant;

use rotate::engine::call::{Answer, Event, Fault, Reason, Wall, What};
use rotate::engine::plan::Plan;
use rotate::engine::run::Run;

use crate::bench::{Bench, entry};

/// Plans, begins and answers everything with a refusal; how long that took in milliseconds.
fn refused_everywhere(count: usize) -> (u128, usize) {
    let team = "vars = { team = \"blue\" }\n";
    let mut text = String::from("[role.mail]\n");
    for number in 0..count {
        let (kind, more) = if number % 2 == 0 { ("key", "") } else { ("team-key", team) };
        text += &entry("mail", &format!("k{number}"), kind, more);
    }
    text += "[role.ci]\n";
    for number in 0..count {
        text += &entry("ci", &format!("k{number}"), "team-key", team);
    }
    let bench = Bench::of(&text);
    let began = Instant::now();
    let plan: Plan = bench.contain();
    let mut run = Run::new(plan);
    let mut now = run.now();
    let mut handle = |run: &mut Run, what| {
        let at = run.wake().unwrap_or(now).min(now.plus(20)).max(now);
        now = at;
        run.handle(at, Event { wall: Wall(0), what }).unwrap();
    };
    handle(&mut run, What::Started);
    let mut calls = 0;
    while !run.is_done() {
        let mut ids = Vec::new();
        while let Some((id, _)) = run.poll() {
            ids.push(id);
        }
        calls += ids.len();
        if ids.is_empty() {
            handle(&mut run, What::Tick);
        }
        for id in ids {
            let no = Answer::Fault(Fault::Refused(Reason::Refused.into()));
            handle(&mut run, What::Answered(id, no));
        }
    }
    let report = run.report();
    assert_eq!(report.credentials.len(), count);
    (began.elapsed().as_millis(), calls)
}

#[test]
fn ten_times_as_many_take_about_ten_times_as_long() {
    let (few, calls) = refused_everywhere(400);
    let (many, _) = refused_everywhere(4_000);
    assert!(calls >= 800);
    // Quadratic would be a hundredfold; a busy machine is allowed a factor of three.
    assert!(many < few.max(20) * 30, "{few} ms for 400, {many} ms for 4,000");
}
