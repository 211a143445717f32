//! Markers, `{{ name }}`: names and nothing more. Resolved when the file is read, so that a call
//! can only miss a value, never a name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use toml::de::DeValue;

use super::head::Head;
use super::reader::{Errors, Node, did_you_mean, to_json};
use crate::engine::call::Verb;
use crate::engine::capability::{PartType, Var};

/// Whose value a marker means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// What the verb is about: `it`, `old` or `new`.
    Subject,
    /// Whoever authenticates the call, or logs in.
    Acting,
    /// The old one.
    Old,
    /// The new one.
    New,
    /// The admin; a name where the kind needs several.
    Admin(Option<String>),
    /// The client.
    Client,
}

impl Party {
    /// Its key among the parties of a call, where it has one of its own.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Self::Subject | Self::Acting => None,
            Self::Old => Some("old".into()),
            Self::New => Some("new".into()),
            Self::Admin(None) => Some("admin".into()),
            Self::Admin(Some(name)) => Some(format!("admin.{name}")),
            Self::Client => Some("client".into()),
        }
    }
}

/// What the verb of a call is about, as a key among its parties.
pub(crate) fn subject(verb: Verb) -> &'static str {
    match verb {
        Verb::Probe | Verb::Login => "it",
        Verb::Issue | Verb::Roll | Verb::Consent => "new",
        Verb::Learn | Verb::Find | Verb::Finish | Verb::Revoke | Verb::Evict => "old",
    }
}

/// How a point in time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// RFC 3339, seconds, `Z`.
    Rfc3339,
    /// `YYYY-MM-DD`, UTC.
    Date,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    Ms,
}

/// How a length of time is written, as a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Hours,
    Days,
}

/// What a marker stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A part of a credential.
    Part {
        of: Party,
        name: String,
        secret: bool,
    },
    /// A value from the inventory (of the acting credential in `auth` and `login`).
    Var {
        of: Party,
        name: String,
    },
    /// What an earlier verb or step took; public.
    Taken(String),
    /// What `login` took; secret, in memory only.
    Token(String),
    /// A claim of a part that is a JWT; public.
    Claim {
        of: Party,
        name: String,
    },
    /// The provider's id of the subject.
    Handle,
    Label,
    Scopes,
    Who,
    /// The address of the unnamed base.
    Base,
    /// When the new one shall end.
    Expires(TimeForm),
    /// How long the new one shall live.
    Ttl(Unit),
    /// How long the old one may live on after a roll.
    Grace(Unit),
    /// Made up, sent once, kept nowhere.
    Random,
}

impl Named {
    /// Whether what stands there must never be written down.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Part { secret: true, .. } | Self::Token(_) | Self::Random)
    }
}

/// One marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) value: Named,
    /// As written between the braces, for messages.
    pub(crate) name: String,
    /// `{{ x? }}`: the key is left out when there is no value.
    pub(crate) optional: bool,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Plain(String),
    Marker(Marker),
}

/// A string with markers in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<Piece>);

impl Text {
    /// The marker that is all of it.
    pub(crate) fn whole(&self) -> Option<&Marker> {
        match self.0.as_slice() {
            [Piece::Marker(marker)] => Some(marker),
            _ => None,
        }
    }

    pub(crate) fn markers(&self) -> impl Iterator<Item = &Marker> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Marker(marker) => Some(marker),
            Piece::Plain(_) => None,
        })
    }
}

/// JSON, templated value by value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// Null, booleans, numbers.
    Fixed(Value),
    /// A string; one whole marker keeps its own type.
    Text(Text),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Text(text) => vec![text],
            Self::List(list) => list.iter().flat_map(Self::texts).collect(),
            Self::Object(entries) => entries.iter().flat_map(|(_, json)| json.texts()).collect(),
        }
    }
}

/// Where a text stands: which names mean something there, and which secrets may.
pub(crate) struct Scope<'a> {
    pub(crate) heads: &'a BTreeMap<String, Arc<Head>>,
    pub(crate) vars: &'a BTreeMap<String, Var>,
    /// The kind it stands in; none at the top of the file.
    pub(crate) kind: Option<&'a Head>,
    /// In `auth` and `login`, markers belong to the acting credential.
    pub(crate) acting: bool,
    /// Public values taken before.
    pub(crate) taken: BTreeSet<String>,
    /// Nothing but vars may stand here.
    pub(crate) vars_only: bool,
}

/// What a text may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// None at all.
    Refused,
    /// Only as the whole of the value.
    Whole,
    /// Anywhere: a header, a path segment.
    Anywhere,
}

const FIXED: [(&str, Named); 15] = [
    ("handle", Named::Handle),
    ("label", Named::Label),
    ("scopes", Named::Scopes),
    ("who", Named::Who),
    ("base", Named::Base),
    ("random", Named::Random),
    ("expires", Named::Expires(TimeForm::Rfc3339)),
    ("expires.date", Named::Expires(TimeForm::Date)),
    ("expires.unix", Named::Expires(TimeForm::Unix)),
    ("expires.ms", Named::Expires(TimeForm::Ms)),
    ("ttl.seconds", Named::Ttl(Unit::Seconds)),
    ("ttl.hours", Named::Ttl(Unit::Hours)),
    ("ttl.days", Named::Ttl(Unit::Days)),
    ("grace.seconds", Named::Grace(Unit::Seconds)),
    ("grace.hours", Named::Grace(Unit::Hours)),
];

/// Names that no var, part group or taken value may take.
pub(crate) fn reserved(name: &str) -> bool {
    ["old", "new", "admin", "client", "jwt", "ttl", "grace", "base", "random", "label", "scopes"]
        .contains(&name)
}

impl Scope<'_> {
    fn resolve(&self, name: &str) -> Result<Named, Option<String>> {
        let bare = if self.acting { Party::Acting } else { Party::Subject };
        if self.vars.contains_key(name) {
            return Ok(Named::Var { of: bare, name: name.into() });
        }
        if !self.vars_only
            && let Some(found) = self.bare(bare, name).or_else(|| self.of_party(name))
        {
            return Ok(found);
        }
        Err(did_you_mean(name, self.names().iter().map(String::as_str)))
    }

    fn bare(&self, party: Party, name: &str) -> Option<Named> {
        let head = self.kind?;
        if let Some(part) = head.parts.get(name) {
            let secret = part.part.part_type == PartType::Secret;
            return Some(Named::Part { of: party, name: name.into(), secret });
        }
        if self.acting {
            let by_driver = head.driver.is_some() && head.login_takes.is_empty() && name == "token";
            if by_driver || head.login_takes.contains(name) {
                return Some(Named::Token(name.into()));
            }
        }
        if let Some(claim) = name.strip_prefix("jwt.") {
            return Some(Named::Claim { of: party, name: claim.into() });
        }
        if let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == name) {
            return Some(fixed.clone());
        }
        self.taken.contains(name).then(|| Named::Taken(name.into()))
    }

    fn of_party(&self, name: &str) -> Option<Named> {
        let head = self.kind?;
        let (party, rest) = name.split_once('.')?;
        let own = || vec![head];
        let (of, heads, rest): (Party, Vec<&Head>, &str) = match party {
            "old" => (Party::Old, own(), rest),
            "new" => (Party::New, own(), rest),
            "client" => (Party::Client, head.known_clients(self.heads)?, rest),
            "admin" => match rest.split_once('.') {
                Some((named, rest)) if named != "jwt" => {
                    let heads = head.known_admins(self.heads, Some(named))?;
                    (Party::Admin(Some(named.into())), heads, rest)
                }
                _ => (Party::Admin(None), head.known_admins(self.heads, None)?, rest),
            },
            _ => return None,
        };
        if let Some(claim) = rest.strip_prefix("jwt.") {
            return Some(Named::Claim { of, name: claim.into() });
        }
        let parts = heads.iter().filter_map(|other| other.parts.get(rest));
        let types: Vec<PartType> = parts.map(|part| part.part.part_type).collect();
        if !types.is_empty() {
            let secret = types.contains(&PartType::Secret);
            return Some(Named::Part { of, name: rest.into(), secret });
        }
        if self.vars.contains_key(rest) {
            return Some(Named::Var { of, name: rest.into() });
        }
        // A kind of another file: its parts are not known here, so the strictest is assumed.
        let foreign = head.foreign(&of);
        foreign.then(|| Named::Part { of, name: rest.into(), secret: true })
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.vars.keys().cloned().collect();
        if let (false, Some(head)) = (self.vars_only, self.kind) {
            names.extend(head.parts.keys().cloned());
            names.extend(head.parts.keys().map(|part| format!("old.{part}")));
            names.extend(FIXED.iter().map(|(name, _)| (*name).to_owned()));
            names.extend(self.taken.iter().cloned());
            if self.acting {
                names.extend(head.login_takes.iter().cloned());
            }
            for (party, heads) in [
                ("admin", head.known_admins(self.heads, None)),
                ("client", head.known_clients(self.heads)),
            ] {
                for other in heads.unwrap_or_default() {
                    names.extend(other.parts.keys().map(|part| format!("{party}.{part}")));
                }
            }
        }
        names
    }

    /// Reads a string; every marker that means nothing, or may not stand here, is an error.
    pub(crate) fn text(
        &self,
        text: &str,
        span: &Range<usize>,
        secrets: Secrets,
        errors: &Errors<'_>,
    ) -> Text {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((inside, after)) = behind.split_once("}}") else {
                let at = errors.within(span, "{{");
                errors.hinted(at, "this marker is never closed", "write `{{ name }}`");
                return Text(pieces);
            };
            if !before.is_empty() {
                pieces.push(Piece::Plain(before.into()));
            }
            let at = errors.within(span, &format!("{{{{{inside}}}}}"));
            pieces.extend(self.marker(inside, at, errors).map(Piece::Marker));
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Plain(rest.into()));
        }
        let text = Text(pieces);
        let alone = text.whole().is_some();
        for marker in text.markers().filter(|marker| marker.value.is_secret()) {
            let at = errors.within(span, &marker.name);
            match secrets {
                Secrets::Refused => errors.hinted(
                    at,
                    format!("`{}` is secret and may not stand here", marker.name),
                    "use a public value",
                ),
                Secrets::Whole if !alone => errors.hinted(
                    at,
                    format!("`{}` is secret and stands inside a longer string", marker.name),
                    "let the marker be the whole value, or use a header or a path segment",
                ),
                Secrets::Whole | Secrets::Anywhere => {}
            }
        }
        text
    }

    fn marker(&self, inside: &str, at: Range<usize>, errors: &Errors<'_>) -> Option<Marker> {
        let name = inside.trim();
        let (name, optional) = match name.strip_suffix('?') {
            Some(name) => (name.trim_end(), true),
            None => (name, false),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            let hint = "markers are names: there are no filters and no logic";
            errors.hinted(at, "this is not a name", hint);
            return None;
        }
        match self.resolve(name) {
            Ok(value) => Some(Marker { value, name: name.into(), optional }),
            Err(near) => {
                let hint = near.unwrap_or_else(|| self.what_fits());
                errors.add(at, format!("nothing is called `{name}` here"), Some(hint));
                None
            }
        }
    }

    fn what_fits(&self) -> String {
        if self.vars_only {
            return "only vars may stand here: declare it as `[var.NAME]`".into();
        }
        "name a part, a var, or something taken earlier".into()
    }

    /// Reads a value, string by string.
    pub(crate) fn json(&self, node: &Node<'_>, secrets: Secrets, errors: &Errors<'_>) -> Json {
        match node.get_ref() {
            DeValue::String(text) => Json::Text(self.text(text, &node.span(), secrets, errors)),
            DeValue::Array(list) => {
                Json::List(list.iter().map(|item| self.json(item, secrets, errors)).collect())
            }
            DeValue::Table(table) => Json::Object(
                table
                    .iter()
                    .map(|(key, item)| {
                        (key.get_ref().to_string(), self.json(item, secrets, errors))
                    })
                    .collect(),
            ),
            _ => Json::Fixed(to_json(node)),
        }
    }
}
