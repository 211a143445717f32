//! Admins that burn too, groups, and what is shared.

use rotate::engine::call::{Subject, Time, Verb};
use rotate::engine::plan::{Acting, Plan};
use rotate::engine::report::{NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

/// The role holds its own admin key, and that key is burned like the rest.
fn burned(more: &str) -> Bench {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "boss", "root", "admin = \"root\"\n")
        + &entry("mail", "a", "key", "admin = \"mail/boss\"\n")
        + &entry("mail", "b", "key", "admin = \"mail/boss\"\n")
        + more;
    Bench::of(&text)
}

/// Each of these is the other's admin, or its own: an inventory cannot say it, a plan can.
fn acting(mut plan: Plan, pairs: [(u32, u32); 2]) -> Plan {
    for (of, admin) in pairs {
        let acting = Acting::Planned(Subject(admin));
        plan.credentials[of as usize].admins.insert(String::new(), acting);
        if of != admin {
            plan.credentials[admin as usize].serves.push(Subject(of));
        }
    }
    plan
}

#[test]
fn a_burned_admin_is_replaced_first_and_goes_when_no_call_of_its_is_under_way() {
    let bench = burned("");
    for plan in [bench.contain(), acting(bench.contain(), [(0, 0), (1, 0)])] {
        let mut sim = Sim::of(&bench, plan);
        let report = sim.finish();
        for one in &report.credentials {
            assert_eq!(one.old.verdict, Verdict::Dead, "{}: {}", one.id, one.old.why);
            assert_eq!(one.new.state, NewState::Held, "{}", one.id);
        }
        let (issue, kill) = (sim.first(Verb::Issue, "boss"), sim.first(Verb::Revoke, "boss"));
        assert!(issue < kill && kill < Some(Time(2_000)), "{issue:?} {kill:?}");
        assert_eq!(report.exit_code, 0);
    }
}

#[test]
fn a_call_that_is_signed_by_it_is_waited_for() {
    let mut sim = Sim::contain(&burned(""));
    // The issues of the others are signed by it, and take their time.
    sim.server.manners.slow = Some(("key", Verb::Issue, 4_000));
    let report = sim.finish();
    let made = sim.first(Verb::Issue, "a").unwrap();
    let kill = sim.first(Verb::Revoke, "boss").unwrap();
    assert!(made < Time(1_000) && kill >= made.plus(4_000), "{} {}", made.0, kill.0);
    assert_eq!(report.exit_code, 0);
}

#[test]
fn one_that_cannot_be_replaced_goes_after_its_last_call_and_at_the_latest_after_a_minute() {
    let no_issue = |bench: Bench| {
        bench.can("root", |can| {
            can.verbs.remove(&Verb::Issue);
        })
    };
    let mut quick = Sim::contain(&no_issue(burned("")));
    let report = quick.finish();
    assert!(quick.first(Verb::Revoke, "a") < quick.first(Verb::Revoke, "boss"));
    assert!(quick.first(Verb::Issue, "b") < quick.first(Verb::Revoke, "boss"), "its last call");
    assert!(quick.first(Verb::Revoke, "boss") < Some(Time(5_000)), "and no proof is waited for");
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));

    let mut stuck = Sim::contain(&no_issue(burned("")));
    stuck.until(Time(100));
    stuck.server.manners.hangs = vec![Verb::Issue];
    stuck.finish();
    let kill = stuck.first(Verb::Revoke, "boss").unwrap();
    assert!((Time(20_000)..=Time(60_020)).contains(&kill), "{} ms", kill.0);
}

#[test]
fn an_admin_that_was_ended_signs_nothing_more() {
    let bench = burned("").can("root", |can| {
        can.verbs.remove(&Verb::Issue);
    });
    let mut sim = Sim::contain(&bench);
    sim.until(Time(100));
    sim.server.manners.hangs = vec![Verb::Issue];
    let report = sim.finish();
    let kill = sim.first(Verb::Revoke, "boss").unwrap();
    let late = sim
        .calls
        .iter()
        .filter(|(at, _, call)| *at > kill.plus(100) && call.account == "lab/mail/boss");
    assert_eq!(late.count(), 0, "{}", sim.told());
    assert!(report.credentials[1].todo.iter().any(|todo| todo.what.contains("issue a new")));
}

#[test]
fn what_dies_together_is_revoked_once_and_issued_each() {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", team)
        + &entry("mail", "b", "team-key", team)
        + &entry("mail", "c", "team-key", "vars = { team = \"red\" }\n");
    let bench = Bench::of(&text);
    let mut sim = Sim::contain(&bench);
    sim.server.manners.kills_team = true;
    let report = sim.finish();
    let kills = |name: &str| sim.times(Verb::Revoke, name).len();
    assert_eq!((kills("a"), kills("b"), kills("c")), (1, 0, 1));
    for one in &report.credentials {
        assert_eq!((one.old.revoke, one.old.verdict), (Revoke::Accepted, Verdict::Dead));
        assert_eq!(one.new.state, NewState::Held);
    }
}

#[test]
fn the_first_of_a_group_waits_until_the_others_were_looked_at() {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", team)
        + &entry("mail", "b", "team-key", team);
    let mut bench = Bench::of(&text);
    // One look at a time, so that they come one after the other.
    bench.capabilities.providers.get_mut("lab").unwrap().limits.in_flight = 1;
    let mut sim = Sim::contain(&bench);
    sim.server.manners.kills_team = true;
    let report = sim.finish();
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));
}

#[test]
fn one_that_did_not_die_with_its_group_is_revoked_by_itself() {
    let team = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", team)
        + &entry("mail", "b", "team-key", team);
    let narrow = Bench::of(&text).can("team-key", |can| {
        use rotate::engine::capability::{Blast, Radius};
        for way in can.verbs.get_mut(&Verb::Revoke).unwrap() {
            way.blast = Some(Blast { kills: Radius::Token, key: Vec::new() });
        }
    });
    let mut sim = Sim::contain(&narrow);
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Revoke, "b").len(), 1);
    assert!(report.credentials.iter().all(|one| one.old.verdict == Verdict::Dead));
}

#[test]
fn a_rehearsal_of_an_admin_never_locks_anybody_out() {
    let bench = burned("");
    let mut sim = Sim::of(&bench, acting(bench.rehearse().unwrap(), [(0, 0), (1, 0)]));
    let report = sim.finish();
    for one in &report.credentials {
        assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Delivered));
    }
}

#[test]
fn two_that_are_each_other_s_admin_wait_for_nobody_for_ever() {
    for revoke_only in [false, true] {
        let bench = Bench::with(&["root", "root"]);
        let bench = bench.options(|options| options.revoke_only = revoke_only);
        let mut sim = Sim::of(&bench, acting(bench.contain(), [(0, 1), (1, 0)]));
        let report = sim.finish();
        assert!(sim.now < Time(400_000));
        for (one, name) in report.credentials.iter().zip(["a", "b"]) {
            assert!(!sim.server.lives(sim.old(name)), "{}", sim.told());
            assert!(matches!(one.old.verdict, Verdict::Dead | Verdict::Refused), "{}", one.id);
        }
    }
}

#[test]
fn what_another_role_owns_goes_to_its_place_and_not_to_a_contained_one() {
    let text = |mark: &str| {
        format!(
            "[role.mail]\nuses = [\"ci/a\"]\n[role.ci]\n{mark}\n{}",
            entry("ci", "a", "key", "")
        )
    };
    let mut sim = Sim::contain(&Bench::of(&text("")));
    let report = sim.finish();
    assert_eq!(report.credentials[0].new.state, NewState::Delivered);
    let contained = Bench::of(&text("contained = { because = \"x\" }"));
    for deliver in [false, true] {
        let bench = contained.contain_with(deliver);
        let mut sim = Sim::of(&contained, bench);
        let report = sim.finish();
        assert_eq!((sim.deliveries(), report.credentials[0].new.state), (0, NewState::Held));
    }
}
