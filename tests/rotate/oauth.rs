//! Tokens and clients of a certified OAuth server.

use serde_json::{Value, json};

use crate::bench::Host;
use crate::consent::consent;
use crate::hosted::ask;
use crate::lab::{self, Oidc};
use crate::role::{ENV, PROOF, ROLE};

/// What the inventory says of a server, and of the application that asks for tokens.
pub(crate) fn provider(issuer: &str) -> String {
    format!(
        r#"
[provider.oauth]
base  = "{issuer}"
proof = {PROOF}

[admin.mail-app]
provider = "oauth"
kind     = "client"
secret   = {{ client_id = "dotenv:DIR/mail-app.env#ID", secret = "dotenv:DIR/mail-app.env#SECRET" }}
"#
    )
}

pub(crate) const CLIENT_TOKEN: &str = r#"
[[role.mail-agent.credential]]
name     = "inbox"
provider = "oauth"
kind     = "client-token"
secret   = "dotenv:DIR/agent.env#INBOX_TOKEN"
client   = "mail-app"
reload   = "none"
"#;

pub(crate) fn give_client(host: &Host) {
    let secret = Oidc::client_secret(Oidc::CLIENT);
    host.put("mail-app.env", &format!("ID={}\nSECRET={secret}\n", Oidc::CLIENT));
}

pub(crate) fn http() -> reqwest::Client {
    rotate::provider::Clients::new().unwrap().calls().clone()
}

/// What an endpoint answers to a form, asked by a client.
pub(crate) fn post(oidc: &Oidc, path: &str, client: (&str, &str), form: &[(&str, &str)]) -> Value {
    ask(async {
        let request = http().post(format!("{}{path}", oidc.issuer)).form(form);
        let answer = request.basic_auth(client.0, Some(client.1)).send().await.unwrap();
        answer.json().await.unwrap()
    })
}

/// A token that a client has for itself.
pub(crate) fn client_token(oidc: &Oidc, client: (&str, &str)) -> String {
    let answer = post(oidc, "/token", client, &[("grant_type", "client_credentials")]);
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Asked as another client than the one the token was given to.
pub(crate) fn is_active(oidc: &Oidc, token: &str) -> bool {
    let secret = Oidc::client_secret(Oidc::AUDITOR);
    let client = (Oidc::AUDITOR, secret.as_str());
    post(oidc, "/token/introspection", client, &[("token", token)])["active"].as_bool().unwrap()
}

#[test]
fn a_client_s_token_is_contained_and_restored() {
    let Some(oidc) = lab::oidc() else { return };
    let host = Host::new();
    let secret = Oidc::client_secret(Oidc::CLIENT);
    let old = client_token(&oidc, (Oidc::CLIENT, &secret));
    host.put(ENV, &format!("INBOX_TOKEN={old}\n"));
    give_client(&host);
    host.inventory(&format!("{ROLE}{CLIENT_TOKEN}{}", provider(&oidc.issuer)));
    assert!(is_active(&oidc, &old) && !is_active(&oidc, "made-up"));

    let held = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(held.table(), @r"
    contain exit 3
    mail-agent/inbox: dead, revoke accepted, control new, made-up refused; new held
      minted: its acceptance at resource servers that check the signature alone, until unknown
    ");
    assert!(!is_active(&oidc, &old));
    assert_eq!(host.value(ENV, "INBOX_TOKEN"), old);

    let restored = host.rotate(&["restore", "--role", "mail-agent", "--because", "mended"]);
    insta::assert_snapshot!(restored.table(), @r"
    restore exit 0
    mail-agent/inbox: dead, revoke accepted, control null, made-up null; new delivered
      in dotenv:~/agent.env#INBOX_TOKEN (in-use)
    ");
    assert!(is_active(&oidc, &host.value(ENV, "INBOX_TOKEN")));
}

/// A client that has just registered itself.
struct Registered {
    id: String,
    secret: String,
}

impl Registered {
    /// Its parts lie in the role's file, and what registers the next one in a file of its own.
    fn new(oidc: &Oidc, host: &Host) -> Self {
        let wanted = json!({ "grant_types": ["client_credentials"], "redirect_uris": [],
            "response_types": [] });
        let registered: Value = ask(async {
            let request = http().post(format!("{}/reg", oidc.issuer)).json(&wanted);
            let answer = request.bearer_auth(Oidc::INITIAL_ACCESS_TOKEN).send().await.unwrap();
            answer.json().await.unwrap()
        });
        let text = |name: &str| registered[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        host.put(
            ENV,
            &format!(
                "APP_ID={id}\nAPP_SECRET={secret}\nAPP_TOKEN={}\nAPP_URI={}\n",
                text("registration_access_token"),
                text("registration_client_uri"),
            ),
        );
        host.put("registration.key", Oidc::INITIAL_ACCESS_TOKEN);
        Self { id, secret }
    }

    fn inventory(oidc: &Oidc) -> String {
        format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "app"
provider = "oauth"
kind     = "registered-client"
vars     = {{ grant_types = ["client_credentials"], redirect_uris = [] }}
reload   = "none"
admin    = "registration"
secret.client_id                 = "dotenv:DIR/agent.env#APP_ID"
secret.client_secret             = "dotenv:DIR/agent.env#APP_SECRET"
secret.registration_access_token = "dotenv:DIR/agent.env#APP_TOKEN"
secret.registration_client_uri   = "dotenv:DIR/agent.env#APP_URI"

[admin.registration]
provider = "oauth"
kind     = "initial-access-token"
secret   = "file:DIR/registration.key"

[provider.oauth]
base  = "{}"
proof = {PROOF}
"#,
            oidc.issuer
        )
    }
}

/// It registered itself and ends itself; tokens that it was given outlive it, and the report says
/// so. That they really do is asked of the server.
#[test]
fn a_registered_client_is_deleted_and_what_it_minted_is_named() {
    let Some(oidc) = lab::oidc() else { return };
    let host = Host::new();
    let app = Registered::new(&oidc, &host);
    let minted = client_token(&oidc, (&app.id, &app.secret));
    host.inventory(&Registered::inventory(&oidc));

    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/app: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#APP_ID (in-use)
      in dotenv:~/agent.env#APP_SECRET (in-use)
      in dotenv:~/agent.env#APP_TOKEN (in-use)
      in dotenv:~/agent.env#APP_URI (in-use)
      minted: tokens issued to the client, until unknown
    ");
    let form = [("grant_type", "client_credentials")];
    let refused = post(&oidc, "/token", (&app.id, &app.secret), &form);
    assert_eq!(refused["error"], "invalid_client");
    assert!(is_active(&oidc, &minted), "it outlives its client, as the report says");
    let new = (host.value(ENV, "APP_ID"), host.value(ENV, "APP_SECRET"));
    assert!(is_active(&oidc, &client_token(&oidc, (&new.0, &new.1))));
}

/// Its successor is another client, and to that one the token does not belong: it is ended by the
/// client it was given to, before that one goes. In a contain that does not wait for the proof.
#[test]
fn a_token_is_ended_by_the_client_it_was_given_to_and_issued_by_its_successor() {
    let Some(oidc) = lab::oidc() else { return };
    let contained = token_of_a_registered_client(&oidc, &["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(contained, @r"
    mail-agent/inbox: unproven, revoke accepted, control null, made-up null; new delivered
      why: no clear answer; the provider accepted the revocation
    ");
    let rehearsed = token_of_a_registered_client(&oidc, &["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(rehearsed, @"mail-agent/inbox: dead, revoke accepted, control new, made-up refused; new delivered");
}

/// Rotates a client that registered itself and its token, asks the server about both, and gives
/// what the report says of the token.
fn token_of_a_registered_client(oidc: &Oidc, arguments: &[&str]) -> String {
    let host = Host::new();
    let app = Registered::new(oidc, &host);
    let old = client_token(oidc, (&app.id, &app.secret));
    host.put("token.env", &format!("INBOX_TOKEN={old}\n"));
    let token =
        CLIENT_TOKEN.replace("agent.env", "token.env").replace("mail-app", "mail-agent/app");
    host.inventory(&format!("{}{token}", Registered::inventory(oidc)));

    let outcome = host.rotate(arguments);
    let form = [("grant_type", "client_credentials")];
    let refused = post(oidc, "/token", (&app.id, &app.secret), &form);
    assert_eq!(refused["error"], "invalid_client", "the old client is gone");
    assert!(!is_active(oidc, &old), "and its token was ended before");
    let new = host.value("token.env", "INBOX_TOKEN");
    let client = (host.value(ENV, "APP_ID"), host.value(ENV, "APP_SECRET"));
    let seen =
        post(oidc, "/token/introspection", (&client.0, &client.1), &[("token", new.as_str())]);
    assert_eq!(
        (seen["active"].as_bool(), seen["client_id"].as_str()),
        (Some(true), Some(&*client.0))
    );
    let table = outcome.table();
    let lines = table.lines().skip_while(|line| !line.starts_with("mail-agent/inbox"));
    lines.take_while(|line| !line.starts_with("  in ")).collect::<Vec<_>>().join("\n")
}

/// One call spends the old refresh token for the new one. The consent stays, and the access token
/// handed out before with it: the report says so, and the server shows it.
#[test]
fn a_rotating_grant_is_rolled_and_what_it_minted_is_named() {
    let Some(oidc) = lab::oidc() else { return };
    let host = Host::new();
    let (refresh, access) = consent(&oidc);
    host.put("token.json", &json!({ "refresh": refresh, "access": access, "v": 1 }).to_string());
    give_client(&host);
    let entry = r#"
[[role.mail-agent.credential]]
name     = "calendar"
provider = "oauth"
kind     = "rotating-grant"
secret   = { secret = "json:DIR/token.json#/refresh", access = "json:DIR/token.json#/access" }
client   = "mail-app"
reload   = "none"
"#;
    host.inventory(&format!("{ROLE}{entry}{}", provider(&oidc.issuer)));
    assert!(is_active(&oidc, &refresh) && is_active(&oidc, &access));

    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/calendar: dead, revoke accepted, control new, made-up refused; new delivered
      in json:~/token.json#/access (in-use)
      in json:~/token.json#/refresh (in-use)
      minted: access tokens handed out before, until unknown
    ");
    let placed: Value = serde_json::from_str(&host.read("token.json")).unwrap();
    let part = |name: &str| placed[name].as_str().unwrap().to_owned();
    assert!(!is_active(&oidc, &refresh));
    assert!(is_active(&oidc, &part("refresh")) && is_active(&oidc, &part("access")));
    assert!(is_active(&oidc, &access), "it outlives the roll, as the report says");
}

/// As a grant, the consent itself is ended, with all it handed out; a person consents anew.
#[test]
fn a_grant_is_ended_and_a_person_consents_anew() {
    let Some(oidc) = lab::oidc() else { return };
    let host = Host::new();
    let (refresh, access) = consent(&oidc);
    host.put("token.json", &json!({ "refresh": refresh, "access": access }).to_string());
    give_client(&host);
    let entry = r#"
[[role.mail-agent.credential]]
name     = "calendar"
provider = "oauth"
kind     = "grant"
secret   = { secret = "json:DIR/token.json#/refresh", access = "json:DIR/token.json#/access" }
client   = "mail-app"
reload   = "none"
"#;
    host.inventory(&format!("{ROLE}{entry}{}", provider(&oidc.issuer)));
    let outcome = host.rotate(&["--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/calendar: refused, revoke accepted, control null, made-up refused; new not-issued
      why: refused by name; no live credential was at hand to compare
      new: not issued: nothing here can do that
      minted: access tokens that resource servers check by signature alone, until unknown
      todo: issue a new mail-agent/calendar; Sign in as the same user and consent again; the application's own sign-in
    ");
    assert!(!is_active(&oidc, &refresh) && !is_active(&oidc, &access));
}
