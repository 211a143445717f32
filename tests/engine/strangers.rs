//! Unrecognised credentials: named always, revoked only where a person asked for it.

use rotate::engine::call::{Time, Told, Verb, Wall};
use rotate::engine::report::{NewState, Report, Stranger, StrangerState, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

/// The provider's list was read first, and nothing was issued yet.
const MEANWHILE: Time = Time(120);

fn asked(kinds: &[&str]) -> Bench {
    Bench::with(kinds).options(|options| options.revoke_strangers = true)
}

/// A key that somebody else makes while the run is under way.
fn mint(sim: &mut Sim, label: Option<&str>) -> u64 {
    sim.until(MEANWHILE);
    sim.server.now = sim.now;
    sim.server.make(label.map(str::to_owned), "somebody")
}

fn strangers(report: &Report) -> Vec<&Stranger> {
    report.credentials.iter().flat_map(|one| &one.strangers).collect()
}

fn states(report: &Report) -> Vec<StrangerState> {
    strangers(report).into_iter().map(|stranger| stranger.state).collect()
}

#[test]
fn unasked_it_is_named_and_left() {
    let mut sim = Sim::contain(&Bench::with(&["key"]));
    let theirs = mint(&mut sim, None);
    let report = sim.finish();
    assert!(sim.server.lives(theirs));
    assert_eq!(states(&report), [StrangerState::Untouched]);
    assert_eq!((strangers(&report)[0].why.as_deref(), report.exit_code), (None, 3));
}

#[test]
fn asked_for_it_is_revoked_by_its_handle_and_seen_to_be_gone() {
    let mut sim = Sim::contain(&asked(&["key"]));
    let older = sim.server.make(None, "somebody");
    let theirs = mint(&mut sim, Some("backup"));
    let report = sim.finish();
    assert!(sim.server.lives(older) && !sim.server.lives(theirs));
    assert_eq!(states(&report), [StrangerState::Untouched, StrangerState::Gone]);
    let one = &report.credentials[0];
    assert_eq!((one.old.verdict, one.new.state), (Verdict::Dead, NewState::Held));
    assert_eq!(report.exit_code, 3, "somebody has to ask who made it");
    let end: Vec<_> = sim.verbs("a").into_iter().rev().take(3).collect();
    assert_eq!(end, ["find", "revoke", "find"]);
}

#[test]
fn a_list_that_goes_on_showing_it_is_believed() {
    let mut late = Sim::contain(&asked(&["key"]));
    late.server.manners.lag = 20_000;
    let theirs = mint(&mut late, None);
    assert_eq!(states(&late.finish()), [StrangerState::Gone]);
    assert!(!late.server.lives(theirs));

    let mut lying = Sim::contain(&asked(&["key"]));
    let theirs = mint(&mut lying, None);
    while lying.run.report().credentials[0].old.verdict != Verdict::Dead {
        lying.until_event(lying.events.len() + 1);
    }
    lying.server.manners.lies = true;
    assert_eq!(states(&lying.finish()), [StrangerState::Listed]);
    assert!(lying.server.lives(theirs));
}

#[test]
fn another_responders_key_is_left() {
    let mut sim = Sim::contain(&asked(&["key"]));
    let theirs = mint(&mut sim, Some("rotate-other-r9-0"));
    let report = sim.finish();
    assert!(sim.server.lives(theirs));
    assert_eq!(states(&report), [StrangerState::NotRevoked]);
    assert!(strangers(&report)[0].why.as_ref().unwrap().contains("another run"));
}

#[test]
fn a_date_counts_only_where_a_person_said_since_when() {
    let play = |since: Option<i64>| {
        let bench = asked(&["key"]).options(|options| options.since = since.map(Wall));
        let mut sim = Sim::contain(&bench);
        let secret = sim.server.make(None, "somebody");
        // A minute before the run, and in its first list.
        sim.server.keys.last_mut().unwrap().dated = Some("1699999940".to_owned());
        let report = sim.finish();
        (sim.server.lives(secret), states(&report)[0])
    };
    assert_eq!(play(None), (true, StrangerState::Untouched));
    assert_eq!(play(Some(1_699_999_000_000)), (false, StrangerState::Gone));
    assert_eq!(play(Some(1_699_999_950_000)), (true, StrangerState::Untouched));
}

#[test]
fn what_a_lagging_list_forgot_is_no_newcomer() {
    let mut sim = Sim::contain(&asked(&["key"]));
    let theirs = mint(&mut sim, None);
    sim.server.keys.last_mut().unwrap().dated = Some("2023-01-01T00:00:00Z".to_owned());
    let report = sim.finish();
    assert!(sim.server.lives(theirs));
    assert_eq!(states(&report), [StrangerState::Untouched]);
}

#[test]
fn nothing_else_dies_with_it_or_it_is_left() {
    let bench = Bench::of(
        &("[role.mail]\n".to_owned()
            + &entry("mail", "a", "team-key", "vars = { team = \"blue\" }\n")),
    );
    let mut sim = Sim::contain(&bench.options(|options| options.revoke_strangers = true));
    let theirs = mint(&mut sim, None);
    let report = sim.finish();
    assert!(sim.server.lives(theirs));
    assert_eq!(states(&report), [StrangerState::NotRevoked]);
}

#[test]
fn one_account_under_two_names_never_loses_its_own_new_keys() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "nameless", "")
        + &entry("mail", "b", "key", "admin = \"two\"\n").replace("\"lab\"", "\"lab-two\"")
        + "[admin.two]\nprovider = \"lab-two\"\nkind = \"root\"\nsecret = \"env:ROOT\"\n"
        + "[provider.lab-two]\nfile = \"lab\"\nbase = \"https://lab.example/v1\"\n";
    let bench = Bench::of(&text).options(|options| options.revoke_strangers = true);
    for slow in [50, 15_000, 30_000] {
        let mut sim = Sim::contain(&bench);
        sim.server.manners.slow = Some(("key", Verb::Issue, slow));
        let theirs = mint(&mut sim, None);
        let report = sim.finish();
        assert!(!sim.server.lives(theirs));
        for one in &report.credentials {
            let handle = one.new.handle.as_deref();
            let handle = handle.unwrap_or_else(|| panic!("{one:#?}\n{}", sim.told()));
            let key = sim.server.keys.iter().find(|key| key.handle == handle).unwrap();
            assert!(key.dies.is_none(), "{} is our own\n{}", one.id, sim.told());
        }
    }
}

#[test]
fn whoever_goes_on_minting_is_named_in_the_end() {
    let mut sim = Sim::contain(&asked(&["key"]));
    mint(&mut sim, None);
    let mut revoked = 0;
    while !sim.run.is_done() {
        let events = sim.events.len();
        sim.until_event(events + 1);
        let now = sim.calls_of(Verb::Revoke);
        if now > revoked {
            revoked = now;
            sim.server.now = sim.now;
            sim.server.make(None, "somebody");
        }
    }
    let report = sim.finish();
    let left = strangers(&report).into_iter().filter(|it| it.state == StrangerState::NotRevoked);
    let why: Vec<_> = left.filter_map(|it| it.why.as_deref()).collect();
    assert_eq!(why, ["each time some were revoked, others came"]);
}

#[test]
fn a_refusal_is_told_and_a_lost_answer_is_looked_after() {
    let mut refused = Sim::contain(&asked(&["key"]));
    let theirs = mint(&mut refused, None);
    while refused.run.report().credentials[0].old.verdict != Verdict::Dead {
        refused.until_event(refused.events.len() + 1);
    }
    refused.server.manners.refuses = vec![Verb::Revoke];
    assert_eq!(states(&refused.finish()), [StrangerState::NotRevoked]);
    assert!(refused.server.lives(theirs));

    let mut lost = Sim::contain(&asked(&["key"]));
    let theirs = mint(&mut lost, None);
    while lost.run.report().credentials[0].old.verdict != Verdict::Dead {
        lost.until_event(lost.events.len() + 1);
    }
    lost.server.manners.lose_revokes = 1;
    assert_eq!(states(&lost.finish()), [StrangerState::Gone]);
    assert!(!lost.server.lives(theirs));
}

/// A crash and a stop at every event: what was to go is gone in the end.
#[test]
fn whenever_the_process_dies_it_is_gone_in_the_end() {
    let mut whole = Sim::contain(&asked(&["key", "nameless"]));
    mint(&mut whole, None);
    whole.finish();
    for stops in [false, true] {
        for at in 0..whole.events.len() {
            let mut sim = Sim::contain(&asked(&["key", "nameless"]));
            let theirs = mint(&mut sim, None);
            sim.until_event(at);
            if stops && !sim.run.is_done() {
                sim.tell(Told::Stop);
            }
            sim.crash();
            let report = sim.finish();
            assert!(!sim.server.lives(theirs), "crashed at event {at}\n{}", sim.told());
            let gone = states(&report).into_iter().filter(|it| *it == StrangerState::Gone).count();
            assert!(gone >= 1, "at event {at}: {:?}\n{}", strangers(&report), sim.told());
            for one in &report.credentials {
                let new = one.new.handle.as_deref();
                let ours = sim.server.keys.iter().find(|key| Some(key.handle.as_str()) == new);
                assert!(ours.is_none_or(|key| key.dies.is_none()), "{}", sim.told());
            }
        }
    }
}
