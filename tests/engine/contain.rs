//! Contain and revoke-only: kill first.

use rotate::engine::call::{Time, Verb};
use rotate::engine::capability::Order;
use rotate::engine::report::{NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

#[test]
fn it_looks_kills_makes_proves_and_sweeps() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    let report = sim.finish();
    let script = [
        "read",
        "find",
        "probe old",
        "find",
        "revoke",
        "issue",
        "probe made-up",
        "probe new",
        "probe old",
        "probe new",
        "probe old",
        "probe new",
        "probe old",
        "probe new",
        "find",
    ];
    assert_eq!(sim.verbs("a"), script);
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.old.revoke), (Verdict::Dead, Revoke::Accepted));
    assert_eq!((one.new.state, sim.deliveries()), (NewState::Held, 0));
    assert_eq!(one.old.proof.as_ref().unwrap().control.as_deref(), Some("new"));
    assert_eq!(report.exit_code, 0, "{:#?}", report.credentials);
    sim.no_orphan();
}

#[test]
fn revoke_only_makes_nothing_and_proves_by_the_admin() {
    let bench = Bench::with(&["key"]).options(|options| options.revoke_only = true);
    let mut sim = Sim::contain(&bench);
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Issue, "a"), []);
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::NotIssued));
    assert_eq!(one.old.proof.as_ref().unwrap().control.as_deref(), Some("admin"));
    assert_eq!(report.exit_code, 0);
}

#[test]
fn a_look_that_hangs_delays_the_kill_by_two_seconds_and_costs_the_claim() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.hangs = vec![Verb::Probe];
    sim.until(Time(5_000));
    let kill = sim.first(Verb::Revoke, "a").unwrap();
    assert!(kill <= Time(2_020), "{} ms", kill.0);
    sim.server.manners.hangs.clear();
    let report = sim.finish();
    let old = &report.credentials[0].old;
    assert_eq!(old.verdict, Verdict::Unproven);
    assert!(old.why.contains("never seen alive"), "{}", old.why);
}

/// Nothing but the list tells its handle, and asking for it makes nothing.
#[test]
fn a_list_whose_answer_is_lost_is_asked_for_again() {
    let by_handle = || {
        Bench::with(&["key"]).can("key", |can| {
            can.verbs.get_mut(&Verb::Revoke).unwrap().truncate(1);
        })
    };
    let mut sim = Sim::contain(&by_handle());
    // That of the run's own first list is one of them.
    sim.server.manners.cuts = Some((Verb::Find, 4));
    let report = sim.finish();
    assert!(sim.first(Verb::Revoke, "a").unwrap() < Time(3_000));
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
    assert_eq!(report.exit_code, 0, "{:#?}", report.credentials);

    // Not for ever: a person is told what to do.
    let mut sim = Sim::contain(&by_handle());
    sim.server.manners.cuts = Some((Verb::Find, u32::MAX));
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.old.revoke), (Verdict::Alive, Revoke::ByHand));
    assert!(one.todo.iter().any(|todo| todo.what == "revoke the old mail/a"), "{:#?}", one.todo);
}

/// Only the list tells the handle, and only the handle can be revoked: the list is asked for until
/// it answers, and nobody is sent to do it by hand meanwhile.
#[test]
fn what_a_revocation_needs_and_a_slow_provider_did_not_tell_is_asked_for_again() {
    let by_handle_alone = Bench::with(&["key"]).can("key", |can| {
        can.verbs.get_mut(&Verb::Revoke).unwrap().truncate(1);
    });
    let mut sim = Sim::contain(&by_handle_alone);
    sim.server.manners.hangs = vec![Verb::Find];
    sim.until(Time(25_000));
    assert_eq!(sim.first(Verb::Revoke, "a"), None);
    sim.server.manners.hangs.clear();
    let report = sim.finish();
    let kill = sim.first(Verb::Revoke, "a").unwrap();
    assert!(kill < Time(45_000), "{} ms", kill.0);
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);
    sim.no_orphan();

    // What never answers is left to a person when the provider's time is over, and no sooner.
    let mut sim = Sim::contain(&by_handle_alone);
    sim.server.manners.hangs = vec![Verb::Find];
    let old = &sim.finish().credentials[0].old;
    assert_ne!(old.revoke, Revoke::Accepted);
}

#[test]
fn a_list_that_a_revocation_needs_is_waited_for_and_one_it_does_not_need_is_not() {
    let slow_list = |bench: Bench| {
        let mut sim = Sim::contain(&bench);
        sim.server.manners.hangs = vec![Verb::Find];
        sim.finish();
        sim.first(Verb::Revoke, "a").unwrap()
    };
    let own = Bench::with(&["key"]).can("key", |can| {
        can.verbs.get_mut(&Verb::Revoke).unwrap().remove(0);
    });
    assert!(slow_list(own) < Time(2_020));
    // By handle first; when the list has failed, the key ends itself.
    assert!(slow_list(Bench::with(&["key"])) < Time(21_000));
}

#[test]
fn a_value_that_cannot_be_read_is_revoked_by_its_handle_all_the_same() {
    let text = "[role.mail]\n".to_owned() + &entry("mail", "a", "key", "handle = \"key_2\"\n");
    let mut sim = Sim::contain(&Bench::of(&text));
    let old = sim.old("a");
    sim.server.places.retain(|place, _| place == "env:ROOT");
    let report = sim.finish();
    assert!(!sim.server.lives(old));
    let one = &report.credentials[0];
    assert_eq!((one.old.revoke, one.old.verdict), (Revoke::Accepted, Verdict::Unproven));
    assert!(one.old.why.starts_with("its value was not read"), "{}", one.old.why);
    assert_eq!((one.new.state, report.exit_code), (NewState::Held, 3));
}

#[test]
fn what_only_a_person_can_end_is_alive_at_once_and_the_page_is_named() {
    let mut sim = Sim::contain(&Bench::with(&["token"]));
    let report = sim.finish();
    assert!(sim.now < Time(5_000), "nobody waits for {} ms", sim.now.0);
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.old.revoke), (Verdict::Alive, Revoke::ByHand));
    assert_eq!(one.todo[0].at.as_deref(), Some("https://lab.example/tokens"));
    assert_eq!(report.exit_code, 4);
}

#[test]
fn a_kind_without_a_probe_is_ended_and_nothing_is_claimed() {
    let bench = Bench::with(&["key"]).can("key", |can| {
        can.verbs.remove(&Verb::Probe);
    });
    let mut sim = Sim::contain(&bench);
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((one.old.revoke, one.old.verdict), (Revoke::Accepted, Verdict::Unproven));
    assert_eq!((one.new.state, report.exit_code), (NewState::Unproven, 3));
}

#[test]
fn a_probe_that_costs_is_never_used() {
    use rotate::engine::capability::Effect;
    for effect in [Effect::Costs, Effect::Sends] {
        let mut sim = Sim::contain(&Bench::with(&["key"]).can("key", |can| can.effect = effect));
        sim.finish();
        assert_eq!(sim.times(Verb::Probe, "a"), []);
    }
}

#[test]
fn a_kind_that_nothing_here_issues_leaves_that_to_a_person() {
    let bench = Bench::with(&["key"]).can("key", |can| {
        can.verbs.remove(&Verb::Issue);
    });
    let report = Sim::contain(&bench).finish();
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::NotIssued));
    assert_eq!(one.todo[0].what, "issue a new mail/a");
    assert_eq!(report.exit_code, 3);
}

#[test]
fn an_issue_that_must_come_first_gets_five_seconds_and_goes_on_afterwards() {
    let bench = Bench::with(&["key"]).can("key", |can| can.order = Order::IssueFirst);
    let mut quick = Sim::contain(&bench);
    quick.finish();
    assert!(quick.first(Verb::Issue, "a") < quick.first(Verb::Revoke, "a"));

    let mut slow = Sim::contain(&bench);
    slow.server.manners.person = 9_000;
    let report = slow.finish();
    let kill = slow.first(Verb::Revoke, "a").unwrap();
    assert!((Time(5_000)..Time(7_500)).contains(&kill), "{} ms", kill.0);
    assert_eq!(slow.times(Verb::Issue, "a").len(), 1, "and what came late is taken");
    assert_eq!(report.credentials[0].new.state, NewState::Held);
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
}

#[test]
fn a_roll_is_one_call_and_its_grace_is_ended_at_once() {
    let mut sim = Sim::contain(&Bench::with(&["rolling"]));
    let report = sim.finish();
    let verbs = sim.verbs("a");
    assert_eq!(verbs[..4], ["read", "probe old", "roll", "finish"]);
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
    assert_eq!(report.exit_code, 0);
}

#[test]
fn a_roll_signed_by_one_that_was_refused_is_not_sent() {
    let mut sim = Sim::contain(&Bench::with(&["rolling"]));
    sim.server.kill(sim.old("a"));
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Roll, "a"), []);
    let one = &report.credentials[0];
    assert_eq!((one.old.revoke, one.old.verdict), (Revoke::ByHand, Verdict::Unproven));
}

#[test]
fn a_lost_roll_is_never_sent_again() {
    let mut sim = Sim::contain(&Bench::with(&["rolling"]));
    sim.server.manners.lose_issues = 1;
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Roll, "a").len(), 1);
    let one = &report.credentials[0];
    assert_eq!((one.old.revoke, one.new.state), (Revoke::Lost, NewState::NotIssued));
    assert!(one.todo.iter().any(|todo| todo.what.contains("may have been made and lost")));
}

#[test]
fn a_refused_way_is_followed_by_the_next_and_a_lost_one_is_not() {
    let mut refused = Sim::contain(&Bench::with(&["key"]));
    let root = refused.server.places["env:ROOT"];
    refused.server.kill(root);
    let report = refused.finish();
    assert!(refused.lines.iter().any(|line| line.ends_with("revoke #0 as lab/old:mail/a")));
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);

    let never = Bench::with(&["key"]).can("key", |can| {
        can.verbs.get_mut(&Verb::Revoke).unwrap()[0].steps[0].again = false;
    });
    let mut lost = Sim::contain(&never);
    lost.server.manners.lose_revokes = 1;
    let report = lost.finish();
    assert_eq!(lost.times(Verb::Revoke, "a").len(), 1);
    assert_eq!(report.credentials[0].old.revoke, Revoke::Lost);
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead, "and yet it is dead");
}

#[test]
fn a_lost_answer_to_what_may_be_said_twice_is_said_twice() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lose_revokes = 1;
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Revoke, "a").len(), 2);
    assert_eq!(report.credentials[0].old.revoke, Revoke::Accepted);
}

#[test]
fn minted_sessions_are_ended_after_the_password() {
    let mut sim = Sim::contain(&Bench::with(&["password"]));
    let report = sim.finish();
    let verbs = sim.verbs("a");
    let at = |verb: &str| verbs.iter().position(|it| it == verb).unwrap();
    assert!(at("revoke") < at("evict") && at("evict") < at("generate"), "{verbs:?}");
    assert!(at("generate") < at("issue"));
    assert_eq!(report.credentials[0].new.state, NewState::Held);
}

#[test]
fn a_place_that_cannot_be_written_leaves_the_new_one_in_escrow() {
    let bench = Bench::with(&["key"]).options(|options| options.deliver = true);
    let mut sim = Sim::contain(&bench);
    sim.server.unwritable.insert("dotenv:/srv/mail/.env#A".to_owned());
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((one.new.state, one.old.verdict), (NewState::Escrowed, Verdict::Dead));
    assert_eq!((one.new.not_delivered.len(), report.exit_code), (1, 3));
}

#[test]
fn a_place_that_cannot_be_written_keeps_the_new_one_from_no_other() {
    const FIRST: &str = "dotenv:/srv/mail/.env#A";
    const SECOND: &str = "file:/srv/mail/key";
    for (stuck, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let more = format!("deliver = [\"{SECOND}\"]\n");
        let text = format!("[role.mail]\n{}", entry("mail", "a", "key", &more));
        let bench = Bench::of(&text).options(|options| options.deliver = true);
        let mut sim = Sim::contain(&bench);
        sim.server.unwritable.insert(stuck.to_owned());
        let report = sim.finish();
        let new = &report.credentials[0].new;
        assert_eq!((new.state, report.exit_code), (NewState::Escrowed, 3));
        let [held] = new.delivered.as_slice() else { panic!("{:?}", new.delivered) };
        let [left] = new.not_delivered.as_slice() else { panic!("{:?}", new.not_delivered) };
        assert_eq!((held.to.as_str(), left.to.as_str()), (other, stuck));
        assert!(sim.server.lives(sim.server.places[other]));
        let [todo] = report.credentials[0].todo.as_slice() else { panic!() };
        let what = format!("deliver the new mail/a to {stuck}: its place cannot be written");
        assert_eq!(todo.what, what);
    }
}

#[test]
fn delivery_waits_for_the_agent_s_end_and_the_evidence() {
    let text = "[role.mail]\nstop = [\"true\"]\nevidence = [\"/srv/mail/logs/**\"]\n".to_owned()
        + &entry("mail", "a", "key", "");
    let bench = Bench::of(&text).options(|options| options.deliver = true);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let line = |what: &str| sim.lines.iter().find(|line| line.contains(what)).unwrap();
    assert!(line(" stop ").starts_with("       0 ms"), "at time 0, beside everything");
    assert!(line(" preserve ").starts_with("       0 ms"));
    assert!(line(" deliver ").trim_start() > "1500 ms", "{}", line(" deliver "));
    assert!(sim.first(Verb::Revoke, "a").unwrap() < Time(1_000), "and it delays no kill");

    let mut stuck = Sim::contain(&bench);
    stuck.server.stop_fails = true;
    let report = stuck.finish();
    assert_eq!((stuck.deliveries(), report.credentials[0].new.state), (0, NewState::Escrowed));
}

#[test]
fn an_entry_that_cannot_be_used_is_reported_and_the_rest_is_killed() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + &entry("mail", "b", "key", "").replace("provider = \"lab\"", "provider = \"lap\"");
    let report = Sim::contain(&Bench::of(&text)).finish();
    let ids: Vec<_> =
        report.credentials.iter().map(|one| (one.id.as_str(), one.old.verdict)).collect();
    assert_eq!(ids, [("mail/a", Verdict::Dead), ("mail/b", Verdict::Unproven)]);
    assert!(report.credentials[1].old.why.starts_with("inventory line"));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_key_in_the_hands_of_an_admin_that_cannot_be_read_ends_itself() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.places.remove("env:ROOT");
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!(one.old.revoke, Revoke::Accepted);
    assert!(one.new.why.as_ref().unwrap().contains("its place cannot be read"), "{:?}", one.new);
}
