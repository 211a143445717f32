//! The page of a provider for people, made from its file and from nothing else.

use std::fmt::Write as _;

use super::Spec;
use super::level::capability;
use super::verb::VERBS;
use crate::engine::capability::{
    ByHand, Class, KindCapability, Lifetime, Order, PartType, ProviderCapability, Seen, Way,
};

/// The page in Markdown.
pub(crate) fn page(spec: &Spec) -> String {
    let capability = capability(spec, &|_| None);
    let mut page = format!("## {}\n\n", spec.name);
    let hosts = match capability.hosts.as_slice() {
        [] => "wherever the inventory says".to_owned(),
        hosts => hosts.join(", "),
    };
    line(&mut page, &format!("`{}`. Secrets go to: {hosts}.", spec.id));
    line(&mut page, &format!("Held against <{}> on {}.", spec.docs, spec.checked));
    for (name, var) in &capability.vars {
        let must = if var.optional || var.default.is_some() { "may" } else { "must" };
        let say = var.say.as_deref().unwrap_or("see the provider's documents");
        line(&mut page, &format!("The inventory {must} give `{name}`: {say}."));
    }
    for (name, kind) in &capability.kinds {
        let driver = spec.kinds.get(name).and_then(|kind| kind.head.driver.as_deref());
        section(&mut page, &capability, name, kind, driver);
    }
    page
}

fn section(
    page: &mut String,
    of: &ProviderCapability,
    name: &str,
    kind: &KindCapability,
    driver: Option<&str>,
) {
    line(page, &format!("\n### {} `{name}`", of.name));
    let level = match driver {
        Some(driver) => format!("native driver `{driver}`"),
        None => kind.level.clone(),
    };
    line(page, &format!("Level: **{level}**. Class: {}.", class(kind.class)));
    let parts: Vec<String> = kind
        .parts
        .iter()
        .map(|(name, part)| {
            let what = match part.part_type {
                PartType::Secret => "secret",
                PartType::Public => "public",
                PartType::Handle => "handle",
            };
            format!("`{name}` ({what})")
        })
        .collect();
    line(page, &format!("Parts: {}.", parts.join(", ")));
    let order = match kind.order {
        Order::Any => "revoke and issue in any order",
        Order::IssueFirst => "a new one must exist before the old one can go",
        Order::RevokeFirst => "revoking kills a new one too, so the old one goes first",
        Order::Roll => "one call takes the old one out and brings the new one",
    };
    line(page, &format!("Order: {order}."));
    for (what, lifetime) in &kind.minted {
        line(page, &format!("Outlives the revocation: {what}, {}.", lifetime_words(lifetime)));
    }
    for warning in &kind.warn {
        line(page, &format!("Warning: {warning}."));
    }
    if !kind.verbs.is_empty() {
        line(page, "\n| verb | ways | made by | seen |\n|---|---|---|---|");
    }
    for (word, verb) in VERBS {
        let Some(ways) = kind.verbs.get(&verb) else { continue };
        for (index, way) in ways.iter().enumerate() {
            let (actors, seen) = (actors(way), seen(way.seen));
            line(page, &format!("| {word} | {} | {actors} | {seen} |", index + 1));
        }
    }
    line(page, "");
    hand(page, "To issue by hand", kind.issue_by_hand.as_ref());
    hand(page, "To revoke by hand", kind.revoke_by_hand.as_ref());
}

fn hand(page: &mut String, what: &str, by_hand: Option<&ByHand>) {
    if let Some(by_hand) = by_hand {
        line(page, &format!("- {what}: {}: {}", by_hand.at, by_hand.action));
    }
}

fn line(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}

fn actors(way: &Way) -> String {
    let name = |step: &crate::engine::capability::StepCapability| {
        step.actor.party().unwrap_or_else(|| "nobody".into())
    };
    way.steps.iter().map(name).collect::<Vec<_>>().join(", then ")
}

fn lifetime_words(lifetime: &Lifetime) -> String {
    match lifetime {
        Lifetime::Ms(ms) if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        Lifetime::Ms(ms) => format!("{} s", ms / 1000),
        Lifetime::JwtExp => "until its own `exp`".into(),
        Lifetime::Taken(name) => format!("until its `{name}`"),
        Lifetime::Open => "until evicted".into(),
        Lifetime::Unknown => "for a time nobody states".into(),
        Lifetime::Forever => "for ever".into(),
    }
}

fn seen(seen: Seen) -> &'static str {
    match seen {
        Seen::Memory => "memory",
        Seen::Report => "report",
        Seen::Code => "code",
        Seen::Doc => "doc",
        Seen::Run => "run",
    }
}

fn class(class: Class) -> &'static str {
    super::kind::CLASSES.iter().find(|(_, known)| *known == class).map_or("", |(word, _)| word)
}
