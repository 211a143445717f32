//! Web sessions, at real sites: Django's in its database, express-session's in Redis.

use serde_json::json;

use crate::bench::{Host, mode_of};
use crate::lab::{self, Django, Express, Redis};
use crate::role::{ENV, PROOF, ROLE};

const ACL: &str = "user default on >admin ~* &* +@all\nuser site on >site ~* &* +@all\n\
                   user sweeper on >swept ~sess:* &* +del +mget +scan";

/// Both sites, and a host whose agent is signed in to them.
struct Sites {
    django: Django,
    express: Express,
    _redis: Redis,
    host: Host,
    /// The `Cookie` header at Django, the value at express.
    old: (String, String),
    twin: (String, String),
    other: (String, String),
}

/// With `twins`, each user has a second session that the inventory does not know.
async fn sites(twins: bool) -> Option<Sites> {
    let django = lab::django()?;
    let redis = lab::redis(ACL)?;
    let express = lab::express(&redis, "site")?;
    let both =
        async |user: &str| (django.sign_in(user).await, express.sign_in(user, false).await.0);
    let (old, other) = (both("mail").await, both("calendar").await);
    let twin = if twins { both("mail").await } else { other.clone() };
    let host = Host::new();
    let session = old.0.strip_prefix("sessionid=").unwrap();
    host.put(ENV, &format!("# Settings\nDESK_SESSION={session}\nLOG=info\n"));
    host.put("shop.cookie", &old.1);
    host.put("desk.key", &Django::password("mail"));
    host.put("shop.key", &Express::password("mail"));
    host.put("sweeper.key", "swept");
    host.inventory(&inventory(&django, &express, &redis));
    Some(Sites { django, express, _redis: redis, host, old, twin, other })
}

fn inventory(django: &Django, express: &Express, redis: &Redis) -> String {
    format!("{ROLE}{}{}", desk(django), shop(express, redis))
}

/// A session of a Django site, ended in the site's own file.
pub(crate) fn desk(django: &Django) -> String {
    let (address, file) = (&django.address, django.database.display());
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "desk"
provider = "desk"
kind     = "session-cookie"
secret   = "dotenv:DIR/agent.env#DESK_SESSION"
vars     = {{ page = "/me", marker = "\"user\": \"mail\"", user = "1", login = "/login" }}
reload   = "none"
admin    = {{ store = "desk-sessions", account = "desk-account" }}

[provider.desk]
file  = "django"
base  = {{ api = "{address}", store = "sqlite://localhost{file}" }}
proof = {PROOF}

[admin.desk-sessions]
provider = "desk"
kind     = "session-file"

[admin.desk-account]
provider = "desk"
kind     = "account"
vars     = {{ username = "mail" }}
secret   = "file:DIR/desk.key"
"#
    )
}

/// A session of an Express site that keeps its sessions in Redis.
pub(crate) fn shop(express: &Express, redis: &Redis) -> String {
    let (address, store) = (&express.address, &redis.address);
    format!(
        r#"
[[role.mail-agent.credential]]
name     = "shop"
provider = "shop"
kind     = "session-cookie"
secret   = "file:DIR/shop.cookie"
vars     = {{ cookie = "connect.sid", page = "/me", who_at = "/user", user = "mail", stored_as = "express", user_at = "/user", login = "/login" }}
reload   = "none"
admin    = {{ store = "shop-sessions", account = "shop-account" }}

[provider.shop]
file  = "web-session"
base  = {{ api = "{address}", store = "{store}" }}
proof = {PROOF}

[admin.shop-sessions]
provider = "shop"
kind     = "session-store"
vars     = {{ username = "sweeper" }}
secret   = "file:DIR/sweeper.key"

[admin.shop-account]
provider = "shop"
kind     = "account"
vars     = {{ username = "mail" }}
secret   = "file:DIR/shop.key"
"#
    )
}

impl Sites {
    /// Whether each site accepts what the host now holds for it.
    async fn placed_alive(&self) -> (bool, bool) {
        let desk = format!("sessionid={}", self.host.value(ENV, "DESK_SESSION"));
        self.alive(&(desk, self.host.read("shop.cookie"))).await
    }

    async fn alive(&self, both: &(String, String)) -> (bool, bool) {
        let desk = self.django.is_alive(&both.0).await;
        (desk, self.express.is_alive("connect.sid", &both.1).await)
    }
}

fn without_store(inventory: &str) -> String {
    let text = inventory.replace("store = \"desk-sessions\", ", "");
    text.replace("store = \"shop-sessions\", ", "")
}

/// The inventory with more vars for one of the two credentials.
fn with_vars(inventory: &str, site: &str, vars: &str) -> String {
    let at = inventory.find(&format!("name     = \"{site}\"")).unwrap();
    let (head, tail) = inventory.split_at(at);
    let login = "login = \"/login\"";
    format!("{head}{}", tail.replacen(login, &format!("{login}, {vars}"), 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn contain_ends_the_sessions_in_their_stores_and_signs_in_again() {
    let Some(sites) = sites(true).await else { return };
    assert_eq!(sites.alive(&sites.old).await, (true, true));
    let outcome = sites.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/desk: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#DESK_SESSION (in-use)
      stranger null: older-or-undated
    mail-agent/shop: dead, revoke accepted, control new, made-up refused; new delivered
      in file:~/shop.cookie (in-use)
      stranger null: older-or-undated
    ");
    assert_eq!(sites.alive(&sites.old).await, (false, false));
    assert_eq!(sites.placed_alive().await, (true, true));
    assert_eq!(
        sites.alive(&sites.twin).await,
        (true, true),
        "reported, and nobody's to end unasked"
    );
    assert_eq!(sites.alive(&sites.other).await, (true, true));
    assert_eq!(mode_of(&sites.host.path("shop.cookie")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_replaces_the_sessions() {
    let Some(sites) = sites(false).await else { return };
    let outcome = sites.host.rotate(&["rehearse", "--role", "mail-agent"]);
    insta::assert_snapshot!(outcome.table(), @r"
    rehearse exit 0
    mail-agent/desk: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#DESK_SESSION (in-use)
    mail-agent/shop: dead, revoke accepted, control new, made-up refused; new delivered
      in file:~/shop.cookie (in-use)
    ");
    assert_eq!(sites.alive(&sites.old).await, (false, false));
    assert_eq!(sites.placed_alive().await, (true, true));
    assert_eq!(sites.alive(&sites.other).await, (true, true));
}

/// Without a store each session signs itself out, with the token that its site asks for.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_sign_themselves_out_where_no_store_is_named() {
    let Some(sites) = sites(true).await else { return };
    let text = without_store(&sites.host.read("inventory.toml"));
    let text = with_vars(&text, "desk", r#"logout = "/logout", csrf_page = "/login""#);
    let token = r#"csrf_page = "/home", csrf_field = "csrf-token", csrf_header = "X-CSRF-Token""#;
    let text = with_vars(&text, "shop", &format!(r#"logout = "/logout", {token}"#));
    sites.host.inventory(&text);
    let outcome = sites.host.rotate(&["--role", "mail-agent", "--deliver"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 3
    mail-agent/desk: dead, revoke accepted, control new, made-up refused; new delivered
      in dotenv:~/agent.env#DESK_SESSION (in-use)
      todo: look for unrecognised credentials beside mail-agent/desk; the provider's list could not be read to its end: read it by hand; null
    mail-agent/shop: dead, revoke accepted, control new, made-up refused; new delivered
      in file:~/shop.cookie (in-use)
      todo: look for unrecognised credentials beside mail-agent/shop; the provider's list could not be read to its end: read it by hand; null
    ");
    assert_eq!(sites.alive(&sites.old).await, (false, false));
    assert_eq!(sites.placed_alive().await, (true, true));
    assert_eq!(sites.alive(&sites.twin).await, (true, true));
}

/// A sign-out that says yes and ends nothing: what counts is what the page says to the cookie.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_that_lies_leaves_it_alive() {
    let Some(sites) = sites(true).await else { return };
    let text = without_store(&sites.host.read("inventory.toml"));
    let text = with_vars(&text, "shop", r#"logout = "/logout-lies""#);
    sites.host.inventory(&text);
    let outcome = sites.host.rotate(&["--role", "mail-agent", "--deliver", "--only", "shop"]);
    insta::assert_snapshot!(outcome.table(), @r"
    contain exit 4
    mail-agent/shop: alive, revoke accepted, control null, made-up refused; new delivered
      why: still accepted; the provider accepted the revocation
      in file:~/shop.cookie (in-use)
      todo: revoke the old mail-agent/shop; Delete the session in its store, or sign the user out everywhere; the site's administrator
      todo: look for unrecognised credentials beside mail-agent/shop; the provider's list could not be read to its end: read it by hand; null
    ");
    assert_eq!(outcome.report["exit_code"], json!(4));
    assert_eq!(sites.alive(&sites.old).await, (true, true));
}
