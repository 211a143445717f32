//! Crashes: at every event, once and twice, and what is known afterwards.

use rotate::engine::call::{Event, Time, Verb, Wall};
use rotate::engine::plan::Plan;
use rotate::engine::report::{NewState, Verdict};
use rotate::engine::run::Run;

use crate::bench::{Bench, entry};
use crate::server::Manners;
use crate::sim::Sim;

fn everything() -> Bench {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\nstop = [\"true\"]\nevidence = [\"/srv/logs/**\"]\n".to_owned()
        + &entry("mail", "boss", "root", "")
        + &entry("mail", "a", "key", "admin = \"mail/boss\"\n")
        + &entry("mail", "b", "password", "")
        + &entry("mail", "c", "rolling", "")
        + &entry("mail", "d", "team-key", team)
        + &entry("mail", "e", "team-key", team)
        + &entry("mail", "f", "token", "");
    Bench::of(&text)
}

/// Verdicts and states, in the order of the plan.
fn outcome(sim: &Sim) -> Vec<(String, Verdict, NewState)> {
    let report = sim.report();
    report.credentials.iter().map(|it| (it.id.clone(), it.old.verdict, it.new.state)).collect()
}

/// Crashes after each of the first events, then again a little later.
fn at_every_event(bench: &Bench, plan: &Plan, manners: &Manners) {
    let fresh = || {
        let mut sim = Sim::of(bench, plan.clone());
        sim.server.manners = manners.clone();
        sim
    };
    let mut whole = fresh();
    whole.finish();
    let expected = outcome(&whole);
    let times: Vec<Time> = whole.events.iter().map(|(at, _)| *at).collect();
    for (number, at) in times.iter().enumerate() {
        let mut sim = fresh();
        sim.until_event(number + 1);
        sim.crash();
        if number % 3 == 0 {
            sim.until(at.plus(70));
            sim.crash();
        }
        sim.finish();
        for ((id, verdict, state), (_, expected_verdict, expected_state)) in
            outcome(&sim).into_iter().zip(&expected)
        {
            // A roll may be cut at the one instant where nobody can tell what became of it.
            let may_be_lost = id.ends_with("/c") && sim.calls_of(Verb::Roll) == 1;
            // An old one that was never answered before the kill is never seen alive.
            let unseen = verdict == Verdict::Unproven;
            if !(may_be_lost || unseen) {
                assert_eq!(verdict, *expected_verdict, "{id}, crash after event {number}");
                assert_eq!(state, *expected_state, "{id}, crash after event {number}");
            }
        }
        sim.no_orphan();
    }
}

#[test]
fn a_contain_that_is_cut_anywhere_ends_as_if_it_had_not_been() {
    let bench = everything();
    at_every_event(&bench, &bench.contain(), &Manners { latency: 50, ..Manners::default() });
    let late = Manners { latency: 50, lag: 4_000, list_lag: 1_000, ..Manners::default() };
    at_every_event(&bench, &bench.contain(), &late);
}

#[test]
fn a_delivering_contain_too() {
    let bench = everything();
    let manners = Manners { latency: 50, ..Manners::default() };
    at_every_event(&bench, &bench.contain_with(true), &manners);
}

#[test]
fn and_a_rehearsal() {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + &entry("mail", "b", "password", "")
        + &entry("mail", "d", "team-key", team)
        + &entry("mail", "e", "team-key", team);
    let bench = Bench::of(&text);
    let manners = Manners { latency: 50, ..Manners::default() };
    at_every_event(&bench, &bench.rehearse().unwrap(), &manners);
}

#[test]
fn a_complete_proof_stands_and_one_under_way_begins_again() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + &entry("mail", "b", "password", "");
    let bench = Bench::of(&text).can("password", |can| can.proof.hold_ms = 60_000);
    let mut sim = Sim::contain(&bench);
    sim.until(Time(30_000));
    assert_eq!(sim.verdict("a"), Verdict::Dead);
    let uses = sim.times(Verb::Probe, "a").len();
    sim.crash();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
    sim.finish();
    assert_eq!(sim.times(Verb::Probe, "a").len(), uses, "and is not asked for again");
    assert!(sim.now >= Time(90_000), "no refusal from before counts");
    assert_eq!(sim.verdict("b"), Verdict::Dead);
}

#[test]
fn a_look_that_was_cut_and_is_wanted_no_more_stops_nobody() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "boss", "root", "")
        + &entry("mail", "a", "key", "admin = \"mail/boss\"\n");
    // The issue of the admin is cut, then the look for what it made: as its five seconds end, and
    // when its phase is over.
    for second in [7_000, 9_000, 12_000] {
        let mut sim = Sim::contain(&Bench::of(&text));
        let hangs = vec![Verb::Find];
        sim.server.manners = Manners { latency: 2_546, hangs, ..Manners::default() };
        for ms in [2_000, second] {
            sim.until(Time(ms));
            sim.crash();
        }
        let report = sim.finish();
        assert!(report.finished.is_some());
    }
}

#[test]
fn bytes_that_were_held_are_not_chosen_again() {
    let bench = Bench::with(&["password"]);
    let chosen = |sim: &Sim| sim.lines.iter().filter(|line| line.contains("generate")).count();
    let mut held = Sim::contain(&bench);
    while chosen(&held) == 0 {
        held.until_event(held.events.len() + 1);
    }
    let mut cut = Sim::contain(&bench);
    cut.until_event(held.events.len());
    cut.crash();
    cut.finish();
    assert_eq!(chosen(&cut), 2, "nobody held them");
    held.until_event(held.events.len() + 1);
    held.crash();
    held.finish();
    assert_eq!(chosen(&held), 1);
}

/// The wall clock is for the report alone: one that jumps a year to and fro changes no call and no
/// verdict.
#[test]
fn a_clock_that_jumps_changes_no_call_and_no_verdict() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let bench = everything();
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let mut jumping = Run::new(sim.run.plan().clone());
    let mut calls = Vec::new();
    for (n, (at, event)) in sim.events.iter().enumerate() {
        let jump = if n % 2 == 0 { YEAR_MS } else { -YEAR_MS };
        let event = Event { wall: Wall(event.wall.0 + jump), what: event.what.clone() };
        jumping.handle(*at, event).unwrap();
        calls.extend(std::iter::from_fn(|| jumping.poll()));
    }
    let made: Vec<_> = sim.calls.iter().map(|(_, id, call)| (*id, call.clone())).collect();
    assert!(made.len() > 20 && calls == made, "the same calls");
    let verdicts: Vec<_> =
        jumping.report().credentials.iter().map(|it| (it.id.clone(), it.old.verdict)).collect();
    let expected: Vec<_> = outcome(&sim).into_iter().map(|(id, said, _)| (id, said)).collect();
    assert_eq!(verdicts, expected);
    assert!(jumping.is_done());
}
