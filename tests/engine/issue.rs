//! Issue: once, and never again before somebody has looked.

use rotate::engine::call::{Time, Told, Verb};
use rotate::engine::capability::Order;
use rotate::engine::report::{NewState, Todo, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

#[test]
fn a_lost_answer_is_looked_for_ended_and_then_issued_anew() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lose_issues = 1;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((sim.times(Verb::Issue, "a").len(), one.new.state), (2, NewState::Held));
    assert_eq!(one.orphans.len(), 1);
    assert_eq!(one.orphans[0].label.as_deref(), Some("rotate-lab-r1-0"));
    assert!(one.orphans[0].revoked);
    assert_eq!(report.exit_code, 0);
    sim.no_orphan();
}

#[test]
fn what_a_list_shows_late_is_ended_in_the_sweep() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lose_issues = 1;
    sim.server.manners.list_lag = 27_000;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert!(one.orphans.iter().all(|orphan| orphan.revoked) && one.orphans.len() == 1);
    sim.no_orphan();
}

#[test]
fn what_has_the_handle_of_the_dead_one_is_told_from_it_by_its_label() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.until(Time(400));
    let old = sim.old("a");
    assert!(!sim.server.lives(old));
    // A request that was on its way for long arrives.
    let late = sim.server.make(Some("rotate-lab-r1-0-7".to_owned()), "mail/a");
    let of_the_dead = sim.server.key(old).unwrap().handle.clone();
    sim.server.keys.retain(|key| key.secret != old);
    sim.server.keys.last_mut().unwrap().handle.clone_from(&of_the_dead);
    let report = sim.finish();
    let orphans = &report.credentials[0].orphans;
    assert_eq!((orphans.len(), &orphans[0].handle), (1, &of_the_dead));
    assert!(orphans[0].revoked && !sim.server.lives(late));
}

#[test]
fn a_request_that_never_arrived_is_sent_again_after_looking() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lose_issue_requests = 1;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((one.orphans.len(), one.new.state), (0, NewState::Held));
    sim.no_orphan();
}

#[test]
fn three_lost_answers_are_enough() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lose_issues = u32::MAX;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((sim.times(Verb::Issue, "a").len(), one.new.state), (3, NewState::NotIssued));
    assert_eq!(one.orphans.len(), 3);
    let why = one.new.why.as_deref();
    assert_eq!(why, Some("issued, and lost with its answer: no answer in time"));
    assert_eq!(one.old.verdict, Verdict::Dead, "the admin is the control");
    sim.no_orphan();
}

#[test]
fn without_labels_the_one_new_handle_is_the_orphan() {
    let mut sim = Sim::contain(&Bench::with(&["nameless"]));
    sim.server.manners.lose_issues = 1;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((one.orphans.len(), one.new.state), (1, NewState::Held));
    assert!(one.orphans[0].revoked && one.strangers.is_empty());
    let lines = &sim.lines;
    let at = |what: &str| lines.iter().position(|line| line.contains(what)).unwrap();
    assert!(at(" find ") < at(" issue "), "the list was written down before");
}

#[test]
fn without_labels_several_new_handles_are_strangers_and_none_is_touched() {
    let mut sim = Sim::contain(&Bench::with(&["nameless"]));
    sim.server.manners.lose_issues = 1;
    sim.until(Time(400));
    let attacker = sim.server.make(None, "attacker");
    let report = sim.finish();
    let one = &report.credentials[0];
    assert!(sim.server.lives(attacker));
    assert_eq!((one.orphans.len(), one.strangers.len()), (0, 2));
    assert_eq!(report.exit_code, 3);
    let looks =
        |todo: &Todo| todo.action.starts_with("look for one of the unrecognised whose name");
    assert!(one.todo.iter().any(looks), "{:#?}", one.todo);
}

/// The list shows it without saying so: what is told of it must not deny what stands beside it.
#[test]
fn without_labels_what_was_lost_may_be_one_of_the_unrecognised() {
    let mut sim = Sim::contain(&Bench::with(&["nameless"]));
    sim.server.manners.lose_issues = u32::MAX;
    sim.until(Time(400));
    sim.server.make(None, "attacker");
    let report = sim.finish();
    let one = &report.credentials[0];
    assert!(one.strangers.len() > 1, "{one:#?}");
    let why = one.new.why.as_deref();
    assert_eq!(why, Some("perhaps issued, and then one of the unrecognised: no answer in time"));
}

#[test]
fn without_labels_nobody_can_say_that_a_lost_answer_brought_nothing() {
    let mut sim = Sim::contain(&Bench::with(&["nameless"]));
    sim.server.manners.lose_issues = 1;
    sim.server.manners.reuses_handles = true;
    sim.until(Time(500));
    sim.tell(Told::JournalLost);
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((sim.times(Verb::Issue, "a").len(), one.new.state), (1, NewState::NotIssued));
    assert!(one.new.why.as_ref().unwrap().starts_with("perhaps issued"), "{:?}", one.new.why);
}

#[test]
fn another_s_key_is_named_and_left_alone() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    let before = sim.server.make(Some("ci".to_owned()), "ci");
    let responder = sim.server.make(Some("rotate-lab-r0-0".to_owned()), "ci");
    sim.until(Time(300));
    let attacker = sim.server.make(Some("backup".to_owned()), "attacker");
    let report = sim.finish();
    for secret in [before, responder, attacker] {
        assert!(sim.server.lives(secret));
    }
    use rotate::engine::report::StrangerClass::{MintedDuringRun, OlderOrUndated};
    let classes: Vec<_> = report.credentials[0].strangers.iter().map(|it| it.class).collect();
    assert!(classes.contains(&MintedDuringRun));
    assert_eq!(classes.iter().filter(|class| **class == OlderOrUndated).count(), 2);
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_handle_that_is_used_again_is_not_revoked_again() {
    let mut sim = Sim::rehearse(&Bench::with(&["key"]));
    sim.server.manners.reuses_handles = true;
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!(one.old.handle, one.new.handle);
    assert!(sim.server.lives(sim.server.places["dotenv:/srv/mail/.env#A"]));
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Delivered));
}

#[test]
fn a_person_is_waited_for_and_holds_up_neither_the_proof_nor_the_stop() {
    let by_person = || {
        let bench = Bench::with(&["key"]).can("key", |can| {
            can.verbs.get_mut(&Verb::Issue).unwrap()[0].person = true;
        });
        let mut sim = Sim::contain(&bench);
        sim.server.manners.person = 1_800_000;
        sim
    };
    let mut sim = by_person();
    sim.until(Time(60_000));
    assert_eq!(sim.verdict("a"), Verdict::Dead, "by the admin; the new one is not waited for");
    let report = sim.finish();
    assert_eq!(report.credentials[0].new.state, NewState::Held);
    assert!(sim.now > Time(1_800_000));

    let mut sim = by_person();
    sim.until(Time(60_000));
    sim.tell(Told::Stop);
    assert!(sim.run.is_done(), "nobody waits an hour for Ctrl-C");
}

#[test]
fn a_new_one_that_is_never_accepted_is_said_to_be_unproven() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.until(Time(130));
    let news: Vec<u64> =
        sim.server.keys.iter().filter(|key| key.label.is_some()).map(|key| key.secret).collect();
    assert_eq!(news.len(), 1);
    sim.server.kill(news[0]);
    let report = sim.finish();
    assert_eq!(report.credentials[0].new.state, NewState::Unproven);
    assert_eq!(report.exit_code, 3);
}

/// No list shows what a person gives: after a crash the person is asked once more, under another
/// label, and what may have come in that instant is named. The old one's verdict waits for neither.
#[test]
fn a_crash_while_a_person_is_asked_asks_again() {
    let bench = Bench::with(&["key"]).can("key", |can| {
        can.verbs.get_mut(&Verb::Issue).unwrap()[0].person = true;
        can.verbs.remove(&Verb::Find);
    });
    let mut sim = Sim::contain(&bench);
    sim.server.manners.person = 1_200_000;
    // Longer than what does not reach its provider is tried for.
    sim.until(Time(900_000));
    assert_eq!(sim.times(Verb::Issue, "a").len(), 1);
    sim.crash();
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!(sim.times(Verb::Issue, "a").len(), 2);
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Held));
    assert_eq!(one.todo.len(), 1);
    assert!(one.todo[0].what.starts_with("tokens of a new mail/a may have been lost"));
}

/// Where a revocation knows no old and new, one that is still on its way would take with it what a
/// person gives meanwhile.
#[test]
fn nobody_is_asked_before_a_revocation_that_would_end_the_new_one_has_come_home() {
    let text = format!(
        "[role.mail]\n{}{}",
        entry("mail", "a", "team-key", "vars = { team = \"t1\" }"),
        entry("mail", "b", "team-key", "vars = { team = \"t1\" }")
    );
    let bench = Bench::of(&text).can("team-key", |can| {
        can.order = Order::RevokeFirst;
        can.verbs.get_mut(&Verb::Issue).unwrap()[0].person = true;
    });
    let mut sim = Sim::contain(&bench);
    sim.server.manners.kills_team = true;
    sim.server.manners.lag = 5_000;
    sim.server.manners.person = 1_000;
    let report = sim.finish();
    let revoked = ["a", "b"].iter().flat_map(|name| sim.times(Verb::Revoke, name)).max();
    for (name, one) in ["a", "b"].into_iter().zip(&report.credentials) {
        assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Held), "{name}");
        let asked = sim.first(Verb::Issue, name).unwrap();
        assert!(asked.since(revoked.unwrap()) > 4_000, "{name}\n{}", sim.told());
    }
}

/// One that was lost on its way may arrive long after the one that was sent after it.
#[test]
fn nothing_is_granted_before_a_lost_revocation_can_no_longer_arrive() {
    let team = "vars = { team = \"t1\" }";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "grant", team)
        + &entry("mail", "b", "grant", team);
    let mut sim = Sim::contain(&Bench::of(&text));
    sim.server.manners.kills_team = true;
    sim.server.manners.lose_revokes = 1;
    let report = sim.finish();
    let lost = sim.times(Verb::Revoke, "a")[0];
    for (name, one) in ["a", "b"].into_iter().zip(&report.credentials) {
        assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Held), "{name}");
        let asked = sim.first(Verb::Issue, name).unwrap();
        assert!(asked.since(lost) >= 50_000, "{name}\n{}", sim.told());
    }
}

/// What is revoked when it is dead already ends nothing: each of its group is revoked by itself,
/// and before anything new is made that this would end.
#[test]
fn the_first_of_a_group_was_dead_before() {
    let text = format!(
        "[role.mail]\n{}{}{}",
        entry("mail", "a", "grant", "vars = { team = \"t1\" }"),
        entry("mail", "b", "grant", "vars = { team = \"t1\" }"),
        entry("mail", "c", "grant", "vars = { team = \"t1\" }")
    );
    let mut sim = Sim::contain(&Bench::of(&text));
    sim.server.manners.slow = Some(("grant", Verb::Revoke, 3_000));
    sim.server.kill(sim.old("a"));
    let report = sim.finish();
    assert_ne!(sim.verdict("a"), Verdict::Alive);
    for name in ["b", "c"] {
        assert_eq!(sim.verdict(name), Verdict::Dead, "{name}\n{}", sim.told());
    }
    let revoked = ["a", "b", "c"].map(|name| sim.first(Verb::Revoke, name).unwrap());
    let asked = ["a", "b", "c"].map(|name| sim.first(Verb::Issue, name).unwrap());
    let (last, first) = (revoked.iter().max().unwrap(), asked.iter().min().unwrap());
    assert!(first.since(*last) >= 3_000, "{}", sim.told());
    assert!(report.credentials.iter().all(|one| one.new.state == NewState::Held));
}
