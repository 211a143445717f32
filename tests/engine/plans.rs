//! Plans: from an inventory to a script that leaves no choice.

use rotate::engine::call::Verb;
use rotate::engine::capability::{Order, Radius};
use rotate::engine::plan::Phase::{
    self, Baseline, Deliver, Evict, Finish, Issue, ProveNew, ProveOld, Revoke, Roll, Sweep,
};
use rotate::engine::plan::{Acting, Plan, PlanError};

use crate::bench::{Bench, entry};
use crate::sim::Sim;

fn script(bench: &Bench) -> Vec<Phase> {
    bench.contain().credentials[0].phases.clone()
}

#[test]
fn each_order_has_its_script() {
    let key = || Bench::with(&["key"]);
    let ordered = |order| key().can("key", |can| can.order = order);
    let any = [Baseline, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep];
    assert_eq!(script(&key()), any);
    assert_eq!(script(&ordered(Order::RevokeFirst)), any);
    assert_eq!(
        script(&ordered(Order::IssueFirst)),
        [Baseline, Issue, Revoke, Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]
    );
    assert_eq!(
        script(&Bench::with(&["rolling"])),
        [Baseline, Roll, Finish, Evict, ProveNew, Deliver, ProveOld, Sweep]
    );
    let only = |bench: Bench| script(&bench.options(|options| options.revoke_only = true));
    assert_eq!(only(key()), [Baseline, Revoke, Evict, ProveOld, Sweep]);
    assert_eq!(
        only(ordered(Order::IssueFirst)),
        [Baseline, Issue, Revoke, Evict, ProveNew, ProveOld, Sweep]
    );
    assert_eq!(
        only(Bench::with(&["rolling"])),
        [Baseline, Roll, Finish, Evict, ProveNew, ProveOld, Sweep]
    );
    let rehearse = |bench: Bench| bench.rehearse().unwrap().credentials[0].phases.clone();
    assert_eq!(
        rehearse(key()),
        [Baseline, Issue, ProveNew, Deliver, Revoke, Evict, ProveOld, Sweep]
    );
    assert_eq!(
        rehearse(Bench::with(&["rolling"])),
        [Baseline, Roll, ProveNew, Deliver, Finish, Evict, ProveOld, Sweep]
    );
}

#[test]
fn a_burned_admin_is_scripted_to_be_replaced_first() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "admin = \"mail/boss\"\n")
        + &entry("mail", "boss", "root", "");
    let plan = Bench::of(&text).contain();
    let boss = &plan.credentials[1];
    assert_eq!(boss.phases[..4], [Baseline, Issue, ProveNew, Revoke]);
    assert_eq!(boss.phases[4..], [Evict, Issue, ProveNew, Deliver, ProveOld, Sweep]);
    assert_eq!(plan.credentials[0].admins[""], Acting::Planned(rotate::engine::call::Subject(1)));
    assert_eq!(plan.actors.len(), 1, "and root, which is not burned, for it");
}

#[test]
fn what_kills_too_wide_is_left_out_unless_the_responder_says_so() {
    let wide = |bench: Bench| bench.can("team-key", |can| can.blast.kills = Radius::User);
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", "vars = { team = \"blue\" }\n");
    let plan = wide(Bench::of(&text)).contain();
    assert_eq!(plan.credentials[0].ways_left_out, [0, 1]);
    let mut sim = Sim::contain(&wide(Bench::of(&text)));
    let report = sim.finish();
    assert_eq!((sim.first(Verb::Revoke, "a"), report.exit_code), (None, 4));
    let todo = &report.credentials[0].todo[0].what;
    assert!(todo.ends_with("everything of its user: run again with --max-blast user"), "{todo}");
    let said = wide(Bench::of(&text)).options(|options| options.max_blast = Some(Radius::User));
    assert_eq!(said.contain().credentials[0].ways_left_out, [] as [u16; 0]);
}

#[test]
fn groups_have_a_first_and_collateral_is_named_there() {
    let blue = "vars = { team = \"blue\" }\n";
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "team-key", blue)
        + &entry("mail", "b", "team-key", blue)
        + "[role.ci]\n"
        + &entry("ci", "c", "team-key", blue)
        + &entry("ci", "d", "team-key", "vars = { team = \"red\" }\n");
    let plan = Bench::of(&text).contain();
    assert_eq!(plan.credentials[0].collateral, ["ci/c"]);
    assert_eq!(plan.credentials[1].leader, Some(rotate::engine::call::Subject(0)));
    assert_eq!(plan.credentials[1].collateral, [] as [&str; 0]);
}

#[test]
fn who_can_hand_it_new_ones_and_who_stays_alive_is_named() {
    let text = "[role.mail]\ndelegates_to = [\"calendar\"]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + "[role.planner]\ndelegates_to = [\"mail\"]\n"
        + &entry("planner", "a", "key", "")
        + "[role.calendar]\n"
        + &entry("calendar", "a", "key", "");
    let bench = Bench::of(&text);
    let plan = bench.contain();
    assert_eq!(
        (plan.upstream.as_slice(), plan.downstream.as_slice()),
        (["planner".to_owned()].as_slice(), ["calendar".to_owned()].as_slice(),)
    );
    let report = Sim::contain(&bench).finish();
    assert!(report.todo[0].what.starts_with("calendar stays alive"));
    assert_eq!(report.exit_code, 3);
}

#[test]
fn what_is_left_out_is_owed_a_new_one_only_where_one_is_issued() {
    let nobodys = "[[role.mail.credential]]\nname = \"b\"\nprovider = \"nobody\"\n\
                   kind = \"key\"\nsecret = \"env:B\"\n";
    for revoke_only in [false, true] {
        let bench = Bench::of(&format!("[role.mail]\n{}{nobodys}", entry("mail", "a", "key", "")))
            .options(|options| options.revoke_only = revoke_only);
        let report = Sim::contain(&bench).finish();
        let planned: Vec<_> =
            report.credentials.iter().map(|one| (one.id.as_str(), one.new.planned)).collect();
        assert_eq!(planned, [("mail/a", !revoke_only), ("mail/b", !revoke_only)]);
        assert_eq!(report.exit_code, 3, "it is left for a person all the same");
    }
}

#[test]
fn what_entries_outside_the_run_name_is_known_to_it() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + &entry("mail", "b", "password", "")
        + "[role.ci]\n"
        + &entry("ci", "c", "key", "deliver = [\"dotenv:/srv/mail/.env#C\"]\n");
    let bench = Bench::of(&text).options(|options| options.only = vec!["lab/a".to_owned()]);
    let named = |plan: &Plan| -> Vec<String> {
        plan.named_elsewhere.iter().map(ToString::to_string).collect()
    };
    let expected = ["dotenv:/srv/ci/.env#C", "dotenv:/srv/mail/.env#B", "dotenv:/srv/mail/.env#C"];
    assert_eq!(named(&bench.contain()), expected);
    // A rehearsal looks for nothing.
    assert_eq!(named(&bench.rehearse().unwrap()), [""; 0]);
}

/// mail -> calendar -> rooms -> mail, and calendar -> archive.
const CHAIN: &str = "[role.mail]\ndelegates_to = [\"calendar\"]\n\
     [role.calendar]\ndelegates_to = [\"rooms\", \"archive\"]\n\
     [role.rooms]\ndelegates_to = [\"mail\"]\n\
     [role.archive]\n\
     [role.planner]\ndelegates_to = [\"rooms\"]\n";

fn roles(plan: &Plan) -> Vec<&str> {
    plan.roles.iter().map(|role| role.name.as_str()).collect()
}

#[test]
fn delegates_come_in_by_way_of_others_and_each_once() {
    let text = CHAIN.to_owned() + &entry("mail", "a", "key", "") + &entry("rooms", "b", "key", "");
    let bench = Bench::of(&text);
    let plan = bench.contain();
    assert_eq!(roles(&plan), ["mail"]);
    assert_eq!(plan.downstream, ["archive", "calendar", "rooms"]);
    assert_eq!(plan.upstream, ["rooms"]);

    let plan = bench.options(|options| options.with_delegates = true).contain();
    assert_eq!(roles(&plan), ["mail", "calendar", "rooms", "archive"]);
    assert_eq!((plan.downstream.len(), plan.upstream.as_slice()), (0, &["planner".to_owned()][..]));
    let because: Vec<_> = plan.roles.iter().map(|role| role.because.as_deref()).collect();
    let delegated = [
        None,
        Some("mail delegates to it"),
        Some("calendar delegates to it"),
        Some("calendar delegates to it"),
    ];
    assert_eq!(because, delegated);
    let upstream: Vec<_> = plan.roles.iter().map(|role| role.upstream.len()).collect();
    assert_eq!(upstream, [0, 0, 1, 0], "each role has its own");
    let ids: Vec<_> = plan.credentials.iter().map(|planned| planned.id.as_str()).collect();
    assert_eq!(ids, ["mail/a", "rooms/b"]);
}

#[test]
fn what_passed_through_a_server_brings_its_whole_role_in() {
    let text = "[role.mail]\n".to_owned()
        + &entry("mail", "a", "key", "through = [\"mcp:notion\"]\n")
        + &entry("mail", "b", "key", "")
        + "[role.ci]\n"
        + &entry("ci", "c", "key", "through = [\"mcp:notion\", \"mcp:github\"]\n")
        + "[role.other]\n"
        + &entry("other", "d", "key", "");
    let bench = Bench::of(&text).options(|options| options.through = vec!["mcp:notion".to_owned()]);
    let plan = Plan::contain(&bench.inventory, &bench.capabilities, &[], &bench.options).unwrap();
    let ids: Vec<_> = plan.credentials.iter().map(|planned| planned.id.as_str()).collect();
    assert_eq!(ids, ["ci/c", "mail/a", "mail/b"]);
    assert_eq!(plan.roles[1].because.as_deref(), Some("a passed through mcp:notion"));

    let bench = bench.options(|options| options.through = vec!["mcp:notoin".to_owned()]);
    let plan = Plan::contain(&bench.inventory, &bench.capabilities, &[], &bench.options);
    let error = plan.unwrap_err().to_string();
    assert!(error.ends_with("did you mean mcp:notion?"), "{error}");
}

#[test]
fn an_unknown_role_and_an_empty_filter_are_no_plan() {
    let bench = Bench::with(&["key"]);
    let roles = ["mall".to_owned()];
    let plan = Plan::contain(&bench.inventory, &bench.capabilities, &roles, &bench.options);
    let nearest = Some("mail".to_owned());
    assert_eq!(plan, Err(PlanError::UnknownRole { role: "mall".to_owned(), nearest }));
    let bench = bench.options(|options| options.only = vec!["slack".to_owned()]);
    let roles = ["mail".to_owned()];
    let plan = Plan::contain(&bench.inventory, &bench.capabilities, &roles, &bench.options);
    assert!(matches!(plan, Err(PlanError::NothingLeft { .. })));
}

#[test]
fn what_several_roles_hold_is_planned_once() {
    let text = "[role.mail]\nuses = [\"ci/a\"]\n".to_owned()
        + &entry("mail", "a", "key", "")
        + "[role.ci]\n"
        + &entry("ci", "a", "key", "");
    let bench = Bench::of(&text);
    let roles = ["mail".to_owned(), "ci".to_owned(), "mail".to_owned()];
    let plan =
        Plan::contain(&bench.inventory, &bench.capabilities, &roles, &bench.options).unwrap();
    let ids: Vec<_> = plan.credentials.iter().map(|planned| planned.id.as_str()).collect();
    assert_eq!(ids, ["mail/a", "ci/a"]);
    assert_eq!(plan.roles.len(), 2);
}

#[test]
fn a_plan_goes_through_json() {
    let plan = Bench::with(&["key", "password", "rolling", "token"]).contain();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}
