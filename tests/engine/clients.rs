//! OAuth clients that are rotated beside what was granted to them. A successor is another client:
//! what the old one was granted does not exist for it.

use rotate::engine::call::{Task, Time, Verb};
use rotate::engine::report::{NewState, Revoke, Verdict};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

/// The handle that the first credential has at the server.
const APP: &str = "key_2";

/// An app, and a grant of this kind that belongs to it.
fn bench(kind: &str) -> Bench {
    bench_of(&[("inbox", kind)])
}

/// An app, and grants that belong to it, by name and kind.
fn bench_of(grants: &[(&str, &str)]) -> Bench {
    let mut text = String::from("[role.mail]\n");
    text += &entry("mail", "app", "app", &format!("handle = \"{APP}\"\n"));
    for (name, kind) in grants {
        let of_app = "admin = \"root\"\nclient = \"mail/app\"\n";
        text += &entry("mail", name, kind, of_app).replace("admin = \"root\"\n", "");
    }
    let bench = Bench::of(&text);
    assert_eq!(bench.inventory.problems, []);
    bench
}

fn belonging(mut sim: Sim) -> Sim {
    let app = sim.old("app");
    for grant in sim.server.keys.iter_mut().filter(|key| key.secret != app) {
        grant.client = Some(APP.to_owned());
    }
    sim
}

/// What was issued and what was delivered, in order.
fn switched(sim: &Sim) -> Vec<String> {
    let steps = sim.calls.iter().filter_map(|(_, _, call)| {
        let name = sim.run.plan().planned(call.subject?)?.id.strip_prefix("mail/")?;
        match &call.task {
            Task::Deliver(_) => Some(format!("deliver {name}")),
            Task::Ask(request) if request.at.verb == Verb::Issue => Some(format!("issue {name}")),
            _ => None,
        }
    });
    steps.collect()
}

/// Which client acts in the calls of a verb about the grant.
fn clients(sim: &Sim, verb: Verb) -> Vec<String> {
    let inbox = sim.subject("inbox");
    let of_it = sim.calls.iter().filter(|(_, _, call)| call.subject == Some(inbox));
    let requests = of_it.filter_map(|(_, _, call)| match &call.task {
        Task::Ask(request) if request.at.verb == verb => Some(&request.parties["client"]),
        _ => None,
    });
    requests.map(|client| client.public["handle"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_grant_is_ended_by_its_own_client_and_made_by_the_successor() {
    let mut sim = belonging(Sim::contain(&bench("granted")));
    let report = sim.finish();
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    assert!(sim.first(Verb::Revoke, "inbox") < sim.first(Verb::Revoke, "app"));
    assert_eq!(clients(&sim, Verb::Revoke), [APP]);
    assert!(clients(&sim, Verb::Issue).iter().all(|client| client != APP));
    assert_eq!(report.credentials[1].old.revoke, Revoke::Accepted);
    // Nobody is left who could see it dead, and who could is burned: it was not kept for that.
    assert_eq!(report.credentials[1].old.verdict, Verdict::Unproven);
    assert!(sim.first(Verb::Revoke, "app") < Some(Time(5_000)), "{}", sim.told());
    assert!(sim.now < Time(60_000), "and nobody waits for a proof that cannot come");
    assert_eq!(report.credentials[0].old.verdict, Verdict::Dead);
}

#[test]
fn in_practice_the_old_client_stays_until_its_grants_are_proved_dead() {
    let mut sim = belonging(Sim::rehearse(&bench("granted")));
    let report = sim.finish();
    for one in &report.credentials {
        assert_eq!(one.old.verdict, Verdict::Dead, "{}: {}", one.id, one.old.why);
    }
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    let kill = sim.first(Verb::Revoke, "app").unwrap();
    let last_look = sim.times(Verb::Probe, "inbox").into_iter().max().unwrap();
    assert!(last_look < kill, "{} {}", last_look.0, kill.0);
}

/// What it would be rolled to is the old client's, and goes with that.
#[test]
fn a_grant_of_a_client_that_goes_is_not_rolled_but_ended() {
    let mut sim = belonging(Sim::contain(&bench("spent")));
    let report = sim.finish();
    assert_eq!(sim.times(Verb::Roll, "inbox"), []);
    assert!(!sim.server.lives(sim.old("inbox")) && !sim.server.lives(sim.old("app")));
    assert!(report.credentials[1].todo.iter().any(|todo| todo.what.contains("issue a new")));
}

#[test]
fn practice_ends_no_client_whose_grants_it_cannot_replace() {
    let mut sim = belonging(Sim::rehearse(&bench("spent")));
    let report = sim.finish();
    assert!(sim.server.lives(sim.old("inbox")) && sim.server.lives(sim.old("app")));
    assert_eq!(sim.times(Verb::Revoke, "app"), []);
    assert_ne!(report.exit_code, 0);
}

/// Neither client takes the tokens of the other. A new access token serves by itself for the
/// instant in which the old client still stands beside it.
#[test]
fn practice_switches_a_client_once_all_that_is_granted_to_it_is_replaced() {
    let mut sim =
        belonging(Sim::rehearse(&bench_of(&[("drive", "granted"), ("inbox", "granted")])));
    let report = sim.finish();
    for one in &report.credentials {
        assert_eq!(one.old.verdict, Verdict::Dead, "{}: {}", one.id, one.old.why);
    }
    let order = switched(&sim);
    let (issued, delivered) = order.split_at(3);
    assert!(issued.iter().all(|step| step.starts_with("issue ")), "{order:?}");
    assert_eq!((delivered.len(), delivered[2].as_str()), (3, "deliver app"), "{order:?}");
    let written = sim.calls.iter().filter(|(_, _, call)| matches!(call.task, Task::Deliver(_)));
    let last = written.map(|(at, ..)| *at).max().unwrap();
    for name in ["drive", "inbox", "app"] {
        assert!(sim.first(Verb::Revoke, name) > Some(last), "{name}: {}", sim.told());
    }
}

#[test]
fn practice_switches_nothing_of_a_client_where_one_grant_cannot_be_replaced() {
    let bench = bench_of(&[("drive", "granted"), ("inbox", "granted")]);
    let mut sim = belonging(Sim::rehearse(&bench));
    let places = sim.server.places.clone();
    while switched(&sim).len() < 3 {
        sim.until_event(sim.events.len() + 1);
    }
    // The last that was issued never works.
    let dud = sim.server.keys.last().unwrap().secret;
    sim.server.kill(dud);
    let report = sim.finish();
    assert_eq!(sim.server.places, places, "{}", sim.told());
    assert_eq!((sim.deliveries(), sim.calls_of(Verb::Revoke)), (0, 0), "{}", sim.told());
    for one in &report.credentials {
        assert_eq!(one.old.verdict, Verdict::Alive, "{}: {}", one.id, one.old.why);
        assert_ne!(one.new.state, NewState::Delivered);
    }
    assert_eq!(report.exit_code, 4);
}

/// The places hold the new grants by then; what could use the old ones stays.
#[test]
fn practice_ends_no_grant_whose_new_client_is_not_in_its_place() {
    let mut sim = belonging(Sim::rehearse(&bench("granted")));
    sim.server.unwritable.insert("dotenv:/srv/mail/.env#APP".to_owned());
    sim.finish();
    assert!(sim.server.lives(sim.old("inbox")) && sim.server.lives(sim.old("app")));
    assert_eq!(sim.calls_of(Verb::Revoke), 0, "{}", sim.told());
}

/// A client that gets no successor stays what it is, and what it granted is practised without it.
#[test]
fn practice_replaces_a_grant_of_a_client_that_is_not_replaced() {
    let mut sim = belonging(Sim::rehearse(&bench("granted")));
    sim.server.manners.refuses = vec![Verb::Issue];
    while switched(&sim).is_empty() {
        sim.until_event(sim.events.len() + 1);
    }
    sim.server.manners.refuses.clear();
    let report = sim.finish();
    assert_eq!(clients(&sim, Verb::Issue), [APP]);
    assert_eq!(report.credentials[1].old.verdict, Verdict::Dead, "{}", sim.told());
    assert!(sim.server.lives(sim.old("app")));
}

#[test]
fn practice_of_a_client_without_its_grants_is_refused() {
    let bench = bench("granted").options(|options| options.only = vec!["lab/app".to_owned()]);
    let refused = bench.rehearse().unwrap_err().to_string();
    assert_eq!(
        refused,
        "mail/app cannot be rehearsed: mail/inbox, which was granted to it, is not of this \
         rehearsal"
    );
}
