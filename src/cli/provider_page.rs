//! The page of a provider as a responder reads it: what can be done, by whom, how sure that is, and
//! what a person does where no call can.

use std::fmt::Write as _;

use super::terminal::clean;
use crate::engine::call::Verb;
use crate::engine::capability::{
    Actor, ByHand, Effect, KindCapability, Lifetime, Order, PartType, ProofRule,
    ProviderCapability, Radius, Rate, Seen, Way,
};
use crate::provider::spec::Spec;

/// The verbs in the order of a run.
const VERBS: [(Verb, &str); 8] = [
    (Verb::Learn, "learn"),
    (Verb::Probe, "probe"),
    (Verb::Find, "find"),
    (Verb::Issue, "issue"),
    (Verb::Roll, "roll"),
    (Verb::Finish, "finish"),
    (Verb::Revoke, "revoke"),
    (Verb::Evict, "evict"),
];

/// The page.
pub(crate) fn page(spec: &Spec, can: &ProviderCapability) -> String {
    let mut page = format!("{} ({})\n", spec.name, spec.id);
    let hosts = match can.hosts.as_slice() {
        [] => "wherever the inventory says".to_owned(),
        hosts => hosts.join(", "),
    };
    line(&mut page, "secrets go to", &hosts);
    line(&mut page, "documents", &format!("{}, last looked at on {}", spec.docs, spec.checked));
    line(&mut page, "it bears", &limits(can));
    for (name, var) in &can.vars {
        let may = var.optional || var.default.is_some();
        let say = var.say.as_deref().unwrap_or("see the documents");
        let must = if may { "may be given" } else { "must be given" };
        line(&mut page, &format!("vars.{name}"), &format!("{must}: {say}"));
    }
    for (name, kind) in &can.kinds {
        section(&mut page, name, kind);
    }
    page
}

fn section(page: &mut String, name: &str, kind: &KindCapability) {
    let _ = writeln!(page, "\n{name}: {}", kind.level);
    let parts: Vec<String> = kind
        .parts
        .iter()
        .map(|(name, part)| match part.part_type {
            PartType::Secret => name.clone(),
            PartType::Public => format!("{name} (public)"),
            PartType::Handle => format!("{name} (handle)"),
        })
        .collect();
    if !parts.is_empty() {
        line(page, "parts", &parts.join(", "));
    }
    line(page, "order", order(kind.order));
    line(page, "a revocation ends", &kills(kind));
    if let Some(overlap) = kind.overlap {
        line(page, "at once", &format!("{overlap} may live"));
    }
    if let Some(lives) = &kind.lives {
        line(page, "ends by itself", &lasts(lives));
    }
    for (what, lifetime) in &kind.minted {
        line(page, "outlives it", &format!("{what}, {}", lasts(lifetime)));
    }
    line(page, "proof", &proof(kind));
    for (verb, word) in VERBS {
        for (number, way) in (1..).zip(kind.ways(verb)) {
            let label = if number == 1 { word } else { "" };
            line(page, label, &way_in_words(verb, way));
        }
    }
    by_hand(page, "issue by hand", kind.issue_by_hand.as_ref());
    by_hand(page, "revoke by hand", kind.revoke_by_hand.as_ref());
    for warning in &kind.warn {
        line(page, "warning", warning);
    }
}

/// Writing to a string cannot fail.
fn line(page: &mut String, label: &str, text: &str) {
    let _ = writeln!(page, "  {label:<18} {}", clean(text));
}

fn by_hand(page: &mut String, label: &str, by_hand: Option<&ByHand>) {
    if let Some(ByHand { at, action }) = by_hand {
        line(page, label, &format!("{at}: {action}"));
    }
}

fn way_in_words(verb: Verb, way: &Way) -> String {
    let who: Vec<String> = way.steps.iter().map(|step| actor(&step.actor)).collect();
    let mut text = match verb {
        Verb::Probe => "with the one that is looked at".to_owned(),
        _ => format!("by {}", who.join(", then ")),
    };
    let _ = write!(text, " ({})", seen(way.seen));
    if let Some(privilege) = &way.privilege {
        let _ = write!(text, ", needs {privilege}");
    }
    if let Some(blast) = &way.blast {
        let _ = write!(text, ", ends {}", radius(blast.kills));
    }
    if way.person {
        text.push_str(", and a person answers");
    }
    if verb == Verb::Revoke && way.steps.iter().any(|step| !step.again) {
        text.push_str(", never sent twice");
    }
    text
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::It => "the one that is looked at",
        Actor::Old => "the old one",
        Actor::New => "the new one",
        Actor::Live => "whichever lives",
        Actor::Client => "its client",
        Actor::None => "nobody: it is not signed",
        Actor::Admin(None) => "the admin",
        Actor::Admin(Some(name)) => return format!("the admin {name}"),
    }
    .to_owned()
}

fn seen(seen: Seen) -> &'static str {
    match seen {
        Seen::Memory => "from memory: unchecked",
        Seen::Report => "reported by others",
        Seen::Code => "read in code",
        Seen::Doc => "read in the vendor's documents",
        Seen::Run => "seen on a real server",
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::Any => "the plan decides",
        Order::IssueFirst => "a new one must exist before the old one can go",
        Order::RevokeFirst => "revoking ends a new one too: the old one goes first",
        Order::Roll => "one call takes the old one out and brings the new one",
    }
}

fn kills(kind: &KindCapability) -> String {
    let ends = radius(kind.blast.kills);
    match kind.blast.key.as_slice() {
        [] => ends.to_owned(),
        key => format!("{ends} of the same {}", key.join(", ")),
    }
}

fn radius(radius: Radius) -> &'static str {
    match radius {
        Radius::Token => "it alone",
        Radius::Family => "its family",
        Radius::Grant => "the whole grant",
        Radius::Project => "everything of the project",
        Radius::Client => "everything of the client",
        Radius::User => "everything of the user",
        Radius::Account => "everything of the account",
    }
}

fn proof(kind: &KindCapability) -> String {
    let ProofRule { refusals, hold_ms, give_up_ms, assumed, .. } = kind.proof;
    let effect = match kind.effect {
        Effect::None => "",
        Effect::Mints => "; a probe makes a session",
        Effect::Extends => "; a probe lengthens its life",
        Effect::Costs => "; a probe costs money, and is not used",
        Effect::Sends => "; a probe sends something, and is not used",
    };
    if kind.ways(Verb::Probe).is_empty() {
        return "none: nothing here can use it".to_owned();
    }
    let whose =
        if assumed { "; nothing is known of its flapping, the figures are ours" } else { "" };
    format!(
        "refused {refusals} times for {}, waited for {}{effect}{whose}",
        duration(hold_ms),
        duration(give_up_ms)
    )
}

fn limits(can: &ProviderCapability) -> String {
    let limits = &can.limits;
    let mut text = format!("{} calls at once", limits.in_flight);
    for (what, rate) in [
        ("calls", limits.calls),
        ("revocations", limits.revoke),
        ("refused probes", limits.refused),
    ] {
        let Some(Rate { count, per_ms }) = rate else { continue };
        match count {
            0 => text.push_str(&format!(", no {what}")),
            _ => text.push_str(&format!(", {count} {what} in {}", duration(per_ms))),
        }
    }
    text
}

fn lasts(lifetime: &Lifetime) -> String {
    match lifetime {
        Lifetime::Ms(ms) => format!("for {}", duration(*ms)),
        Lifetime::JwtExp => "until its own exp".to_owned(),
        Lifetime::Taken(name) => format!("until its {name}"),
        Lifetime::Open => "until it is evicted".to_owned(),
        Lifetime::Unknown => "for a time nobody states".to_owned(),
        Lifetime::Forever => "for ever".to_owned(),
    }
}

/// In the largest unit that divides it.
fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = UNITS.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}
