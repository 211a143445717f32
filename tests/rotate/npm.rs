//! Tokens of package registries: at a real one, Verdaccio, which lies about logging out, and at a
//! fake that does what it says.

use crate::bench::Host;
use crate::hosted::{Hosted, ask};
use crate::lab::{self, FakeRegistry, Verdaccio};
use crate::role::{ENV, PROOF, ROLE};

const PASSWORD: &str = "made-up-password-of-the-lab";

fn credential(role: &str, kind: &str, key: &str, rest: &str) -> String {
    format!(
        r#"
[[role.{role}.credential]]
name     = "packages"
provider = "npm"
kind     = "{kind}"
secret   = "dotenv:DIR/agent.env#{key}"
reload   = "none"
{rest}
"#
    )
}

fn provider(base: &str) -> String {
    format!(
        r#"
[provider.npm]
base  = "{base}"
proof = {PROOF}

[admin.registry-account]
provider = "npm"
kind     = "account"
secret   = {{ username = "dotenv:DIR/account.env#NAME", secret = "dotenv:DIR/account.env#PASSWORD" }}
"#
    )
}

/// A role with one token of the registry's list.
fn role(base: &str, token: &str, rest: &str) -> Host {
    let host = Host::new();
    host.put(ENV, &format!("NPM_TOKEN={token}\n"));
    host.put("account.env", &format!("NAME=mail\nPASSWORD={PASSWORD}\n"));
    let rest = format!("admin    = \"registry-account\"\n{rest}");
    let entry = credential("mail-agent", "api-key", "NPM_TOKEN", &rest);
    host.inventory(&format!("{ROLE}{entry}{}", provider(base)));
    host
}

/// A registry with an account, its login and a token.
fn registry() -> Option<(Verdaccio, String, (String, String))> {
    let verdaccio = lab::verdaccio()?;
    let login = ask(verdaccio.account("mail", PASSWORD));
    let token = ask(verdaccio.token(&login, PASSWORD));
    assert!(ask(verdaccio.is_alive(&token.0)) && !ask(verdaccio.is_alive("made-up")));
    Some((verdaccio, login, token))
}

#[test]
fn contain_deletes_the_token_and_delivers_another() {
    let Some((verdaccio, login, (old, key))) = registry() else { return };
    let host = role(&verdaccio.base, &old, "");
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/packages: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#NPM_TOKEN (in-use)
    ");
    let new = host.value(ENV, "NPM_TOKEN");
    assert!(!ask(verdaccio.is_alive(&old)) && ask(verdaccio.is_alive(&new)));
    let listed = ask(verdaccio.listed(&login));
    assert_eq!((listed.len(), listed.contains(&key)), (1, false));
}

/// It answers 200 to a key that it does not know: so it says, and the token goes on working.
#[test]
fn a_token_that_was_deleted_by_a_wrong_key_is_alive() {
    let Some((verdaccio, _, (old, _))) = registry() else { return };
    let host = role(&verdaccio.base, &old, "handle   = \"00000000000000000000000000000000\"\n");
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 4
    mail-agent/packages: alive, revoke accepted, control null, made-up refused; new not-issued
      why: still accepted; the provider accepted the revocation
      stranger null: older-or-undated
      todo: revoke the old mail-agent/packages; Delete the old token; the registry's token page
    ");
    assert!(ask(verdaccio.is_alive(&old)));
}

/// Logging out is answered by 200 and "Logged out", and ends nothing. A new password does, and a
/// dead token then looks like nobody's: 200 and an empty object.
#[test]
fn a_login_lives_after_its_logout_and_dies_with_its_password() {
    let Some(verdaccio) = lab::verdaccio() else { return };
    let old = ask(verdaccio.account("mail", PASSWORD));
    let control = ask(verdaccio.account("monitor", PASSWORD));
    let host = Host::new();
    host.put(ENV, &format!("NPM_TOKEN={old}\nMONITOR={control}\n"));
    let entry =
        credential("mail-agent", "login-token", "NPM_TOKEN", "control  = \"monitor/packages\"");
    let other = credential("monitor", "login-token", "MONITOR", "");
    let inventory = format!("{ROLE}{entry}[role.monitor]\n{other}{}", provider(&verdaccio.base));
    host.inventory(&inventory);
    host.put("account.env", &format!("NAME=mail\nPASSWORD={PASSWORD}\n"));

    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 4
    mail-agent/packages: alive, revoke accepted, control null, made-up refused; new not-issued
      why: still accepted; the provider accepted the revocation
      todo: revoke the old mail-agent/packages; npm logout; where that ends nothing, give the account a new password; a terminal of the registry's user
    ");
    assert!(ask(verdaccio.is_alive(&old)));

    ask(verdaccio.change_password(&old, PASSWORD, "another-made-up-password"));
    assert_eq!(ask(verdaccio.whoami(&old)), (200, serde_json::json!({})));
    let done = host.rotate(&["done", &outcome.run(), "mail-agent/packages"]);
    insta::assert_snapshot!(done.table(), @r"
    verify exit 0
    mail-agent/packages: dead, revoke by-hand, control monitor/packages, made-up refused; new not-issued
    ");
    assert!(!ask(verdaccio.is_alive(&old)) && ask(verdaccio.is_alive(&control)));
}

#[test]
fn unchecked_a_fake_registry_deletes_and_issues() {
    let fake = Hosted::start(FakeRegistry::start());
    let (old, _) = fake.token("mail");
    let host = role(&fake.base(), &old, "");
    assert!(fake.is_alive(&old) && !fake.is_alive("npm_made-up"));
    let outcome = host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 0
    mail-agent/packages: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#NPM_TOKEN (in-use)
    ");
    assert!(!fake.is_alive(&old) && fake.is_alive(&host.value(ENV, "NPM_TOKEN")));
    assert_eq!(fake.listed().len(), 1);
    let outside: Vec<_> = fake.seen().into_iter().filter_map(|it| it.outside).collect();
    assert!(outside.is_empty(), "outside what the client sends: {outside:?}");
}

/// Where logging out is true, the same file says so.
#[test]
fn unchecked_a_fake_registry_ends_a_login_by_its_logout() {
    let fake = Hosted::start(FakeRegistry::start());
    let (host, old, control) = (Host::new(), fake.login_token(), fake.login_token());
    host.put(ENV, &format!("NPM_TOKEN={old}\nMONITOR={control}\n"));
    host.put("account.env", "NAME=mail\nPASSWORD=none\n");
    let entry =
        credential("mail-agent", "login-token", "NPM_TOKEN", "control  = \"monitor/packages\"");
    let other = credential("monitor", "login-token", "MONITOR", "");
    host.inventory(&format!("{ROLE}{entry}[role.monitor]\n{other}{}", provider(&fake.base())));
    let outcome = host.rotate(&["--role", "mail-agent", "--revoke-only"]);
    insta::assert_snapshot!(outcome.table(), @r"
    revoke-only exit 0
    mail-agent/packages: dead, revoke accepted, control monitor/packages, made-up refused; new not-issued
    ");
    assert!(!fake.is_alive(&old) && fake.is_alive(&control));
}
