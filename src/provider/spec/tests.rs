use std::collections::BTreeMap;

use super::{SpecError, check};
use crate::engine::call::Verb;
use crate::engine::capability::{Actor, Lifetime, Order};

/// A right file that every test spoils in one place.
const GOOD: &str = r#"id      = "acme"
name    = "Acme"
docs    = "https://docs.acme.example/keys"
checked = "2026-11-21"
base    = { api = "https://{{ region }}.acme.example/v1", id = "https://id.acme.example" }
error   = "/error/code"
limits  = { in_flight = 4, calls = "60/m", refused = "100/h" }
limited = [{ status = 403, json = { "/error/code" = "slow_down" }, wait = "/error/retry_in" }]

[var.region]
one_of  = ["eu", "us"]
default = "eu"
[var.project]
like = 'prj_[a-z0-9]+'

[kind.access-key]
parts  = { key_id = "handle", secret = "secret" }
shape  = '^acs_[A-Za-z0-9]{32}$'
auth   = { basic = ["{{ key_id }}", "{{ secret }}"] }
admin  = "service-account"
order  = "any"
overlap = 2
lives  = "90d"
minted = { "session tokens" = "1h" }
proof  = { hold = "10s", give_up = "2m" }

[kind.access-key.probe]
get    = "/me"
alive  = [{ status = 200, json = { "/status" = "active" } }]
dead   = [{ status = 401, json = { "/error/code" = "bad_key" }, by_name = true }]
who    = "/account/id"
seen   = "doc"

[kind.access-key.find]
get  = "/projects/{{ project }}/keys"
rows = "/data"
next = { query = "after", from = "/last_id", more = "/has_more" }
hint = { masked = "/redacted" }
take = { key_id = "/id", label = "/name" }
seen = "doc"

[kind.access-key.issue]
post = "/projects/{{ project }}/keys"
json = { name = "{{ label }}", expires_at = "{{ expires? }}" }
take = { key_id = "/id", secret = "/secret" }
seen = "doc"

[[kind.access-key.revoke]]
delete = "/keys/current"
as     = "old"
gone   = [{ status = 401 }]
seen   = "doc"
[[kind.access-key.revoke]]
seen = "memory"
[[kind.access-key.revoke.step]]
post = "/projects/{{ project }}/keys/{{ key_id }}/disable"
[[kind.access-key.revoke.step]]
delete = "/projects/{{ project }}/keys/{{ key_id }}"

[kind.access-key.by_hand]
issue  = { at = "https://acme.example/p/{{ project }}", do = "New key {{ label }}" }
revoke = { at = "https://acme.example/p/{{ project }}", do = "Delete {{ key_id }}" }

[kind.service-account]
class = "oauth-client"
parts = { client_id = "public", secret = "secret" }
auth  = { bearer = "{{ token }}" }
[kind.service-account.login]
post = "id:/oauth/token"
form = { client_id = "{{ client_id }}", client_secret = "{{ secret }}" }
take = { token = "/access_token", lives = "/expires_in" }
seen = "memory"
[kind.service-account.by_hand]
issue  = { at = "https://acme.example/admin", do = "New one" }
revoke = { at = "https://acme.example/admin", do = "Delete it" }

[[example]]
kind   = "access-key"
verb   = "probe"
answer = { status = 200, json = { status = "active", account = { id = 1 } } }
means  = "alive"
seen   = "doc"
[[example]]
kind   = "access-key"
verb   = "probe"
answer = { status = 401, json = { error = { code = "bad_key" } } }
means  = "dead"
seen   = "doc"
"#;

fn errors(text: &str) -> Vec<SpecError> {
    check(text, "providers/acme.toml").err().unwrap_or_default()
}

/// Spoils the good file and expects exactly one error, at the line and column of `at`, saying
/// `message`; `hint` must stand in its hint.
#[track_caller]
fn spoiled(from: &str, to: &str, at: &str, message: &str, hint: &str) {
    assert_eq!(GOOD.matches(from).count(), 1, "the test must spoil one place: {from}");
    let text = GOOD.replacen(from, to, 1);
    let place = text.find(to).expect("spoiled") + to.find(at).expect("`at` stands in `to`");
    let line = text[..place].matches('\n').count() + 1;
    let column = place - text[..place].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    let found = errors(&text);
    let [error] = found.as_slice() else { panic!("not one error: {found:#?}") };
    assert_eq!((error.line, error.column), (line, column), "{error}");
    assert!(error.message.contains(message), "{error}");
    let said = error.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{error}: hint is `{said}`");
}

#[test]
fn the_full_example_is_right_and_means_what_it_says() {
    let spec = check(GOOD, "acme.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let capability = super::capability(&spec, &|_| None);
    assert_eq!(capability.hosts, ["eu.acme.example", "id.acme.example", "us.acme.example"]);
    let kind = &capability.kinds["access-key"];
    assert_eq!(kind.level, "full, self, unchecked");
    assert_eq!(kind.order, Order::Any);
    assert_eq!(kind.lives, Some(Lifetime::Ms(90 * 86_400_000)));
    assert_eq!((kind.proof.hold_ms, kind.proof.assumed, kind.proof.refusals), (10_000, false, 3));
    assert!(kind.tells_identity);
    let probe = &kind.verbs[&Verb::Probe][0].steps[0];
    assert_eq!((&probe.actor, probe.parties.as_slice()), (&Actor::It, &["it".to_owned()][..]));
    let issue = &kind.verbs[&Verb::Issue][0].steps[0];
    assert_eq!((issue.needs.as_slice(), issue.again), (&["label".to_owned()][..], false));
    let find = &kind.verbs[&Verb::Find][0].steps[0];
    assert_eq!(find.takes, ["hint", "key_id", "label"]);
    let revoke = &kind.verbs[&Verb::Revoke];
    assert_eq!(revoke[0].steps[0].parties, ["old"]);
    assert_eq!(revoke[1].steps[1].parties, ["admin"]);
    assert_eq!(revoke[1].steps[1].needs, ["key_id"]);
    assert_eq!(capability.kinds["service-account"].level, "by-hand");
}

#[test]
fn all_errors_come_at_once_in_order() {
    let text = GOOD
        .replace("seen   = \"doc\"\n\n[kind.access-key.find]", "\n[kind.access-key.find]")
        .replace("alive  =", "alvie  =")
        .replace("{{ label }}", "{{ lable }}");
    let found = errors(&text);
    let messages: Vec<&str> = found.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages[..5],
        [
            "`probe` has no `seen`",
            "this probe does not say what `alive` looks like",
            "unknown key `alvie` in `probe`",
            "nothing is called `lable` here",
            "nothing is called `lable` here",
        ]
    );
    assert!(found.is_sorted_by_key(|error| error.line));
}

#[test]
fn text_that_is_no_toml_says_where() {
    let found = errors("id = \"acme\"\nname = \n");
    assert_eq!((found[0].line, found[0].file.as_str()), (2, "providers/acme.toml"));
}

#[test]
fn unknown_keys_are_errors() {
    spoiled("who    =", "whom   =", "whom", "unknown key `whom` in `probe`", "`who`");
    spoiled("error   = \"/", "errors  = \"/", "errors", "unknown key `errors`", "`error`");
    spoiled("calls = \"60/m\"", "call = \"60/m\"", "call", "unknown key `call`", "`calls`");
}

#[test]
fn markers_are_resolved() {
    spoiled(
        "{{ project }}/keys\"\nrows",
        "{{ projcet }}/keys\"\nrows",
        "{{",
        "`projcet`",
        "`project`",
    );
    spoiled("\"{{ expires? }}\"", "\"{{ label | upper }}\"", "{{", "not a name", "no filters");
    spoiled("name = \"{{ label }}\"", "name = \"{{ label\"", "{{", "never closed", "{{ name }}");
    spoiled(
        "name = \"{{ label }}\"",
        "name = \"mine {{ secret }}\"",
        "secret",
        "inside a longer string",
        "whole value",
    );
    spoiled("Delete {{ key_id }}", "Delete {{ secret }}", "secret", "secret", "public value");
    let status = "\"/status\" = \"active\"";
    spoiled(
        status,
        "\"/status\" = \"{{ label }}\"",
        "{{",
        "nothing is called `label`",
        "[var.NAME]",
    );
}

#[test]
fn addresses_can_only_be_the_vendors() {
    let message = "could lead the host anywhere";
    let host = "https://{{ region }}.acme.example/v1";
    let quoted = format!("\"{host}\"");
    spoiled(&quoted, "\"https://{{ project }}/v1\"", "\"", message, "one_of");
    let at = |text: &str| {
        errors(&GOOD.replace(host, text)).iter().map(|e| e.message.clone()).collect::<Vec<_>>()
    };
    assert!(at("https://{{ project }}.co.uk/v1")[0].contains(message));
    assert!(at("https://{{ project }}.github.io/v1")[0].contains(message));
    assert!(at("https://{{ project }}.example/v1")[0].contains(message));
    assert!(at("https://api.acme.example/{{ project }}")[0].contains("stands in its host"));
    assert!(at("http://api.acme.example/v1")[0].contains("in the clear"));
    assert!(at("https://user@api.acme.example/v1")[0].contains("holds no user"));
    assert!(at("https://api.acme.example/v1?x=1")[0].contains("ends with its path"));
    assert_eq!(at("https://{{ project }}.acme.example/v1"), [""; 0]);
    assert_eq!(at("http://127.0.0.1:8080/v1"), [""; 0]);
}

#[test]
fn paths_hold_segments_and_no_host() {
    spoiled(
        "get    = \"/me\"",
        "get    = \"//evil.example/me\"",
        "\"//",
        "holds no host",
        "name:/path",
    );
    spoiled("get    = \"/me\"", "get    = \"/../me\"", "\"/..", "more than segments", "`query`");
    spoiled("get    = \"/me\"", "get    = \"/me?x=1\"", "\"/me", "more than segments", "`query`");
    spoiled("\"id:/oauth/token", "\"ids:/oauth/token", "\"", "no base `ids`", "`id`");
}

#[test]
fn physics_and_references_are_checked() {
    spoiled(
        "admin  = \"service-account\"",
        "admin  = \"service-acount\"",
        "\"service-acount",
        "there is no kind `service-acount`",
        "`service-account`",
    );
    let text = GOOD.replace(", secret = \"/secret\" }", " }");
    assert!(errors(&text)[0].message.contains("`issue` does not take the new `secret`"));
    let text = GOOD.replace("class = \"oauth-client\"\n", "");
    assert!(errors(&text)[0].message.contains("`service-account` is no class"));
    let text = GOOD.replace("admin  = \"service-account\"\n", "");
    assert!(errors(&text).iter().any(|e| e.message.contains("made by the admin")));
    spoiled("'^acs_[A-Za-z0-9]{32}$'", "'acs_[A-Za-z0-9]{32}'", "'acs", "not anchored", "");
    spoiled("'^acs_[A-Za-z0-9]{32}$'", "'^acs_[$'", "'^acs", "bad `shape`", "");
    spoiled("give_up = \"2m\"", "give_up = \"2 minutes\"", "\"2 m", "no duration", "60s");
    spoiled("calls = \"60/m\"", "calls = \"60 per m\"", "\"60 p", "no rate", "60/m");
    spoiled("as     = \"old\"", "as     = \"it\"", "\"it\"", "cannot act in `revoke`", "`old`");
    spoiled("as     = \"old\"", "as     = \"admin.boss\"", "\"admin", "no admin", "");
    spoiled("checked = \"2026-11-21\"", "checked = \"lately\"", "\"lately", "no date", "");
    spoiled("id      = \"acme\"", "id      = \"acne\"", "\"acne", "not the file's name", "acme");
}

#[test]
fn every_kind_says_what_a_person_does() {
    let from = GOOD.find("[kind.service-account.by_hand]").expect("there");
    let to = GOOD.find("[[example]]").expect("there");
    let found = errors(&format!("{}{}", &GOOD[..from], &GOOD[to..]));
    assert!(found[0].message.contains("`service-account` does not say what a person does"));
}

#[test]
fn probes_show_both_sides_and_examples_are_replayed() {
    let start = GOOD.rfind("[[example]]").expect("there");
    let found = errors(&GOOD[..start]);
    assert!(found[0].message.contains("no example shows the probe of `access-key` dead"));
    let found = errors(&GOOD.replace("means  = \"dead\"", "means  = \"alive\""));
    assert!(found.iter().any(|e| e.message.contains("means `dead`, not `alive`")), "{found:#?}");
    let found = errors(&GOOD.replace("account = { id = 1 }", "account = {}"));
    assert!(found.iter().any(|e| e.message.contains("means `unknown`, not `alive`")), "{found:#?}");
    let found =
        errors(&GOOD.replace("status = 401, json = { error", "status = 503, json = { error"));
    assert!(found.iter().any(|e| e.message.contains("means `unknown`, not `dead`")), "{found:#?}");
}

#[test]
fn one_predicate_says_something_and_one_matcher_one_thing() {
    spoiled(
        "gone   = [{ status = 401 }]",
        "gone   = [{}]",
        "{}",
        "holds for any answer",
        "`status`",
    );
    spoiled(
        "gone   = [{ status = 401 }]",
        "gone   = [{ status = 99 }]",
        "99",
        "no HTTP status",
        "2xx",
    );
    spoiled(
        "{ \"/status\" = \"active\" }",
        "{ \"/status\" = { exists = true, matches = 'a' } }",
        "{ exists",
        "says one thing",
        "exactly one",
    );
    let found = errors(
        &GOOD.replace("gone   = [{ status = 401 }]", "gone = [{ status = 401, by_name = true }]"),
    );
    assert!(found[0].message.contains("unknown key `by_name`"), "{found:#?}");
}

#[test]
fn graphql_is_fixed_text_and_looks_at_its_errors() {
    let issue = "json = { name = \"{{ label }}\", expires_at = \"{{ expires? }}\" }";
    let graphql = |query: &str, ok: &str| {
        let call = format!(
            "json = {{ query = \"{query}\", variables = {{ n = \"{{{{ label }}}}\" }} }}\n{ok}"
        );
        errors(&GOOD.replace(issue, &call))
    };
    let ok = "ok = [{ status = 200, json = { \"/errors\" = { exists = false } } }]";
    assert!(graphql("mutation { key }", ok).is_empty());
    assert!(graphql("mutation { key }", "")[0].message.contains("answers 200 with errors"));
    assert!(graphql("mutation {{ label }}", ok)[0].message.contains("in a GraphQL query"));
}

#[test]
fn a_verb_may_be_another_kinds() {
    let more = r#"
[kind.other-key]
class = "api-key"
parts = { key_id = "handle", secret = "secret" }
auth = { bearer = "{{ secret }}" }
probe = "access-key"
by_hand = "access-key"
"#;
    let start = GOOD.find("[[example]]").expect("there");
    let with = |more: &str| format!("{}{more}\n{}", &GOOD[..start], &GOOD[start..]);
    let spec = check(&with(more), "acme.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let capability = super::capability(&spec, &|_| None);
    assert_eq!(capability.kinds["other-key"].level, "probe-only");
    let found = errors(&with(&more.replace("probe = \"access-key\"", "probe = \"acces-key\"")));
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `access-key`?"), "{found:#?}");
    let found = errors(&with(&more.replace("probe = \"access-key\"", "probe = \"other-key\"")));
    assert!(found[0].message.contains("no kind `other-key` has a `probe`"), "{found:#?}");
    let lacking = more.replace("key_id = \"handle\", ", "").replace("probe", "revoke");
    let found = errors(&with(&lacking));
    assert!(found.iter().any(|e| e.message.contains("does not fit this kind")), "{found:#?}");
}

#[test]
fn made_up_values_have_their_shape() {
    let shape = super::shape::Shape::anchored(r"^(?P<handle>[0-9]{8,10}):[A-Za-z0-9_-]{35}$")
        .expect("a good shape");
    let keep = BTreeMap::from([("handle".to_owned(), "12345678")]);
    for _ in 0..64 {
        let value = shape.sample(&keep, &mut rand::rng());
        assert!(shape.matches(&value) && value.starts_with("12345678:"), "{}", *value);
    }
    let value = super::shape::alike(b"Ab1-de2", &mut rand::rng());
    assert_eq!((value.len(), value[3]), (7, b'-'));
    assert!(value[0].is_ascii_uppercase() && value[6].is_ascii_digit());
}
