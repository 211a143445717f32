//! Restore and verify: runs that go on from an earlier one.

use rotate::engine::call::{SecretId, Time, Told, Verb};
use rotate::engine::leftover::Leftover;
use rotate::engine::plan::{Earlier, KnownSide, Options, Plan};
use rotate::engine::report::{NewState, Report, Verdict};

use crate::bench::{Bench, entry};
use crate::server::Manners;
use crate::sim::Sim;

/// What a run knew, with its secrets adopted under new names as its journal hands them on.
fn facts(sim: &mut Sim) -> std::collections::BTreeMap<String, Earlier> {
    let mut facts = sim.run.facts();
    for earlier in facts.values_mut() {
        for side in [&mut earlier.old, &mut earlier.new].into_iter().flatten() {
            for id in &mut side.secrets {
                let secret = sim.server.vault[id];
                *id = SecretId(SecretId::ADOPTED + id.0);
                sim.server.vault.insert(*id, secret);
            }
        }
    }
    facts
}

/// `rotate verify` of a run.
fn verifying(mut sim: Sim) -> Sim {
    let facts = facts(&mut sim);
    let options = Options { run: "r2".to_owned(), ..Options::default() };
    let plan = Plan::verify(sim.run.plan(), &facts, &options);
    Sim::with(sim.server, plan)
}

fn later(mut sim: Sim, bench: Bench) -> (Sim, Bench) {
    let facts = facts(&mut sim);
    let bench = bench.options(|options| {
        options.earlier = facts;
        options.run = "r2".to_owned();
    });
    (sim, bench)
}

#[test]
fn what_a_contain_held_is_proved_and_then_delivered() {
    let bench = Bench::with(&["key", "password"]);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let (sim, bench) = later(sim, bench);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    let report = restore.finish();
    assert_eq!(restore.verbs("a"), ["read", "probe new", "deliver"]);
    for one in &report.credentials {
        assert_eq!((one.new.state, one.old.verdict), (NewState::Delivered, Verdict::Dead));
    }
    assert_eq!(report.exit_code, 0);
    let place = restore.server.places["dotenv:/srv/mail/.env#A"];
    assert!(restore.server.lives(place));
    // Nothing is left to restore.
    let (_, bench) = later(restore, bench);
    assert!(bench.restore().is_err());
}

#[test]
fn after_a_revoke_only_it_issues_first() {
    let bench = Bench::with(&["key"]).options(|options| options.revoke_only = true);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let (sim, bench) = later(sim, bench);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    let report = restore.finish();
    assert_eq!(restore.verbs("a"), ["read", "issue", "probe new", "deliver"]);
    assert_eq!(report.credentials[0].new.state, NewState::Delivered);
}

/// What a revocation takes with it is no news where nothing is revoked.
#[test]
fn a_restore_warns_of_no_revocation() {
    let team = "vars = { team = \"t1\" }";
    let text = format!("[role.mail]\n{}", entry("mail", "a", "team-key", team));
    let bench = Bench::of(&text);
    let mut sim = Sim::contain(&bench);
    assert_eq!(sim.run.plan().warnings.len(), 1, "{:?}", sim.run.plan().warnings);
    sim.finish();
    let (_, bench) = later(sim, bench);
    assert_eq!(bench.restore().unwrap().warnings, [""; 0]);
}

/// One of two places could not be written: the restore fills it, and leaves the other as it is.
#[test]
fn a_restore_fills_what_is_missing() {
    const SECOND: &str = "file:/srv/mail/key";
    let more = format!("deliver = [\"{SECOND}\"]\n");
    let text = format!("[role.mail]\n{}", entry("mail", "a", "key", &more));
    for stuck in ["dotenv:/srv/mail/.env#A", SECOND] {
        let bench = Bench::of(&text).options(|options| options.deliver = true);
        let mut sim = Sim::contain(&bench);
        sim.server.unwritable.insert(stuck.to_owned());
        sim.finish();
        let (mut sim, bench) = later(sim, bench);
        sim.server.unwritable.clear();
        // Whoever fills the other place by hand meanwhile is not undone.
        let theirs = (stuck == "dotenv:/srv/mail/.env#A").then(|| {
            let theirs = sim.server.put(SECOND, "theirs");
            sim.server.unwritable.insert(SECOND.to_owned());
            theirs
        });
        let mut restore = Sim::with(sim.server, bench.restore().unwrap());
        let report = restore.finish();
        let new = &report.credentials[0].new;
        assert!(restore.server.lives(restore.server.places[stuck]), "{stuck}");
        match theirs {
            Some(theirs) => {
                assert_eq!(restore.server.places[SECOND], theirs);
                assert_eq!((new.state, report.exit_code), (NewState::Escrowed, 3));
            }
            None => {
                assert_eq!((new.state, report.exit_code), (NewState::Delivered, 0));
                assert_eq!(new.delivered.len(), 2);
            }
        }
    }
}

#[test]
fn a_place_that_somebody_else_has_filled_is_left_alone() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let (mut sim, bench) = later(sim, bench);
    let theirs = sim.server.put("dotenv:/srv/mail/.env#A", "theirs");
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    let report = restore.finish();
    assert_eq!(restore.server.places["dotenv:/srv/mail/.env#A"], theirs);
    let one = &report.credentials[0];
    assert_eq!((one.new.state, restore.deliveries()), (NewState::Escrowed, 0));
    assert!(one.new.not_delivered[0].why.contains("neither the old nor the new one"));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_held_one_that_died_meanwhile_is_not_delivered() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let (mut sim, bench) = later(sim, bench);
    let new = bench.options.earlier["mail/a"].new.clone().unwrap();
    let new = sim.server.vault[&new.secrets[0]];
    sim.server.kill(new);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    let report = restore.finish();
    assert_eq!((restore.deliveries(), report.credentials[0].new.state), (0, NewState::Unproven));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn a_proof_that_took_too_long_is_finished_later() {
    let bench = Bench::with(&["key", "key"])
        .can("key", |can| can.proof.give_up_ms = 3_600_000)
        .options(|options| options.wait_ms = Some(60_000));
    let mut sim = Sim::contain(&bench);
    // For 23 minutes every second use is accepted.
    sim.server.manners = Manners { latency: 50, lag: 1_380_000, flaps: true, ..Manners::default() };
    let report = sim.finish();
    assert!(sim.now < Time(61_000), "{} ms", sim.now.0);
    assert_eq!((sim.verdict("a"), report.exit_code), (Verdict::Dying, 3));

    sim.server.manners.flaps = false;
    sim.server.now = Time(1_400_000);
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), verify.verdict("b")), (Verdict::Dead, Verdict::Dead));
    assert_eq!((verify.first(Verb::Revoke, "a"), report.exit_code), (None, 0));
    assert_eq!(report.of.unwrap().run, "r1");
}

#[test]
fn nothing_leaves_once_the_wait_is_over() {
    const WAIT_MS: u64 = 1_200;
    let bench = Bench::with(&["team-key", "key", "refresh"])
        .options(|options| options.wait_ms = Some(WAIT_MS));
    for latency in (50..3_000).step_by(50) {
        let mut sim = Sim::contain(&bench);
        sim.server.manners.latency = latency;
        sim.finish();
        // Ticks are rounded up, so that they cost fifty writes a second at most.
        let over = Time(WAIT_MS + 20);
        let late = sim.calls.iter().filter(|(at, ..)| *at > over).count();
        assert_eq!(late, 0, "latency {latency}: {}", sim.told());
    }
}

#[test]
fn a_verify_of_what_is_dead_asks_nothing_and_says_it_again() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.finish();
    let mut verify = verifying(sim);
    verify.finish();
    assert_eq!((verify.verdict("a"), verify.times(Verb::Probe, "a").len()), (Verdict::Dead, 0));
}

#[test]
fn a_verify_says_of_what_was_delivered_that_it_was() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::of(&bench, bench.contain_with(true));
    sim.server.manners.lies = true;
    let first = sim.finish();
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!(report.credentials[0].new.state, NewState::Delivered);
    assert_eq!(report.credentials[0].new.delivered, first.credentials[0].new.delivered);
    assert_eq!(verify.deliveries(), 0);
}

#[test]
fn a_verify_sees_that_one_lives_on() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.server.manners.lies = true;
    sim.finish();
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), report.exit_code), (Verdict::Alive, 4));
}

/// What is left for a person of `mail/a`.
fn left(report: &Report) -> Vec<&str> {
    report.credentials[0].todo.iter().map(|todo| todo.what.as_str()).collect()
}

#[test]
fn what_lives_on_is_left_for_a_person_until_it_does_not() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.server.manners.lies = true;
    let contained = sim.finish();
    assert_eq!(left(&contained), ["revoke the old mail/a"]);
    let (sim, bench) = later(sim, bench);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    let report = restore.finish();
    assert_eq!((restore.verdict("a"), report.exit_code), (Verdict::Alive, 4));
    assert_eq!(report.credentials[0].todo, contained.credentials[0].todo);
    assert_eq!(report.summary.todo, 1);
}

#[test]
fn what_could_not_be_read_or_revoked_is_left_for_a_person_by_a_verify_too() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.server.places.clear();
    sim.server.manners.refuses = vec![Verb::Revoke];
    let contained = sim.finish();
    assert!(left(&contained).contains(&"revoke the old mail/a"), "{contained:#?}");
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!(
        (verify.verdict("a"), left(&report)[0]),
        (Verdict::Unproven, "revoke the old mail/a")
    );
}

#[test]
fn what_a_rehearsal_left_as_it_was_is_not_to_be_revoked() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::rehearse(&bench);
    sim.server.manners.outage = Some((Time(0), Time(500)));
    let rehearsed = sim.finish();
    assert_eq!(left(&rehearsed)[0], "issue a new mail/a");
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), left(&report)), (Verdict::Alive, left(&rehearsed)));
}

#[test]
fn what_was_issued_and_is_refused_is_to_be_issued_by_hand() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    sim.server.manners.duds = true;
    let report = sim.finish();
    let issue = "issue a new mail/a: what was issued is refused";
    assert_eq!((report.credentials[0].new.state, report.exit_code), (NewState::Unproven, 3));
    assert_eq!(left(&report), [issue]);
    let todo = &report.credentials[0].todo[0];
    assert_eq!(todo.at.as_deref(), Some("https://lab.example/settings"));
    let (sim, bench) = later(sim, bench);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    assert_eq!(left(&restore.finish()), [issue]);
}

#[test]
fn a_verify_that_gets_no_answer_does_not_say_what_it_has_not_seen() {
    let bench = Bench::with(&["key"]);
    let mut sim = Sim::contain(&bench);
    // Its journal ends before the answer to the revocation.
    while sim.first(Verb::Revoke, "a").is_none() {
        sim.until_event(sim.events.len() + 1);
    }
    assert_eq!(sim.verdict("a"), Verdict::Alive);
    sim.server.manners.hangs = vec![Verb::Probe];
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), report.exit_code), (Verdict::Unproven, 3));
}

/// A contain whose revocation has two steps: the first ends the old one, the second is told to wait
/// for ever.
fn half_revoked(wait_ms: Option<u64>) -> (Sim, Bench) {
    let bench =
        Bench::with(&["key"]).options(|options| options.wait_ms = wait_ms).can("key", |can| {
            for way in can.verbs.get_mut(&Verb::Revoke).unwrap() {
                way.steps.push(way.steps[0].clone());
            }
        });
    let mut sim = Sim::contain(&bench);
    sim.server.manners.half_revokes = true;
    sim.finish();
    (sim, bench)
}

const HALF: &str = "finish the revocation of mail/a, of which a step was left: no answer in time";

#[test]
fn a_step_that_is_told_to_wait_to_the_end_is_left_for_a_person() {
    let (sim, bench) = half_revoked(None);
    let report = sim.report();
    assert_eq!((sim.verdict("a"), left(&report)), (Verdict::Dead, vec![HALF]), "{}", sim.told());
    assert_eq!(report.exit_code, 3);
    let (sim, bench) = later(sim, bench);
    let mut restore = Sim::with(sim.server, bench.restore().unwrap());
    assert_eq!(left(&restore.finish()), [HALF]);
}

#[test]
fn a_run_that_is_left_between_two_steps_of_a_revocation_leaves_the_second_for_a_person() {
    let (sim, _) = half_revoked(Some(5_000));
    assert_eq!(left(&sim.report())[0], "revoke the old mail/a");
    let mut verify = verifying(sim);
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), left(&report)[0]), (Verdict::Dead, HALF));
}

/// No probe sees it, so a person's word ends it.
#[test]
fn a_step_that_a_person_did_is_left_no_more() {
    let (sim, _) = half_revoked(None);
    let mut verify = verifying(sim);
    let subject = verify.subject("a");
    verify.start();
    verify.tell(Told::HandDone(subject));
    let report = verify.finish();
    assert_eq!((verify.verdict("a"), left(&report)), (Verdict::Dead, vec![]));
    let mut again = verifying(verify);
    assert_eq!(left(&again.finish()), Vec::<&str>::new());
}

/// A contain that finds what an interrupted run had issued and put nowhere.
fn with_leftover(bench: &Bench, in_place: bool) -> Sim {
    let mut plan = bench.contain();
    let mut sim = Sim::of(bench, plan.clone());
    let left = if in_place { sim.old("a") } else { sim.server.make(None, "left") };
    let id = SecretId(SecretId::ADOPTED + 1);
    sim.server.vault.insert(id, left);
    let side = KnownSide {
        fingerprint: format!("fp{left}"),
        handle: sim.server.key(left).map(|key| key.handle.clone()),
        secrets: vec![id],
        ..KnownSide::default()
    };
    let run = "r0".to_owned();
    plan.take_over(&[Leftover { id: "mail/a".to_owned(), run, accepted_as: None, side }]);
    Sim::with(sim.server, plan)
}

#[test]
fn what_an_interrupted_run_left_is_ended_and_proved_by_the_successor() {
    let mut sim = with_leftover(&Bench::with(&["key"]), false);
    let report = sim.finish();
    assert_eq!(report.credentials.len(), 2);
    for one in &report.credentials {
        assert_eq!(one.old.verdict, Verdict::Dead, "{}: {}", one.id, one.old.why);
    }
    assert_eq!(sim.calls_of(Verb::Revoke), 2);
    assert_eq!(report.exit_code, 0);
}

#[test]
fn what_it_left_in_its_place_is_ended_once() {
    let mut sim = with_leftover(&Bench::with(&["key"]), true);
    let report = sim.finish();
    assert_eq!((report.credentials.len(), sim.calls_of(Verb::Revoke)), (1, 1));
    assert_eq!(report.exit_code, 0);
}

/// A second revocation would end what was granted since the first: one ends them both.
#[test]
fn what_it_left_of_a_grant_dies_with_it() {
    let text =
        "[role.mail]\n".to_owned() + &entry("mail", "a", "grant", "vars = { team = \"t1\" }");
    let mut sim = with_leftover(&Bench::of(&text), false);
    sim.server.manners.kills_team = true;
    let team = sim.server.key(sim.old("a")).unwrap().team.clone();
    for key in sim.server.keys.iter_mut().filter(|key| key.team == "left") {
        key.team.clone_from(&team);
    }
    let report = sim.finish();
    let verdicts: Vec<_> = report.credentials.iter().map(|one| one.old.verdict).collect();
    assert_eq!(verdicts, [Verdict::Dead, Verdict::Dead], "{}", sim.told());
    assert_eq!((sim.calls_of(Verb::Revoke), report.exit_code), (1, 0));
}
