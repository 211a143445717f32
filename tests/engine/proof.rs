//! The proof: each row of the table, and the traps.

use rotate::engine::call::{Answer, Identity, Liveness, Reason, Time, Told, Values, Verb, What};
use rotate::engine::capability::{Lifetime, Rate};
use rotate::engine::report::{MadeUp, NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::server::Manners;
use crate::sim::Sim;

/// The verdict on one key at a server of such manners.
fn contained(manners: Manners) -> Sim {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners = Manners { latency: 50, ..manners };
    sim.finish();
    sim
}

#[test]
fn refused_for_hold_between_acceptances_is_dead() {
    let sim = contained(Manners::default());
    let report = sim.report();
    let proof = report.credentials[0].old.proof.clone().unwrap();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
    assert_eq!((proof.refusals, proof.made_up), (3, MadeUp::Refused));
    assert!(proof.held_ms >= 10_000, "{}", proof.held_ms);
}

#[test]
fn one_that_dies_late_is_dying_and_then_dead() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lag = 40_000;
    sim.until(Time(20_000));
    assert_eq!(sim.verdict("a"), Verdict::Dying);
    assert!(sim.report().credentials[0].old.until.is_some());
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
}

#[test]
fn one_that_flaps_is_not_dead_before_it_has_stopped() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners = Manners { latency: 50, lag: 60_000, flaps: true, ..Manners::default() };
    for second in (1..60).step_by(7) {
        sim.until(Time(second * 1_000));
        assert_ne!(sim.verdict("a"), Verdict::Dead, "at {second} s");
    }
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
}

#[test]
fn a_server_that_lies_leaves_it_alive() {
    let sim = contained(Manners { lies: true, ..Manners::default() });
    assert_eq!(sim.verdict("a"), Verdict::Alive);
    assert_eq!(sim.report().exit_code, 4);
    assert!(sim.now < Time(200_000), "its provider had two minutes: {} ms", sim.now.0);
}

#[test]
fn without_any_control_it_is_refused() {
    let bench = Bench::with(&["token"]);
    let mut sim = Sim::contain(&bench);
    sim.until(Time(60));
    let subject = sim.subject("a");
    sim.server.kill(sim.old("a"));
    sim.tell(Told::HandDone(subject));
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Refused);
    assert_eq!(sim.report().exit_code, 3);
}

#[test]
fn a_control_that_the_inventory_names_makes_it_dead() {
    let text = "[role.mail]\n".to_owned() + &entry("mail", "a", "token", "control = \"root\"\n");
    let mut sim = Sim::contain(&Bench::of(&text));
    sim.until(Time(60));
    let subject = sim.subject("a");
    sim.server.kill(sim.old("a"));
    sim.tell(Told::HandDone(subject));
    let report = sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
    let proof = report.credentials[0].old.proof.clone().unwrap();
    assert_eq!(proof.control.as_deref(), Some("admin.root"));
    assert_eq!(report.credentials[0].old.revoke, Revoke::ByHand);
}

#[test]
fn a_control_of_the_run_is_its_new_one_and_never_the_burned_one() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "token", "control = \"mail/b\"\n")
        + &entry("mail", "b", "key", "");
    let mut sim = Sim::contain(&Bench::of(&text));
    sim.until(Time(60));
    let subject = sim.subject("a");
    sim.server.kill(sim.old("a"));
    sim.tell(Told::HandDone(subject));
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Dead);
}

#[test]
fn refused_from_the_start_it_was_never_seen_alive_here() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.kill(sim.old("a"));
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Unproven);
    assert!(report.credentials[0].old.why.contains("never seen alive"));
}

#[test]
fn refused_from_the_start_and_known_to_the_journal_it_is_already_dead() {
    let mut first = Sim::contain(&Bench::with(&["key"]));
    first.finish();
    let facts = first.run.facts();
    let again = Bench::with(&["key"]).options(|options| options.earlier = facts.clone());
    let mut sim = Sim::with(first.server, again.contain());
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::AlreadyDead);

    // Another value in the same place is another credential.
    let mut other = facts;
    other.get_mut("mail/a").unwrap().old.as_mut().unwrap().fingerprint = "fp9".to_owned();
    let again = Bench::with(&["key"]).options(|options| options.earlier = other);
    let mut sim = Sim::with(sim.server, again.contain());
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Unproven);
}

#[test]
fn a_blind_probe_proves_nothing() {
    let sim = contained(Manners { blind: true, ..Manners::default() });
    assert_eq!(sim.verdict("a"), Verdict::Unproven);
    assert!(sim.report().credentials[0].old.why.contains("blind"));
}

#[test]
fn a_token_that_cannot_be_recalled_expires() {
    let bench = Bench::with(&["token"]).can("token", |can| can.lives = Some(Lifetime::JwtExp));
    let mut sim = Sim::contain(&bench);
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Expires);
    assert!(sim.now < Time(5_000));
    let forever = Bench::with(&["token"]).can("token", |can| can.lives = Some(Lifetime::Forever));
    let mut sim = Sim::contain(&forever);
    sim.finish();
    assert_eq!(sim.verdict("a"), Verdict::Alive, "what never ends does not expire");
}

#[test]
fn an_outage_in_the_middle_is_no_death() {
    // The server lies, and for a while refuses everybody by name: long enough for every refusal.
    for (from, to) in [(400, 30_000), (3_000, 30_000), (200, 9_000), (5_400, 5_700)] {
        let outage = Some((Time(from), Time(to)));
        let sim = contained(Manners { lies: true, outage, ..Manners::default() });
        assert_eq!(sim.verdict("a"), Verdict::Alive, "{from}..{to}");
    }
}

#[test]
fn a_new_one_that_was_accepted_and_is_refused_later_is_not_said_to_be_held() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.until(Time(5_000));
    assert_eq!(sim.report().credentials[0].new.state, NewState::Held);
    let new = sim.server.keys.last().unwrap().secret;
    sim.server.kill(new);
    let report = sim.finish();
    let one = &report.credentials[0].new;
    let why = Some("accepted at first, and refused when it was last used");
    assert_eq!((one.state, one.why.as_deref()), (NewState::Unproven, why));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn what_a_lost_revocation_by_the_same_handle_may_have_hit_is_used_once_more() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.reuses_handles = true;
    sim.server.manners.lose_revokes = 1;
    sim.server.manners.lag = 21_000;
    sim.until(Time(45_000));
    assert_eq!((sim.verdict("a"), sim.run.is_done()), (Verdict::Dead, false), "{}", sim.told());
    // It arrives.
    let new = sim.server.keys.last().unwrap().secret;
    sim.server.kill(new);
    let report = sim.finish();
    assert_eq!(report.credentials[0].new.state, NewState::Unproven);
    assert_eq!(report.exit_code, 3);
}

#[test]
fn accepted_as_somebody_else_is_neither_alive_nor_dead() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.server.manners.lies = true;
    sim.until(Time(120));
    let old = sim.old("a");
    for key in sim.server.keys.iter_mut().filter(|key| key.secret == old) {
        key.team = "a guest".to_owned();
    }
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Unproven);
}

#[test]
fn a_password_is_guessed_only_where_the_file_allows_it() {
    let made_up = |sim: &Sim| sim.lines.iter().any(|line| line.contains("made-up"));
    let mut allowed = Sim::contain(&Bench::with(&["password"]));
    allowed.finish();
    assert!(made_up(&allowed));
    let mut bench = Bench::with(&["password"]);
    bench.capabilities.providers.get_mut("lab").unwrap().limits.refused = None;
    let mut locked = Sim::contain(&bench);
    locked.finish();
    assert!(!made_up(&locked));
    assert_eq!(locked.verdict("a"), Verdict::Dead, "the control is enough");
    let none = Some(Rate { count: 0, per_ms: 1_000 });
    bench.capabilities.providers.get_mut("lab").unwrap().limits.refused = none;
    let mut forbidden = Sim::contain(&bench);
    forbidden.finish();
    assert_eq!(forbidden.verdict("a"), Verdict::Unproven);
}

#[test]
fn the_negative_control_is_asked_once_per_kind_and_never_before_the_first_kill() {
    let mut sim = Sim::contain(&Bench::with(&["key", "key", "key"]));
    sim.finish();
    let at = |what: &str| sim.lines.iter().position(|line| line.contains(what)).unwrap();
    assert_eq!(sim.lines.iter().filter(|line| line.contains("made-up")).count(), 1);
    assert!(at("revoke") < at("made-up"));
}

/// A key that is looked at in two layers.
fn layered() -> Sim {
    let bench = Bench::with(&["key"]).can("key", |can| {
        let layer = can.verbs[&Verb::Probe][0].clone();
        can.verbs.get_mut(&Verb::Probe).unwrap().push(layer);
    });
    Sim::contain(&bench)
}

/// An access token that has ended by itself says nothing of the refresh token beside it.
#[test]
fn a_layer_that_nobody_could_ask_is_not_one_that_the_credential_does_not_have() {
    for (reason, verdict) in
        [(Reason::NoSuchPart, Verdict::Dead), (Reason::MissingValue, Verdict::Unproven)]
    {
        let mut sim = layered();
        sim.server.manners.first_layer = Some(reason);
        sim.finish();
        assert_eq!(sim.verdict("a"), verdict, "{reason:?}");
    }
}

#[test]
fn layers_are_alive_if_one_is_and_dead_if_all_are() {
    let mut dead = layered();
    dead.finish();
    assert_eq!(dead.verdict("a"), Verdict::Dead);
    let mut lying = layered();
    lying.server.manners.lies = true;
    lying.finish();
    assert_eq!(lying.verdict("a"), Verdict::Alive);
}

#[test]
fn a_late_acceptance_undoes_what_refusals_seemed_to_show() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.until(Time(30));
    // A second look is answered at last, long after: a replica had it for dead too early.
    sim.server.manners.lies = true;
    sim.until(Time(9_000));
    let (_, id, _) = sim.calls.iter().find(|(.., call)| call.verb() == Some(Verb::Probe)).unwrap();
    let id = *id;
    let seen = Answer::Saw(Liveness::Alive(Identity("mail/a".to_owned())), Values::new());
    sim.happen(What::Answered(id, seen));
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Alive);
}

#[test]
fn a_probe_that_never_answers_clearly_ends_with_the_time_to_give_up() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    sim.until(Time(120));
    sim.server.manners.hangs = vec![Verb::Probe];
    let report = sim.finish();
    assert_eq!(report.credentials[0].old.verdict, Verdict::Unproven);
    assert!(sim.now < Time(400_000), "{} ms", sim.now.0);
}
