//! Rehearse: never an instant without a working credential. The simulation asks that after every
//! event.

use rotate::engine::call::{Time, Told, Verb};
use rotate::engine::plan::PlanError;
use rotate::engine::report::{NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

fn refused(text: &str) -> (String, String) {
    match Bench::of(text).rehearse() {
        Err(PlanError::NotRehearsable { credential, because, .. }) => (credential, because),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_makes_proves_delivers_and_only_then_kills() {
    let mut sim = Sim::rehearse(&Bench::with(&["key"]));
    let report = sim.finish();
    let script = ["read", "find", "probe old", "find", "issue", "probe new", "deliver", "revoke"];
    assert_eq!(sim.verbs("a")[..8], script);
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Delivered));
    assert_eq!(report.exit_code, 0);
}

#[test]
fn one_that_was_refused_before_is_left_as_it_is() {
    let mut sim = Sim::rehearse(&Bench::with(&["key"]));
    sim.server.manners.outage = Some((Time(0), Time(500)));
    let report = sim.finish();
    let one = &report.credentials[0];
    assert_eq!((sim.first(Verb::Issue, "a"), sim.first(Verb::Revoke, "a")), (None, None));
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Unproven, NewState::NotIssued));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn nothing_is_killed_unless_the_new_one_is_proved_in_place_and_read_again() {
    for (reload, unwritable, refuses) in [
        ("[\"true\"]", false, None),
        ("\"none\"", true, None),
        ("\"none\"", false, Some(Verb::Issue)),
    ] {
        let text = "[role.mail]\n".to_owned() + &entry("mail", "a", "key", "");
        let text = text.replace("reload = \"none\"", &format!("reload = {reload}"));
        let mut sim = Sim::rehearse(&Bench::of(&text));
        sim.server.manners.refuses.extend(refuses);
        if unwritable {
            sim.server.unwritable.insert("dotenv:/srv/mail/.env#A".to_owned());
        }
        let report = sim.finish();
        let kept = unwritable || refuses.is_some();
        let one = &report.credentials[0];
        assert_eq!(sim.first(Verb::Revoke, "a").is_none(), kept, "{reload} {unwritable}");
        let expected = if kept { Verdict::Alive } else { Verdict::Dead };
        assert_eq!(one.old.verdict, expected, "{}", one.old.why);
    }
}

/// Practice leaves no role with two of them: every place keeps the old one, and the old one lives.
#[test]
fn where_one_place_cannot_be_written_none_is() {
    const PLACES: [&str; 2] = ["dotenv:/srv/mail/.env#A", "file:/srv/mail/key"];
    for (kind, stuck) in [("key", 0), ("key", 1), ("rolling", 0), ("rolling", 1)] {
        let more = format!("deliver = [\"{}\"]\n", PLACES[1]);
        let text = format!("[role.mail]\n{}", entry("mail", "a", kind, &more));
        let mut sim = Sim::rehearse(&Bench::of(&text));
        sim.server.unwritable.insert(PLACES[stuck].to_owned());
        let old = sim.server.places[PLACES[0]];
        let report = sim.finish();
        let one = &report.credentials[0];
        assert_eq!((one.new.delivered.len(), one.new.not_delivered.len()), (0, 2), "{kind}");
        assert_eq!(sim.server.places[PLACES[0]], old, "{kind}");
        assert_eq!((sim.times(Verb::Revoke, "a"), sim.times(Verb::Finish, "a")), (vec![], vec![]));
        // A roll cannot be taken back: its grace goes on, and nothing is left to rehearse.
        let (old, action) = match kind {
            "rolling" => (Verdict::Dying, "rotate escrow open RUN mail/a"),
            _ => (Verdict::Alive, "rotate rehearse --role ROLE"),
        };
        assert_eq!((one.old.verdict, one.new.state), (old, NewState::Escrowed), "{kind}");
        assert_eq!(one.old.until, None);
        assert!(one.todo[0].action.ends_with(action), "{:?}", one.todo);
    }
}

#[test]
fn a_new_one_that_is_refused_kills_nothing_and_is_delivered_nowhere() {
    let mut sim = Sim::rehearse(&Bench::with(&["key"]));
    sim.until(Time(80));
    let news: Vec<u64> =
        sim.server.keys.iter().filter(|key| key.label.is_some()).map(|key| key.secret).collect();
    for new in news {
        sim.server.kill(new);
    }
    let report = sim.finish();
    assert_eq!(sim.deliveries(), 0);
    assert_eq!(sim.first(Verb::Revoke, "a"), None);
    assert_eq!(report.credentials[0].old.verdict, Verdict::Alive);
    assert!(report.credentials[0].old.why.contains("left as it is"));
}

#[test]
fn a_group_is_killed_only_when_everybody_in_it_is_replaced() {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", team)
        + &entry("mail", "b", "team-key", team);
    let group = || {
        let mut sim = Sim::rehearse(&Bench::of(&text));
        // New ones belong to no team here, so that nothing but the old ones dies.
        sim.server.manners.kills_team = true;
        sim
    };
    let mut stuck = group();
    stuck.server.unwritable.insert("dotenv:/srv/mail/.env#B".to_owned());
    let report = stuck.finish();
    for one in &report.credentials {
        assert_eq!((one.old.revoke, one.old.verdict), (Revoke::None, Verdict::Alive), "{}", one.id);
    }
    assert!(report.credentials[0].old.why.contains("another one that dies with it"));

    let mut whole = group();
    let report = whole.finish();
    assert_eq!(whole.times(Verb::Revoke, "a").len() + whole.times(Verb::Revoke, "b").len(), 1);
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));
}

#[test]
fn it_refuses_before_it_touches_anything() {
    let key = entry("mail", "a", "key", "");
    let contained = format!("[role.mail]\ncontained = {{ because = \"x\" }}\n{key}");
    assert_eq!(refused(&contained).0, "mail");
    let silent = format!("[role.mail]\n{}", key.replace("reload = \"none\"\n", ""));
    assert!(refused(&silent).1.contains("reads it again"));
    let by_hand = format!("[role.mail]\n{}", entry("mail", "a", "token", ""));
    assert!(refused(&by_hand).1.contains("cannot be issued"));
    let team = "vars = { team = \"blue\" }\n";
    let collateral = format!(
        "[role.mail]\n{}[role.ci]\n{}",
        entry("mail", "a", "team-key", team),
        entry("ci", "a", "team-key", team)
    );
    assert_eq!(refused(&collateral).1, "its revocation also kills ci/a");
    let theirs = format!(
        "[role.mail]\nuses = [\"ci/a\"]\n[role.ci]\ndisabled = {{ because = \"x\" }}\n{}",
        entry("ci", "a", "key", "")
    );
    assert_eq!(refused(&theirs).0, "ci/a");
}

#[test]
fn a_person_who_stops_it_leaves_the_old_ones_alone() {
    for ms in (0..600).step_by(25) {
        let mut sim = Sim::rehearse(&Bench::with(&["key"]));
        sim.until(Time(ms));
        let killed = sim.first(Verb::Revoke, "a").is_some();
        sim.tell(Told::Stop);
        sim.finish();
        assert_eq!(sim.first(Verb::Revoke, "a").is_some(), killed, "at {ms} ms");
        assert_eq!(sim.report().exit_code, 130);
    }
}
