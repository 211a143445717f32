//! Families of refresh tokens: what a thief who refreshed first holds, servers whose refresh ends
//! the access token before it, and servers that take the old one for a while.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::Host;
use crate::consent::consent;
use crate::hosted::{Hosted, ask};
use crate::lab::{self, Django, FakeGrace, Grace, Oidc};
use crate::oauth::{self, http, is_active, post};
use crate::role::ROLE;

fn entry(kind: &str, vars: &str) -> String {
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "calendar"
provider = "oauth"
kind     = "{kind}"
vars     = {{ {vars} }}
secret   = {{ secret = "json:DIR/token.json#/refresh", access = "json:DIR/token.json#/access" }}
client   = "mail-app"
reload   = "none"
"#
    )
}

fn give(host: &Host, pair: &(String, String)) {
    host.put("token.json", &json!({ "refresh": pair.0, "access": pair.1 }).to_string());
}

fn placed(host: &Host) -> (String, String) {
    pair(&serde_json::from_str(&host.read("token.json")).unwrap(), "refresh", "access")
}

fn pair(answer: &Value, refresh: &str, access: &str) -> (String, String) {
    let part = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (part(refresh), part(access))
}

/// A thief spent the refresh token first. The old one is refused before anything was done, so it
/// is not spent again; the consent is ended with what the thief got for it, and the report says
/// that somebody was there.
#[test]
fn a_thief_who_refreshed_first_loses_the_family() {
    let Some(oidc) = lab::oidc() else { return };
    let host = Host::new();
    let old = consent(&oidc);
    let secret = Oidc::client_secret(Oidc::CLIENT);
    let form = [("grant_type", "refresh_token"), ("refresh_token", old.0.as_str())];
    let stolen = post(&oidc, "/token", (Oidc::CLIENT, &secret), &form);
    let stolen = pair(&stolen, "refresh_token", "access_token");
    give(&host, &old);
    oauth::give_client(&host);
    host.inventory(&format!(
        "{ROLE}{}{}",
        entry("rotating-grant", ""),
        oauth::provider(&oidc.issuer)
    ));
    assert!(is_active(&oidc, &stolen.0) && !is_active(&oidc, &old.0));

    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/calendar: unproven, revoke accepted, control null, made-up refused; new not-issued
      why: refused, but never seen alive here; the provider accepted the revocation
      new: not issued: the acting credential was refused
      minted: access tokens handed out before, until unknown
      todo: issue a new mail-agent/calendar; Sign in as the same user and consent again; the application's own sign-in
      todo: find out who spent mail-agent/calendar: it was refused before it was rolled; it had expired, or somebody used it first and held what came of it: look for others made from it or by the same consent, and end them there; the issuer's account page, connected applications
    ");
    assert!(!is_active(&oidc, &stolen.0) && !is_active(&oidc, &stolen.1));
    assert_eq!(placed(&host), old, "nothing to put there");
}

/// django-oauth-toolkit publishes no metadata where it is not mounted at the root: the inventory
/// says where its endpoints are.
const TOOLKIT: &str = r#"token_path = "/o/token/", revocation_path = "/o/revoke_token/", introspection_path = "/o/introspect/", introspected = "access""#;

fn toolkit(site: &Django) -> String {
    oauth::provider(&format!("{}/o", site.address))
}

fn at_toolkit(site: &Django, form: &[(&str, &str)]) -> Value {
    let secret = Django::client_secret(Django::CLIENT);
    ask(async {
        let request = http().post(format!("{}/o/token/", site.address)).form(form);
        let answer = request.basic_auth(Django::CLIENT, Some(&secret)).send().await.unwrap();
        answer.json().await.unwrap()
    })
}

/// A user's grant to the role's client.
fn granted(site: &Django) -> (String, String) {
    let password = Django::password(Django::USER);
    let form = [
        ("grant_type", "password"),
        ("username", Django::USER),
        ("password", &password),
        ("scope", "read"),
    ];
    pair(&at_toolkit(site, &form), "refresh_token", "access_token")
}

fn refresh(site: &Django, token: &str) -> Value {
    at_toolkit(site, &[("grant_type", "refresh_token"), ("refresh_token", token)])
}

/// Whether the site answers an access token with its user.
fn is_accepted(site: &Django, access: &str) -> bool {
    ask(async {
        let me = http().get(format!("{}/api/me", site.address)).bearer_auth(access);
        me.send().await.unwrap().status() == 200
    })
}

fn on_toolkit(site: &Django, kind: &str, old: &(String, String)) -> Host {
    let host = Host::new();
    give(&host, old);
    let secret = Django::client_secret(Django::CLIENT);
    host.put("mail-app.env", &format!("ID={}\nSECRET={secret}\n", Django::CLIENT));
    host.inventory(&format!("{ROLE}{}{}", entry(kind, TOOLKIT), toolkit(site)));
    host
}

/// The opposite of the other server: a refresh ends the access token before it at once.
#[test]
fn a_refresh_that_ends_the_access_token_before_it_is_proved_by_that() {
    let Some(site) = lab::django() else { return };
    let old = granted(&site);
    let host = on_toolkit(&site, "rotating-grant", &old);
    assert!(is_accepted(&site, &old.1));
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    assert_eq!(outcome.table(), ROLLED);
    let new = placed(&host);
    assert!(!is_accepted(&site, &old.1) && is_accepted(&site, &new.1));
    // Asked last, for it ends the family: the old one is spent, and the new one was alive.
    let next = pair(&refresh(&site, &new.0), "refresh_token", "access_token");
    assert!(is_accepted(&site, &next.1));
    assert_eq!(refresh(&site, &old.0)["error"], "invalid_grant");
    assert!(!is_accepted(&site, &next.1), "reuse is detected, and the family is gone");
}

/// Here a revocation of a spent token does nothing at all (it answers 200); showing it once more
/// makes the server end the family.
#[test]
fn a_thief_loses_the_family_where_a_revocation_of_the_spent_one_does_nothing() {
    let Some(site) = lab::django() else { return };
    for kind in ["rotating-grant", "grant"] {
        let old = granted(&site);
        let stolen = pair(&refresh(&site, &old.0), "refresh_token", "access_token");
        let host = on_toolkit(&site, kind, &old);
        assert!(is_accepted(&site, &stolen.1) && !is_accepted(&site, &old.1));
        let outcome = host.rotate(&["--role", "mail-agent"]);
        assert!(!is_accepted(&site, &stolen.1), "{kind}: {}", outcome.table());
        assert_eq!(refresh(&site, &stolen.0)["error"], "invalid_grant", "{kind}");
        if kind == "rotating-grant" {
            let news = "todo: find out who spent mail-agent/calendar";
            assert!(outcome.table().contains(news), "{}", outcome.table());
        }
    }
}

fn with_grace(grace: Grace) -> (Hosted<FakeGrace>, Host, (String, String)) {
    let fake = Hosted::start(FakeGrace::start(grace));
    let (host, old) = (Host::new(), fake.pair());
    give(&host, &old);
    oauth::give_client(&host);
    host.inventory(&format!(
        "{ROLE}{}{}",
        entry("rotating-grant", ""),
        oauth::provider(&fake.issuer())
    ));
    (fake, host, old)
}

const ROLLED: &str = "\
contain exit 3
mail-agent/calendar: dead, revoke accepted, control new, made-up refused; new delivered
  in json:~/token.json#/access (in-use)
  in json:~/token.json#/refresh (in-use)
  minted: access tokens handed out before, until unknown";

/// A server that takes the old one for two seconds more: the proof begins when it no longer does.
#[test]
fn a_grace_is_sat_out() {
    let (fake, host, old) = with_grace(Grace::For(Duration::from_secs(2)));
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    assert_eq!(outcome.table(), ROLLED);
    assert!(outcome.stderr.contains("use the old one  accepted"), "{}", outcome.stderr);
    assert!(!fake.is_taken(&old.0) && fake.is_taken(&placed(&host).0));
    let spent = fake.seen().iter().filter(|seen| seen.request == "POST /token").count();
    assert_eq!(spent, 1, "the old one is shown once, and never to see whether it lives");
}

/// A server that takes the old one until the new one is used: it is used, once, at once.
#[test]
fn a_grace_that_ends_with_the_first_use_is_ended() {
    let (fake, host, old) = with_grace(Grace::UntilUsed);
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    assert_eq!(outcome.table(), ROLLED);
    assert!(!fake.is_taken(&old.0) && fake.is_taken(&placed(&host).0));
}

const LIVES_ON: &str = "an access token came that nobody holds, and it lives until it expires";

/// A server that rotates nothing, and ends the whole grant with any token of it. A rehearsal leaves
/// it as it is, and says that an access token is on its own until it expires.
#[test]
fn a_rehearsal_ends_no_grant_that_does_not_roll() {
    let (fake, host, old) = with_grace(Grace::ForGood);
    let outcome = host.rotate(&["rehearse", "--role", "mail-agent"]);
    for said in ["mail-agent/calendar: alive", "left as it is", LIVES_ON] {
        assert!(outcome.table().contains(said), "{}", outcome.table());
    }
    assert!(fake.is_taken(&old.0), "and so it is");
    assert_eq!(placed(&host), old);
}

/// A contain ends it: it is not to live on.
#[test]
fn a_contain_ends_a_grant_that_does_not_roll() {
    let (fake, host, old) = with_grace(Grace::ForGood);
    let outcome = host.rotate(&["--role", "mail-agent"]);
    assert!(outcome.table().contains(LIVES_ON), "{}", outcome.table());
    assert!(!fake.is_taken(&old.0));
}
