//! The plan for people: five lines before Enter, or everything under `--dry-run`.

use std::fmt::Write as _;

use super::terminal::clean;
use super::words;
use crate::engine::call::Verb;
use crate::engine::capability::{Actor, KindCapability, Way};
use crate::engine::outline::{Host, NotPlanned, Outline, Planned};
use crate::engine::plan::{self, Acting, Phase, Plan};
use crate::engine::report::Stamp;

/// More names than this make a line that nobody reads; `--dry-run` has them all.
const NAMES: usize = 6;

/// What a plan is about to do.
pub(crate) fn of(plan: &Plan) -> Outline {
    let mut owners: Vec<String> = plan.roles.iter().filter_map(|role| role.owner.clone()).collect();
    owners.dedup();
    let mut warnings = plan.warnings.clone();
    warnings.extend(
        plan.roles
            .iter()
            .filter_map(|role| Some(format!("{} is in it: {}", role.name, role.because.as_ref()?))),
    );
    warnings.extend(plan.upstream.iter().map(|role| format!("{role} can hand it new credentials")));
    warnings.extend(
        plan.downstream.iter().map(|role| format!("{role} stays alive: it was delegated to")),
    );
    warnings
        .extend(plan.elsewhere.iter().map(|it| format!("{} is left to run {}", it.role, it.run)));
    if plan.revoke_strangers {
        warnings.push(match plan.since {
            Some(since) => format!(
                "unrecognised credentials of this run's time, and those dated since {}, are revoked",
                Stamp(since)
            ),
            None => "unrecognised credentials of this run's time are revoked".to_owned(),
        });
    }
    warnings.extend(
        plan.inventory.changed.iter().map(|change| format!("since the last run: {change}")),
    );
    Outline {
        mode: plan.mode,
        roles: plan.roles.iter().map(|role| role.name.clone()).collect(),
        owners,
        inventory_sha256: plan.inventory.sha256.clone(),
        credentials: plan.credentials.iter().filter_map(|one| planned(plan, one)).collect(),
        hosts: plan
            .hosts
            .iter()
            .map(|host| Host { host: host.host.clone(), from_inventory: host.from_inventory })
            .collect(),
        collateral: plan.credentials.iter().flat_map(|one| one.collateral.clone()).collect(),
        not_planned: plan
            .left_out
            .iter()
            .map(|one| NotPlanned { id: one.id.clone(), why: one.why() })
            .collect(),
        unlisted: Vec::new(),
        warnings,
    }
}

fn planned(plan: &Plan, one: &plan::Planned) -> Option<Planned> {
    let kind = plan.kind(one.kind)?;
    Some(Planned {
        id: one.id.clone(),
        provider: kind.provider.clone(),
        kind: kind.kind.clone(),
        level: kind.can.level.clone(),
        steps: one
            .phases
            .iter()
            .filter_map(|phase| step(*phase, one, &kind.can).map(str::to_owned))
            .collect(),
        revoke: revoked_by(plan, one, &kind.can),
        warnings: Vec::new(),
    })
}

/// What a phase is in words; none where nothing is at hand to do it.
fn step(phase: Phase, one: &plan::Planned, can: &KindCapability) -> Option<&'static str> {
    let goes = |verb| ways(one, can, verb).next().is_some();
    let looks = can.probe().is_some_and(|way| one.can_go(way));
    // What was made before is at hand where this plan makes nothing.
    let made = !one.phases.iter().any(|phase| matches!(phase, Phase::Issue | Phase::Roll));
    let new = made || goes(Verb::Issue) || goes(Verb::Roll);
    let words = match phase {
        Phase::Baseline => "look at the old one",
        Phase::Issue if goes(Verb::Issue) => "issue a new one",
        Phase::Roll if goes(Verb::Roll) => "roll: old out, new in",
        Phase::ProveNew if new && looks => "use the new one",
        Phase::Deliver if new && one.deliver => "deliver it",
        Phase::Deliver if new => "hold it under seal",
        Phase::Finish if goes(Verb::Finish) => "end the grace",
        Phase::Revoke if goes(Verb::Revoke) => "revoke the old one",
        Phase::Evict if goes(Verb::Evict) => "end what it minted",
        Phase::ProveOld if looks => "prove the old one dead by using it",
        // Only the first way of listing is ever gone.
        Phase::Sweep if can.ways(Verb::Find).first().is_some_and(|way| one.can_go(way)) => {
            "list what is left"
        }
        _ => return None,
    };
    Some(words)
}

/// The ways of a verb that the plan may go.
fn ways<'a>(
    one: &'a plan::Planned,
    can: &'a KindCapability,
    verb: Verb,
) -> impl Iterator<Item = &'a Way> {
    let all = (0..).zip(can.ways(verb));
    let left_out = move |number| verb == Verb::Revoke && one.ways_left_out.contains(&number);
    all.filter(move |(number, way)| !left_out(*number) && one.can_go(way)).map(|(_, way)| way)
}

/// Who revokes the old one; none where the plan does not.
fn revoked_by(plan: &Plan, one: &plan::Planned, can: &KindCapability) -> Option<String> {
    let has = |phase| one.phases.contains(&phase);
    let verb = match (has(Phase::Revoke), has(Phase::Roll)) {
        (true, _) => Verb::Revoke,
        (false, true) => Verb::Roll,
        (false, false) => return None,
    };
    let by = |way: &Way| match way.steps.first().map(|step| &step.actor)? {
        Actor::Admin(name) => Some(acting(plan, one.admin(name.as_deref().unwrap_or(""))?)),
        Actor::Client => Some(acting(plan, one.client?)),
        Actor::New => Some("the new one".to_owned()),
        // Where nobody signs it is shown, and that is all it takes.
        Actor::Old | Actor::It | Actor::Live | Actor::None => Some("itself".to_owned()),
    };
    let all: Vec<String> = ways(one, can, verb).filter_map(by).collect();
    Some(if all.is_empty() { "a person, by hand".to_owned() } else { all.join(", else ") })
}

fn acting(plan: &Plan, acting: Acting) -> String {
    let named = match acting {
        Acting::Fixed(index) => plan.actors.get(index as usize).map(|actor| actor.id.clone()),
        Acting::Planned(subject) => plan.planned(subject).map(|planned| planned.id.clone()),
    };
    named.unwrap_or_default()
}

/// Role, owner, how many credentials, hosts, collateral; then what must be known before Enter.
pub(crate) fn brief(plan: &Outline) -> String {
    let mut lines = vec![
        format!("{:<12} {}", words::mode(plan.mode), of_roles(plan)),
        format!("{:<12} {}", "owner", names(&plan.owners)),
        format!("{:<12} {}", "credentials", counted(plan)),
        format!("{:<12} {}", "hosts", names(&hosts(plan))),
        format!("{:<12} {}", "collateral", names(&plan.collateral)),
    ];
    lines.extend(not_planned(plan));
    lines.extend(unlisted(plan));
    lines.extend(plan.warnings.iter().map(|text| format!("warning: {}", clean(text))));
    lines.join("\n")
}

fn of_roles(plan: &Outline) -> String {
    if plan.roles.is_empty() { words::whose(&plan.roles) } else { names(&plan.roles) }
}

/// What the plan is, and of whom.
pub(super) fn title(plan: &Outline) -> String {
    format!("{} of {}", words::mode(plan.mode), words::whose(&plan.roles))
}

/// What must be known of all of it, by name.
pub(super) fn facts(plan: &Outline) -> Vec<(&'static str, String)> {
    let all = |names: &[String]| match names {
        [] => "none".to_owned(),
        _ => names.join(", "),
    };
    let mut facts = Vec::new();
    // What stdin held has neither.
    if !plan.roles.is_empty() {
        facts.push(("owner", all(&plan.owners)));
        facts.push(("inventory", format!("sha256:{}", plan.inventory_sha256)));
    }
    facts.push(("hosts", all(&hosts(plan))));
    facts.push(("collateral", all(&plan.collateral)));
    facts
}

/// Every credential with its ordered steps.
pub(crate) fn whole(plan: &Outline) -> String {
    // Writing to a string cannot fail.
    let mut page = format!("{}\n", title(plan));
    for (name, fact) in facts(plan) {
        let _ = writeln!(page, "{name:<12}{}", clean(&fact));
    }
    for one in &plan.credentials {
        page.push_str(&credential(one));
    }
    let rest: Vec<String> = not_planned(plan)
        .chain(unlisted(plan))
        .chain(plan.warnings.iter().map(|text| format!("warning: {}", clean(text))))
        .collect();
    if !rest.is_empty() {
        let _ = writeln!(page, "\n{}", rest.join("\n"));
    }
    page.push_str("\nnothing was touched\n");
    page
}

fn credential(one: &Planned) -> String {
    let mut text = format!(
        "\n{} ({} {}, {})\n",
        clean(&one.id),
        clean(&one.provider),
        clean(&one.kind),
        clean(&one.level)
    );
    if let Some(who) = &one.revoke {
        let _ = writeln!(text, "  revoked by: {}", clean(who));
    }
    for (number, step) in (1..).zip(&one.steps) {
        let _ = writeln!(text, "  {number:>2}. {}", clean(step));
    }
    for warning in &one.warnings {
        let _ = writeln!(text, "  warning: {}", clean(warning));
    }
    text
}

fn counted(plan: &Outline) -> String {
    let total = plan.credentials.len();
    let by_hand = plan.credentials.iter().filter(|one| one.level.starts_with("by-hand")).count();
    match by_hand {
        0 => total.to_string(),
        some => format!("{total}, {some} of them by hand"),
    }
}

fn hosts(plan: &Outline) -> Vec<String> {
    let written = |host: &crate::engine::outline::Host| {
        let whose = if host.from_inventory { " (named by the inventory)" } else { "" };
        format!("{}{whose}", host.host)
    };
    plan.hosts.iter().map(written).collect()
}

pub(super) fn not_planned(plan: &Outline) -> impl Iterator<Item = String> {
    plan.not_planned.iter().map(|one| format!("left out: {}: {}", clean(&one.id), clean(&one.why)))
}

fn unlisted(plan: &Outline) -> impl Iterator<Item = String> {
    plan.unlisted.iter().map(|it| format!("not in the inventory: {}", words::unlisted(it)))
}

fn names(all: &[String]) -> String {
    let shown: Vec<_> = all.iter().take(NAMES).map(|name| clean(name)).collect();
    match all.len().saturating_sub(NAMES) {
        _ if all.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::outline::{Host, NotPlanned};
    use crate::engine::report::Mode;

    fn plan() -> Outline {
        let openai = Planned {
            id: "mail-agent/openai".to_owned(),
            provider: "openai".to_owned(),
            kind: "service-account-key".to_owned(),
            level: "full".to_owned(),
            steps: vec!["probe the old one".to_owned(), "revoke".to_owned()],
            revoke: Some("openai-admin, DELETE at api.openai.com".to_owned()),
            warnings: vec!["its project dies with it".to_owned()],
        };
        let bot = Planned {
            id: "mail-agent/bot".to_owned(),
            provider: "telegram".to_owned(),
            kind: "bot-token".to_owned(),
            level: "by-hand".to_owned(),
            revoke: Some("a person, at https://t.me/BotFather".to_owned()),
            ..Planned::default()
        };
        let host = |host: &str, from_inventory| Host { host: host.to_owned(), from_inventory };
        Outline {
            mode: Mode::Contain,
            roles: vec!["mail-agent".to_owned()],
            owners: vec!["support-platform@example.com".to_owned()],
            inventory_sha256: "ab12".to_owned(),
            credentials: vec![openai, bot],
            hosts: vec![host("api.openai.com", false), host("mq.example.com:15671", true)],
            collateral: Vec::new(),
            not_planned: vec![NotPlanned {
                id: "mail-agent/queue".to_owned(),
                why: "unknown provider `rabitmq` (inventory line 12)".to_owned(),
            }],
            unlisted: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn five_lines_and_what_must_be_known() {
        insta::assert_snapshot!(brief(&plan()), @r#"
    contain      mail-agent
    owner        support-platform@example.com
    credentials  2, 1 of them by hand
    hosts        api.openai.com, mq.example.com:15671 (named by the inventory)
    collateral   none
    left out: mail-agent/queue: unknown provider `rabitmq` (inventory line 12)
    "#);
    }

    #[test]
    fn a_long_list_is_counted_not_printed() {
        let many: Vec<String> = (1..=9).map(|n| format!("h{n}")).collect();
        assert_eq!(names(&many), "h1, h2, h3, h4, h5, h6 and 3 more");
        assert_eq!(names(&[]), "none");
    }

    #[test]
    fn a_dry_run_has_every_step() {
        insta::assert_snapshot!(whole(&plan()), @r#"
    contain of mail-agent
    owner       support-platform@example.com
    inventory   sha256:ab12
    hosts       api.openai.com, mq.example.com:15671 (named by the inventory)
    collateral  none

    mail-agent/openai (openai service-account-key, full)
      revoked by: openai-admin, DELETE at api.openai.com
       1. probe the old one
       2. revoke
      warning: its project dies with it

    mail-agent/bot (telegram bot-token, by-hand)
      revoked by: a person, at https://t.me/BotFather

    left out: mail-agent/queue: unknown provider `rabitmq` (inventory line 12)

    nothing was touched
    "#);
    }
}
