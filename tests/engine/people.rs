//! What a person says: stop, done, wait; and a journal that can no longer be written.

use rotate::engine::call::{Call, Time, Told, Verb};
use rotate::engine::capability::Rate;
use rotate::engine::report::{NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

#[test]
fn stopped_at_any_time_it_makes_nothing_more_ends_what_is_being_ended_and_goes_on_later() {
    for ms in (0..1_000).step_by(20) {
        let mut sim = Sim::contain(&Bench::with(&["key", "password", "rolling"]));
        sim.until(Time(ms));
        let makes = |sim: &Sim| sim.calls.iter().filter(|(.., call)| call.makes()).count();
        let rolls = |sim: &Sim| sim.times(Verb::Roll, "c").len();
        let before = makes(&sim) - rolls(&sim);
        sim.tell(Told::Stop);
        let report = sim.finish();
        assert_eq!(makes(&sim) - rolls(&sim), before, "stopped at {ms} ms\n{}", sim.told());
        assert_eq!(report.exit_code, 130);
        assert!(report.finished.is_none());

        sim.crash();
        let report = sim.finish();
        for one in &report.credentials {
            assert_eq!(one.old.verdict, Verdict::Dead, "{} at {ms}: {}", one.id, one.old.why);
            assert_eq!(one.new.state, NewState::Held, "{} stopped at {ms} ms", one.id);
        }
        assert_eq!(report.exit_code, 0, "stopped at {ms} ms");
        sim.no_orphan();
    }
}

#[test]
fn what_stood_in_line_when_it_was_stopped_is_asked_for_again() {
    let crowded = |ms| {
        let mut bench = Bench::with(&["key", "key", "key"]);
        let limits = &mut bench.capabilities.providers.get_mut("lab").unwrap().limits;
        limits.in_flight = 1;
        limits.calls = Some(Rate { count: 1, per_ms: 700 });
        let mut sim = Sim::rehearse(&bench);
        sim.until(Time(ms));
        sim.tell(Told::Stop);
        sim.finish();
        sim.crash();
        sim
    };
    for ms in (0..6_000).step_by(250) {
        let mut sim = crowded(ms);
        let from = sim.now;
        let report = sim.finish();
        for one in &report.credentials {
            assert_eq!(one.old.verdict, Verdict::Dead, "{} at {ms}: {}", one.id, one.old.why);
        }
        assert!(sim.now.since(from) < 60_000, "nobody waited in vain: stopped at {ms} ms");
    }
}

#[test]
fn a_revocation_whose_answer_a_stop_did_not_wait_for_is_sent_again() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.hangs = vec![Verb::Revoke];
    sim.until(Time(5_000));
    sim.tell(Told::Stop);
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.revoke, Revoke::Lost);
    let before = sim.times(Verb::Revoke, "a").len();
    sim.server.manners.hangs.clear();
    sim.crash();
    let report = sim.finish();
    assert!(sim.times(Verb::Revoke, "a").len() > before, "{}", sim.told());
    assert_eq!((sim.verdict("a"), report.exit_code), (Verdict::Dead, 0));
}

#[test]
fn a_stop_does_not_wait_for_a_provider_that_is_away() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.unreachable_until = Time(3_600_000);
    sim.until(Time(10_000));
    sim.tell(Told::Stop);
    sim.finish();
    assert!(sim.now < Time(11_000), "{} ms", sim.now.0);
}

#[test]
fn done_by_hand_is_proved_at_once() {
    let mut sim = Sim::contain(&Bench::with(&["token", "key"]));
    sim.until(Time(5_000));
    assert_eq!(sim.verdict("a"), Verdict::Alive);
    sim.server.kill(sim.old("a"));
    let subject = sim.subject("a");
    sim.tell(Told::HandDone(subject));
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Refused, "no control is at hand");
    assert!(report.finished.is_some());
}

#[test]
fn a_person_who_is_wrong_is_not_believed() {
    let mut sim = Sim::contain(&Bench::with(&["token"]));
    sim.until(Time(1_000));
    let subject = sim.subject("a");
    sim.tell(Told::HandDone(subject));
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Alive);
}

/// Said of one that a stop has interrupted, it makes no new one: what dies with it waits for that
/// as before.
#[test]
fn done_by_hand_replaces_nothing() {
    let team = "vars = { team = \"t1\" }";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", team)
        + &entry("mail", "b", "team-key", team);
    let mut sim = Sim::rehearse(&Bench::of(&text));
    sim.server.manners.kills_team = true;
    sim.server.manners.slow = Some(("team-key", Verb::Issue, 3_000));
    sim.until(Time(1_000));
    sim.tell(Told::Stop);
    let subject = sim.subject("b");
    sim.tell(Told::HandDone(subject));
    sim.crash();
    sim.finish();
    let delivered = sim.deliveries();
    assert_eq!(delivered, 2, "{}", sim.told());
}

#[test]
fn a_wait_that_is_over_leaves_with_what_is_known() {
    let bench = Bench::with(&["key"]).options(|options| options.wait_ms = Some(20_000));
    let mut sim = Sim::contain(&bench);
    sim.server.manners.lag = 70_000;
    let report = sim.finish();
    assert!((Time(20_000)..Time(20_100)).contains(&sim.now));
    assert_eq!((sim.verdict("a"), report.exit_code), (Verdict::Dying, 3));
    assert!(report.finished.is_none());
    // Taken up again, it waits as long again, and so on until it is through.
    for _ in 0..4 {
        sim.crash();
        sim.finish();
    }
    assert_eq!(sim.verdict("a"), Verdict::Dead);
}

/// What is under way may change something and is waited for; what is said meanwhile begins nothing.
#[test]
fn said_done_while_a_run_is_leaving_it_leaves_and_proves_it_when_it_is_taken_up() {
    let bench = Bench::with(&["key"]).options(|options| options.wait_ms = Some(15_000));
    let mut sim = Sim::contain(&bench);
    sim.server.manners.hangs = vec![Verb::Issue];
    sim.until(Time(18_000));
    assert!(!sim.run.is_done());
    let subject = sim.subject("a");
    sim.tell(Told::HandDone(subject));
    sim.finish();
    assert!(sim.now < Time(21_000), "{} ms", sim.now.0);
    sim.server.manners.hangs.clear();
    for _ in 0..3 {
        sim.crash();
        sim.finish();
    }
    assert_eq!(sim.verdict("a"), Verdict::Dead, "{}", sim.told());
}

#[test]
fn a_lost_journal_stops_what_makes_and_nothing_that_kills() {
    for ms in (0..400).step_by(20) {
        let mut sim = Sim::contain(&Bench::with(&["key", "rolling", "password"]));
        sim.until(Time(ms));
        let from = sim.calls.len();
        sim.tell(Told::JournalLost);
        let report = sim.finish();
        let made = sim.calls[from..].iter().filter(|(.., call)| Call::makes(call));
        assert_eq!(made.count(), 0, "lost at {ms} ms");
        assert!(!sim.server.lives(sim.old("a")) && !sim.server.lives(sim.old("c")));
        assert!(report.exit_code == 1 || report.exit_code == 4, "{}", report.exit_code);
    }
}

#[test]
fn a_rehearsal_without_a_journal_kills_nothing_more() {
    for ms in (0..400).step_by(10) {
        let mut sim = Sim::rehearse(&Bench::with(&["key"]));
        sim.until(Time(ms));
        let killed = sim.first(Verb::Revoke, "a").is_some();
        sim.tell(Told::JournalLost);
        sim.finish();
        assert_eq!(sim.first(Verb::Revoke, "a").is_some(), killed, "lost at {ms} ms");
    }
}

#[test]
fn the_agent_s_end_is_tried_again_after_a_crash_and_what_failed_is_said() {
    let text = "[role.mail]\nstop = [\"true\"]\n".to_owned() + &entry("mail", "a", "key", "");
    let mut sim = Sim::contain(&Bench::of(&text));
    sim.until(Time(20));
    sim.crash();
    let report = sim.finish();
    assert_eq!(sim.lines.iter().filter(|line| line.contains(" stop ")).count(), 2);
    assert_eq!(report.exit_code, 0);

    let mut sim = Sim::contain(&Bench::of(&text));
    sim.server.stop_fails = true;
    let report = sim.finish();
    assert_eq!(report.exit_code, 3);
    assert!(report.todo.iter().any(|todo| todo.what.contains("was not stopped")));
}
