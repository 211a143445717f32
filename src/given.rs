//! Secrets that a person hands over without an inventory: known by their shape, planned where they
//! can end themselves, named by fingerprint where they cannot.

use zeroize::Zeroizing;

use crate::engine::call::Verb;
use crate::engine::capability::{Actor, ByHand, KindCapability, Order, PartType};
use crate::engine::plan::{LeftOut, Options, Plan, PlanError};
use crate::inventory::{Credential, Inventory, Role};
use crate::provider::catalog::{Catalog, Resolved};
use crate::secret::{FingerprintKey, Parts, Secret};
use crate::store::GivenStore;

/// What they are called by: `stdin/line-3`.
const ROLE: &str = "stdin";

/// One secret, and the line it stood on.
struct Given {
    /// From 1.
    line: usize,
    value: Zeroizing<String>,
    /// Provider and kind of every shape it has.
    kinds: Vec<(String, String)>,
}

/// A plan that ends what can end itself, and the store that holds those secrets until the run has
/// sealed them; none if there is no secret in the text.
///
/// The text holds one secret a line, or the lines of a `.env` file, or anything else: then what
/// has a known shape in it counts. The plan has no role: nobody's is contained by it.
///
/// # Errors
/// Those of [`Plan::contain`].
pub(crate) fn plan(
    text: &str,
    resolved: &Resolved,
    fingerprints: &FingerprintKey,
    options: &Options,
) -> Result<Option<(Plan, GivenStore)>, PlanError> {
    let mut role = Role { name: ROLE.to_owned(), ..Role::default() };
    let mut left_out = Vec::new();
    let mut kept = GivenStore::default();
    for (number, one) in (1..).zip(all(text, resolved.catalog())) {
        let line = format!("line-{}", one.line);
        let alike = |it: &Credential| it.name == line;
        let name = match role.credentials.iter().any(alike) {
            true => format!("{line}-{number}"),
            false => line,
        };
        let secret = Secret::new(one.value.as_bytes().to_vec());
        match fitting(&one, resolved, &secret) {
            Ok((provider, kind)) => role.credentials.push(Credential {
                secret: [("secret".to_owned(), kept.keep(&name, secret))].into(),
                name,
                provider,
                kind: Some(kind),
                ..Credential::default()
            }),
            Err(why) => left_out.push(LeftOut {
                id: format!("{ROLE}/{name}"),
                fingerprint: Some(fingerprints.of(&lone(secret))),
                ..*why
            }),
        }
    }
    if role.credentials.is_empty() && left_out.is_empty() {
        return Ok(None);
    }
    let roles = [(ROLE.to_owned(), role)].into();
    let inventory = Inventory { roles, ..Inventory::default() };
    let options = Options { revoke_only: true, ..options.clone() };
    let mut plan = Plan::contain(&inventory, &resolved.capabilities, &[ROLE.to_owned()], &options)?;
    plan.roles.clear();
    for planned in &mut plan.credentials {
        planned.role = None;
    }
    plan.left_out.extend(left_out);
    Ok(Some((plan, kept)))
}

/// Every secret of a text, each once.
fn all(text: &str, catalog: &Catalog) -> Vec<Given> {
    let mut all: Vec<Given> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        // A comment is no secret, and may hold one.
        let values = match content {
            "" => continue,
            _ if content.starts_with('#') => shaped(content, catalog),
            _ => values(content, catalog),
        };
        for value in values {
            if all.iter().any(|known| *known.value == value) {
                continue;
            }
            let kinds = catalog.identify(value).into_iter();
            let kinds = kinds.map(|(id, kind)| (id.to_owned(), kind.to_owned())).collect();
            all.push(Given { line, value: Zeroizing::new(value.to_owned()), kinds });
        }
    }
    all
}

fn values<'a>(line: &'a str, catalog: &Catalog) -> Vec<&'a str> {
    let assigned = assigned(line);
    for whole in [Some(line), assigned].into_iter().flatten() {
        if !catalog.identify(whole).is_empty() {
            // A sentence may hold nothing else, and its full stop has the shape, too.
            let stopped = |value: &&str| whole.trim_end_matches('.') == *value;
            return vec![shaped(whole, catalog).into_iter().find(stopped).unwrap_or(whole)];
        }
    }
    let found = shaped(line, catalog);
    if found.is_empty() { vec![assigned.unwrap_or(line)] } else { found }
}

fn shaped<'a>(line: &'a str, catalog: &Catalog) -> Vec<&'a str> {
    catalog.find(line).into_iter().filter_map(|(span, ..)| line.get(span)).collect()
}

/// The value of `KEY=value`, its quotes taken off.
fn assigned(line: &str) -> Option<&str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if key.is_empty() || !key.chars().all(names) || value.is_empty() {
        return None;
    }
    let bare = |quote: &char| value.strip_prefix(*quote)?.strip_suffix(*quote);
    Some(['"', '\'', '`'].iter().find_map(bare).filter(|it| !it.is_empty()).unwrap_or(value))
}

fn lone(secret: Secret) -> Parts {
    Parts { secret: [("secret".to_owned(), secret)].into(), ..Parts::default() }
}

/// The one provider and kind that a secret can be ended as, or why there is none.
fn fitting(
    one: &Given,
    resolved: &Resolved,
    secret: &Secret,
) -> Result<(String, String), Box<LeftOut>> {
    let why = |message: String| {
        Box::new(LeftOut { message: format!("line {}: {message}", one.line), ..LeftOut::default() })
    };
    let (id, name) = match one.kinds.as_slice() {
        [] => return Err(why("it has no shape that a provider file knows".to_owned())),
        [one] => one,
        several => {
            let named: Vec<_> = several.iter().map(|(id, kind)| format!("{id} {kind}")).collect();
            return Err(why(format!("it could be any of: {}", named.join(", "))));
        }
    };
    let provider = resolved.capabilities.providers.get(id);
    let kind = provider.and_then(|provider| provider.kinds.get(name));
    let (Some(provider), Some(kind)) = (provider, kind) else {
        return Err(why(format!("{id} {name} cannot be called")));
    };
    let because = if provider.base_missing {
        format!("only an inventory can say where {id} is")
    } else if !is_whole(id, name, kind, resolved, secret) {
        format!("{id} {name} has more parts than this one")
    } else if !ends_itself(kind) {
        format!("{id} {name} cannot end itself, and no admin is at hand")
    } else {
        return Ok((id.clone(), name.clone()));
    };
    let by_hand = kind
        .revoke_by_hand
        .as_ref()
        .map(|page| ByHand { at: unmarked(&page.at), action: unmarked(&page.action) });
    Err(Box::new(LeftOut { provider: id.clone(), by_hand, ..*why(because) }))
}

/// A text of a provider file in which nothing is known: `{{ handle }}` is its handle.
fn unmarked(text: &str) -> String {
    let mut plain = String::new();
    let mut pieces = text.split("{{");
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        plain.push_str("its ");
        plain.push_str(name.trim());
        plain.push_str(rest);
    }
    plain
}

/// Whether the value alone is all that the kind asks for.
fn is_whole(
    id: &str,
    name: &str,
    kind: &KindCapability,
    resolved: &Resolved,
    secret: &Secret,
) -> bool {
    let mut parts = lone(secret.duplicate());
    if let Some(provider) = resolved.provider(id) {
        provider.split(name, &mut parts);
    }
    let has = |name: &String| parts.secret.contains_key(name) || parts.public.contains_key(name);
    // A handle can be learned.
    let asked = |part: &crate::engine::capability::Part| {
        !part.optional && part.part_type != PartType::Handle
    };
    kind.parts.iter().all(|(name, part)| !asked(part) || has(name))
}

/// Whether a way of revocation needs no credential but the one that it ends.
fn ends_itself(kind: &KindCapability) -> bool {
    let alone = |party: &String| party == "old" || party == "it";
    let mut ways = kind.ways(Verb::Revoke).iter();
    // One that has to be replaced before it can be ended would leave a new one behind.
    kind.order != Order::IssueFirst
        && ways.any(|way| {
            way.steps.iter().all(|step| {
                matches!(step.actor, Actor::Old | Actor::It | Actor::None)
                    && step.parties.iter().all(alone)
            })
        })
}
