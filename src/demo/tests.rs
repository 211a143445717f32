use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::provider::Clients;

fn client() -> Client {
    Clients::new().unwrap().calls
}

fn base(lab: &Lab, provider: &str) -> String {
    let text = std::fs::read_to_string(lab.inventory_path()).unwrap();
    let inventory: toml::Table = text.parse().unwrap();
    inventory["provider"][provider]["base"].as_str().unwrap().to_owned()
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

async fn body(request: RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn the_folder_holds_live_seeds_and_no_marker() {
    let lab = Lab::start().await.unwrap();
    let text = std::fs::read_to_string(lab.inventory_path()).unwrap();
    for not_ours in [":/srv/", ":/etc/", "\"systemctl\"", "https://keys.", "https://login."] {
        assert!(!text.contains(not_ours), "{not_ours}");
    }
    assert!(!text.contains("acme_") && !text.contains("acmeadm_"), "no secret in an inventory");
    assert!(text.contains(&format!("[role.{ROLE}]")));
    assert!(lab.state_dir().is_dir());

    for truth in lab.verify().unwrap() {
        assert!(truth.old_alive, "{truth:?}");
        assert!(truth.placed_alive, "{truth:?}");
        assert!(!truth.replaced, "{truth:?}");
    }
    assert_eq!(lab.verify().unwrap().iter().filter(|truth| truth.verdict == "alive").count(), 1);
    assert_eq!(lab.asks(), Asks { acme: 0, archive: 0, oauth: 0 }, "the truth costs no request");
}

#[tokio::test]
async fn a_revoked_key_flaps_and_dies() {
    let lab = Lab::start().await.unwrap();
    let (http, acme) = (client(), base(&lab, "acme"));
    let key = lab.seeds[0].old.clone();
    let me = || http.get(format!("{acme}/v1/me")).bearer_auth(&*key);

    assert_eq!(body(me()).await, json!({ "account": { "id": "acct_1" }, "status": "active" }));
    assert_eq!(status(http.get(format!("{acme}/v1/me")).bearer_auth("acme_made_up")).await, 401);
    let current = http.delete(format!("{acme}/v1/keys/current"));
    assert_eq!(status(current.bearer_auth(&*key)).await, 204);

    let mut heard = String::new();
    while lab.acme.is_alive(&key) {
        heard.push(if status(me()).await == 200 { 'A' } else { 'r' });
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(heard.starts_with('A'), "dies late: {heard}");
    assert!(heard.contains("rA"), "accepted again after a refusal: {heard}");
    for _ in 0..4 {
        assert_eq!(body(me()).await, json!({ "error": { "code": "invalid_key" } }));
    }
}

#[tokio::test]
async fn the_admin_lists_issues_and_revokes() {
    let lab = Lab::start().await.unwrap();
    let (http, acme) = (client(), base(&lab, "acme"));
    let (admin, key) = (lab.acme.admin().to_owned(), lab.seeds[1].old.clone());
    let keys = format!("{acme}/v1/keys");
    let me = body(http.get(format!("{acme}/v1/me")).bearer_auth(&admin)).await;
    assert_eq!(me["account"]["id"], "acct_admin");

    assert_eq!(status(http.get(&keys)).await, 401);
    assert_eq!(status(http.get(&keys).bearer_auth(&*key)).await, 403);
    let listed = body(http.get(&keys).bearer_auth(&admin)).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert_eq!(listed["has_more"], false);

    let wanted = json!({ "name": "rotate-1", "scopes": ["search.read"] });
    let new = body(http.post(&keys).bearer_auth(&admin).json(&wanted)).await;
    let secret = new["secret"].as_str().unwrap();
    assert!(regex::Regex::new("^acme_[A-Za-z0-9]{32}$").unwrap().is_match(secret));
    assert!(lab.acme.is_alive(secret));
    assert_eq!(status(http.post(&keys).bearer_auth(&admin).json(&json!({}))).await, 400);

    let one = format!("{keys}/{}", new["id"].as_str().unwrap());
    assert_eq!(status(http.delete(&one).bearer_auth(&*key)).await, 403);
    assert_eq!(status(http.delete(&one).bearer_auth(&admin)).await, 204);
    assert_eq!(status(http.delete(&one).bearer_auth(&admin)).await, 404);
    assert_eq!(lab.acme.listed().len(), 2);
}

#[tokio::test]
async fn the_liar_says_204_and_its_key_goes_on_working() {
    let lab = Lab::start().await.unwrap();
    let (http, archive) = (client(), base(&lab, "acme-archive"));
    let key = lab.seeds[2].old.clone();

    let current = http.delete(format!("{archive}/v1/keys/current"));
    assert_eq!(status(current.bearer_auth(&*key)).await, 204);
    assert!(lab.archive.listed().is_empty(), "its list agrees with the lie");
    tokio::time::sleep(Duration::from_millis(1500)).await; // past every lag of the honest one
    for _ in 0..4 {
        assert_eq!(status(http.get(format!("{archive}/v1/me")).bearer_auth(&*key)).await, 200);
    }
    assert_eq!(status(http.get(format!("{archive}/v1/me")).bearer_auth("acme_made_up")).await, 401);
}

#[tokio::test]
async fn oauth_tokens_are_issued_introspected_and_revoked() {
    let lab = Lab::start().await.unwrap();
    let (http, at) = (client(), base(&lab, "mail-login"));
    let secret = lab.oauth.client_secret().to_owned();
    let post = |path: &str, fields: &[(&str, &str)]| {
        http.post(format!("{at}{path}")).basic_auth(oauth::CLIENT_ID, Some(&secret)).form(fields)
    };
    let metadata = body(http.get(format!("{at}/.well-known/oauth-authorization-server"))).await;
    assert_eq!(metadata["issuer"], at);
    assert_eq!(metadata["revocation_endpoint"], format!("{at}/revoke"));

    let answer = body(post("/token", &[("grant_type", "client_credentials")])).await;
    let new = answer["access_token"].as_str().unwrap();
    let seen = body(post("/introspect", &[("token", new)])).await;
    assert_eq!((&seen["active"], &seen["sub"]), (&json!(true), &json!(oauth::CLIENT_ID)));
    assert_eq!(seen["exp"].as_i64().unwrap() - seen["iat"].as_i64().unwrap(), 3600);
    assert_eq!(body(post("/introspect", &[("token", "x")])).await, json!({ "active": false }));
    assert_eq!(status(http.post(format!("{at}/introspect")).form(&[("token", new)])).await, 401);

    let old = lab.seeds[3].old.clone();
    assert_eq!(status(post("/revoke", &[("token", &old)])).await, 200);
    assert_eq!(status(post("/revoke", &[("token", "x")])).await, 200, "as RFC 7009 demands");
    assert_eq!(body(post("/introspect", &[("token", &old)])).await["active"], false);
    assert!(lab.oauth.is_alive(new), "the other token lives on");
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_its_grant() {
    let lab = Lab::start().await.unwrap();
    let (http, at) = (client(), base(&lab, "mail-login"));
    let secret = lab.oauth.client_secret().to_owned();
    let refresh = |token: &str| {
        http.post(format!("{at}/token"))
            .basic_auth(oauth::CLIENT_ID, Some(&secret))
            .form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
    };
    let first = lab.oauth.seed_refresh();
    let answer = body(refresh(&first)).await;
    let second = answer["refresh_token"].as_str().unwrap();
    assert!(lab.oauth.is_alive(second) && !lab.oauth.is_alive(&first));

    assert_eq!(body(refresh(&first)).await, json!({ "error": "invalid_grant" }));
    assert!(!lab.oauth.is_alive(second), "reuse kills the family");
    assert!(!lab.oauth.is_alive(answer["access_token"].as_str().unwrap()));
}

#[tokio::test]
async fn a_replaced_value_counts_only_where_every_place_holds_it() {
    let lab = Lab::start().await.unwrap();
    let new = lab.acme.seed("new");
    let write = |file: &str| {
        std::fs::write(lab.folder().join(file), format!("SEARCH_API_KEY=\"{}\"\n", *new)).unwrap();
    };
    write("calendar-agent/.env");
    assert!(!lab.truth(&lab.seeds[1]).unwrap().replaced, "the mail agent still has the old one");
    write("mail-agent/.env");
    let truth = lab.truth(&lab.seeds[1]).unwrap();
    assert!(truth.replaced && truth.placed_alive && truth.old_alive);
    assert_eq!(lab.listed().len(), 4);
}

#[tokio::test]
async fn dropping_the_lab_ends_its_servers_and_removes_its_folder() {
    let lab = Lab::start().await.unwrap();
    let (folder, acme) = (lab.folder().to_owned(), base(&lab, "acme"));
    drop(lab);
    assert!(!folder.exists());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while client().get(format!("{acme}/v1/me")).send().await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "still serving");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
