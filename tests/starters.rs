//! The lab itself: each server really accepts what lives and refuses what is dead or made up.

#![cfg(test)]

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

mod lab;

use lab::{
    FakeAnthropic, FakeCloudflare, FakeGitlab, FakeOpenAi, FakeOpenRouter, FakeRegistry, FakeSlack,
    Manners,
};

fn client() -> Client {
    rotate::provider::Clients::new().unwrap().calls().clone()
}

async fn ask(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[test]
fn moto_as_it_is_goes_on_accepting_an_inactive_key() {
    let Some(moto) = lab::moto(false) else { return };
    let old = moto.user("mail");
    assert!(moto.is_alive(&old));
    let made_up = lab::AwsKey { id: old.id.clone(), secret: "made up".into(), session: None };
    assert_eq!(moto.ask(&made_up, &["whoami"])["refused"], "SignatureDoesNotMatch");
    assert_eq!(moto.ask(&old, &["list-users"])["refused"], "AccessDenied");

    assert!(moto.ask(&moto.admin, &["disable-key", "mail", &old.id]).is_null());
    assert_eq!(moto.keys("mail"), [(old.id.clone(), "Inactive".to_owned())]);
    assert!(moto.is_alive(&old), "200, and it lives");

    let new = moto.key("mail");
    assert_eq!(moto.ask(&moto.admin, &["create-key", "mail"])["refused"], "LimitExceeded");
    assert!(moto.ask(&moto.admin, &["delete-key", "mail", &old.id]).is_null());
    assert_eq!(moto.ask(&old, &["whoami"])["refused"], "InvalidClientTokenId");
    assert!(moto.is_alive(&new));

    let role = moto.ask(&moto.admin, &["create-role", "mail"]);
    let session = moto.ask(&moto.admin, &["assume-role", role.as_str().unwrap()]);
    assert!(moto.is_alive(&lab::AwsKey::from(session)), "a session of a role");
}

#[test]
fn moto_patched_refuses_an_inactive_key() {
    let Some(moto) = lab::moto(true) else { return };
    let (old, new) = (moto.user("mail"), moto.key("mail"));
    assert!(moto.is_alive(&old));
    assert!(moto.ask(&moto.admin, &["disable-key", "mail", &old.id]).is_null());
    assert_eq!(moto.ask(&old, &["whoami"])["refused"], "InvalidClientTokenId");
    assert!(moto.is_alive(&new));
}

#[test]
fn redis_changes_a_password_and_leaves_open_connections_alone() {
    let acl = "user default on >admin ~* &* +@all\nuser mail on >old ~* +@all";
    let Some(redis) = lab::redis(acl) else { return };
    let mut open = redis.connect("mail", "old").unwrap();
    assert!(redis.connect("mail", "made up").err().unwrap().starts_with("WRONGPASS"));

    let mut admin = redis.connect("default", "admin").unwrap();
    admin.ask(&["ACL", "SETUSER", "mail", ">new", "<old"]).unwrap();
    admin.ask(&["ACL", "SAVE"]).unwrap();
    assert!(!redis.is_alive("mail", "old"));
    assert!(redis.is_alive("mail", "new"));
    assert!(std::fs::read_to_string(&redis.acl_file).unwrap().contains("user mail on"));

    assert_eq!(open.ask(&["PING"]), Ok(lab::Value::Text("PONG".into())), "it outlives the change");
    assert_eq!(admin.ask(&["CLIENT", "KILL", "USER", "mail"]), Ok(lab::Value::Number(1)));
    assert!(open.ask(&["PING"]).is_err());
    let Ok(lab::Value::List(user)) = admin.ask(&["ACL", "GETUSER", "mail"]) else { panic!() };
    assert!(user.contains(&lab::Value::Text("passwords".into())));
    assert!(redis.address.starts_with("redis://127.0.0.1:"));
}

#[tokio::test]
async fn oidc_introspects_and_revokes() {
    let Some(oidc) = lab::oidc() else { return };
    let (http, at, client_id) = (client(), &oidc.issuer, lab::Oidc::CLIENT);
    let secret = lab::Oidc::client_secret(client_id);
    let metadata = http.get(format!("{at}/.well-known/openid-configuration"));
    let (_, metadata) = ask(metadata).await;
    let post = |endpoint: &str, form: &[(&str, &str)]| {
        let at = metadata[endpoint].as_str().unwrap();
        http.post(at).basic_auth(client_id, Some(&secret)).form(form)
    };
    let (_, answer) = ask(post("token_endpoint", &[("grant_type", "client_credentials")])).await;
    let token = answer["access_token"].as_str().unwrap();
    let active = async |token: &str| {
        ask(post("introspection_endpoint", &[("token", token)])).await.1["active"].clone()
    };
    assert_eq!(active(token).await, true);
    assert_eq!(active("made-up").await, false);
    assert_eq!(ask(post("revocation_endpoint", &[("token", "made-up")])).await.0, 200);
    assert_eq!(active(token).await, true, "200 for nonsense, and nothing happened");
    assert_eq!(ask(post("revocation_endpoint", &[("token", token)])).await.0, 200);
    assert_eq!(active(token).await, false);

    let auditor = lab::Oidc::client_secret(lab::Oidc::AUDITOR);
    let fields = [("grant_type", "client_credentials")];
    let at_token = metadata["token_endpoint"].as_str().unwrap();
    let audit = http.post(at_token).basic_auth(lab::Oidc::AUDITOR, Some(auditor)).form(&fields);
    assert_eq!(ask(audit).await.0, 200);
    let wrong = http.post(at_token).basic_auth(client_id, Some("wrong")).form(&fields);
    assert_eq!(
        ask(wrong).await,
        (
            401,
            json!({
                "error": "invalid_client", "error_description": "client authentication failed",
            })
        )
    );
    let register = http
        .post(metadata["registration_endpoint"].as_str().unwrap())
        .bearer_auth(lab::Oidc::INITIAL_ACCESS_TOKEN)
        .json(&json!({ "redirect_uris": ["https://client.example/cb"] }));
    assert_eq!(ask(register).await.0, 201);
}

#[tokio::test]
async fn the_fake_of_openai_keeps_state_and_refuses_what_its_description_refuses() {
    let fake = FakeOpenAi::start().await;
    let (http, base, admin) = (client(), fake.base(), fake.admin_key().secret);
    let old = fake.service_account_key("proj_1", "mail");
    let person = fake.project_key("proj_1", "person");
    let models = |key: &str| http.get(format!("{base}/models")).bearer_auth(key);
    let project = format!("{base}/organization/projects/proj_1");

    assert_eq!(ask(models(&old.secret)).await.1["object"], "list");
    let (status, refused) = ask(models("sk-made-up")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(ask(models(&admin)).await.0, 403, "an admin key is none for models");

    let accounts = format!("{project}/service_accounts");
    let issue = |body: Value| http.post(&accounts).bearer_auth(&admin).json(&body);
    let (status, new) = ask(issue(json!({ "name": "rotate-1" }))).await;
    assert_eq!(status, 200);
    assert_eq!(ask(models(new["api_key"]["value"].as_str().unwrap())).await.0, 200);
    assert_eq!(ask(issue(json!({ "nom": "x" }))).await.0, 422, "name is required");
    let stolen = http.post(&accounts).bearer_auth(&old.secret).json(&json!({ "name": "x" }));
    assert_eq!(ask(stolen).await.0, 403);

    let keys = format!("{project}/api_keys");
    let page = http.get(format!("{keys}?limit=2")).bearer_auth(&admin);
    let (_, first) = ask(page).await;
    assert_eq!(first["has_more"], true);
    let redacted = first["data"][0]["redacted_value"].as_str().unwrap();
    assert!(old.secret.starts_with(redacted.split("...").next().unwrap()));
    assert!(old.secret.ends_with(redacted.split("...").nth(1).unwrap()));
    assert_eq!(first["data"][0]["owner"]["service_account"]["id"], json!(old.handle));
    let next = format!("{keys}?limit=2&after={}", first["last_id"].as_str().unwrap());
    let (_, second) = ask(http.get(next).bearer_auth(&admin)).await;
    assert_eq!((second["data"].as_array().unwrap().len(), &second["has_more"]), (1, &json!(false)));

    let delete = |at: String| http.delete(at).bearer_auth(&admin);
    let id = first["data"][0]["id"].as_str().unwrap();
    assert_eq!(ask(delete(format!("{keys}/{id}"))).await.0, 400, "a service account's key");
    let gone = ask(delete(format!("{accounts}/{}", old.handle))).await;
    assert_eq!((gone.0, &gone.1["deleted"]), (200, &json!(true)));
    assert_eq!(ask(delete(format!("{accounts}/{}", old.handle))).await.0, 404);
    assert_eq!(ask(models(&old.secret)).await.0, 401);
    assert!(!fake.is_alive(&old.secret) && fake.is_alive(&person.secret));
    assert_eq!(ask(delete(format!("{keys}/{}", person.handle))).await.0, 200);
    assert_eq!(fake.listed(), ["admin", "rotate-1"]);

    assert_eq!(ask(http.get(format!("{base}/nowhere")).bearer_auth(&admin)).await.0, 422);
    let outside: Vec<_> = fake.seen().into_iter().filter_map(|seen| seen.outside).collect();
    assert_eq!(outside, ["name is required", "no such operation"]);
}

#[tokio::test]
async fn the_fake_of_openai_rotates_admin_keys() {
    let fake = FakeOpenAi::start().await;
    let (http, old) = (client(), fake.admin_key());
    let at = format!("{}/organization/admin_api_keys", fake.base());
    let wanted = json!({ "name": "rotate-1", "expires_in_seconds": 60 });
    let (_, new) = ask(http.post(&at).bearer_auth(&old.secret).json(&wanted)).await;
    let new = new["value"].as_str().unwrap();
    let own = format!("{at}/{}", old.handle);
    assert_eq!(ask(http.delete(&own).bearer_auth(new)).await.0, 200);
    assert_eq!(ask(http.get(&at).bearer_auth(&old.secret)).await.0, 401);
    let (_, list) = ask(http.get(&at).bearer_auth(new)).await;
    assert_eq!(list["data"][0]["name"], "rotate-1");
}

#[tokio::test]
async fn a_fake_dies_late_or_lies_when_told_to() {
    let fake = FakeOpenAi::start().await;
    let (http, admin) = (client(), fake.admin_key().secret);
    let account = |key: &lab::OpenAiKey| {
        format!("{}/organization/projects/p/service_accounts/{}", fake.base(), key.handle)
    };
    let late = fake.service_account_key("p", "late");
    fake.dies_after(Duration::from_millis(200));
    assert_eq!(ask(http.delete(account(&late)).bearer_auth(&admin)).await.0, 200);
    assert!(fake.is_alive(&late.secret));
    while fake.is_alive(&late.secret) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let liar = fake.service_account_key("p", "liar");
    fake.lies();
    assert_eq!(ask(http.delete(account(&liar)).bearer_auth(&admin)).await.0, 200);
    assert!(fake.is_alive(&liar.secret));
}

#[tokio::test]
async fn a_fake_misbehaves_where_it_is_told_to() {
    let fake = FakeOpenAi::start().await;
    let (http, key) = (client(), fake.service_account_key("p", "mail"));
    let models = || http.get(format!("{}/models", fake.base())).bearer_auth(&key.secret);
    let treated = async |manners: Manners| {
        fake.behave();
        fake.misbehave("GET /v1/models", manners);
        models().timeout(Duration::from_millis(300)).send().await
    };
    assert_eq!(treated(Manners::ServerError).await.unwrap().status(), 500);
    let throttled = treated(Manners::Throttled { retry_after: Some(7) }).await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"] == "7"),
        (429, true)
    );
    let throttled = treated(Manners::Throttled { retry_after: None }).await.unwrap();
    assert!(throttled.headers().get("retry-after").is_none());
    assert_eq!(treated(Manners::BlockPage).await.unwrap().status(), 403);
    assert_eq!(treated(Manners::NotJson).await.unwrap().text().await.unwrap(), "ok");
    let elsewhere = Manners::Redirect("http://127.0.0.1:9/".into());
    assert_eq!(treated(elsewhere).await.unwrap().status(), 302);
    let echo = treated(Manners::Echo).await.unwrap().text().await.unwrap();
    assert!(echo.contains(&key.secret));
    assert!(treated(Manners::Silence).await.unwrap_err().is_timeout());
    assert!(treated(Manners::Huge).await.unwrap().bytes().await.is_err(), "no end in 300 ms");
    fake.behave();
    assert_eq!(ask(models()).await.0, 200);

    let admin = fake.admin_key().secret;
    fake.misbehave("DELETE ", Manners::AnswerLost);
    let account =
        format!("{}/organization/projects/p/service_accounts/{}", fake.base(), key.handle);
    let lost = http.delete(account).bearer_auth(&admin).timeout(Duration::from_millis(300));
    assert!(lost.send().await.unwrap_err().is_timeout());
    assert!(!fake.is_alive(&key.secret), "done, though no answer came");
    assert_eq!(fake.seen().last().unwrap().status, None);
}

#[tokio::test]
async fn the_fake_of_slack_answers_200_to_everything() {
    let fake = FakeSlack::start().await;
    let (http, old) = (client(), fake.bot_token());
    let post = |method: &str, token: &str| {
        http.post(format!("{}/{method}", fake.base())).bearer_auth(token)
    };
    assert_eq!(ask(post("auth.test", &old)).await.1["team_id"], "T1");
    let refused = json!({ "ok": false, "error": "invalid_auth" });
    assert_eq!(ask(post("auth.test", "xoxb-made-up")).await, (200, refused));
    let nobody = http.post(format!("{}/auth.test", fake.base()));
    assert_eq!(ask(nobody).await.1["error"], "not_authed");

    let rehearsal = post("auth.revoke", &old).form(&[("test", "1")]);
    assert_eq!(ask(rehearsal).await.1, json!({ "ok": true, "revoked": false }));
    assert!(fake.is_alive(&old));
    assert_eq!(ask(post("auth.revoke", &old)).await.1, json!({ "ok": true, "revoked": true }));
    assert_eq!(ask(post("auth.test", &old)).await.1["error"], "token_revoked");
    assert_eq!(ask(post("auth.revoke", &old)).await.1["error"], "token_revoked");
}

#[tokio::test]
async fn the_fake_of_slack_refreshes_once() {
    let fake = FakeSlack::start().await;
    let (http, (access, refresh)) = (client(), fake.rotating_pair());
    let exchange = |secret: &str| {
        http.post(format!("{}/oauth.v2.access", fake.base())).form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
            ("client_id", FakeSlack::CLIENT_ID),
            ("client_secret", secret),
        ])
    };
    assert_eq!(ask(exchange("wrong")).await.1["error"], "bad_client_secret");
    let (_, new) = ask(exchange(FakeSlack::CLIENT_SECRET)).await;
    assert!(fake.is_alive(new["access_token"].as_str().unwrap()));
    assert!(fake.is_alive(&access), "the older access token lives on");
    let again = ask(exchange(FakeSlack::CLIENT_SECRET)).await.1;
    assert_eq!(again["error"], "invalid_refresh_token");
}

#[tokio::test]
async fn the_fake_of_slack_posts_nothing_for_an_empty_message() {
    let fake = FakeSlack::start().await;
    let url = fake.webhook();
    let at = url.replace("https://hooks.slack.com", &fake.hooks());
    let probe = || client().post(&at).json(&json!({}));
    let text = async || probe().send().await.unwrap().text().await.unwrap();
    assert_eq!((ask(probe()).await.0, text().await.as_str()), (400, "no_text"));
    fake.remove_webhook(&url);
    assert_eq!((ask(probe()).await.0, text().await.as_str()), (403, "invalid_token"));
    assert!(!fake.is_alive(&url));
    let seen: Vec<_> = fake.seen();
    assert!(seen.iter().all(|seen| seen.outside.is_none()), "{seen:?}");
}

#[tokio::test]
async fn django_signs_in_and_out_and_issues_tokens() {
    let Some(django) = lab::django() else { return };
    let http = client();
    let at = |path: &str| format!("{}{path}", django.address);
    let (old, other) = (django.sign_in("mail").await, django.sign_in("mail").await);
    let me = async |session: &str| ask(http.get(at("/me")).header("cookie", session)).await;
    assert_eq!(me(&old).await, (200, json!({ "user": "mail", "id": 1 })));
    assert_eq!(me("sessionid=made-up").await, (401, json!({ "error": "login" })));
    assert_eq!(me("").await.0, 401);
    let unsigned = http.post(at("/logout")).header("cookie", &old);
    assert_eq!(ask(unsigned).await.0, 403, "no CSRF token");
    assert!(django.is_alive(&old).await && django.is_alive(&other).await);

    let client_and_secret = |client: &'static str| (client, lab::Django::client_secret(client));
    let post = |path: &str, client, form: &[(&str, &str)]| {
        let (id, secret) = client_and_secret(client);
        http.post(at(path)).basic_auth(id, Some(secret)).form(form)
    };
    let password = lab::Django::password("mail");
    let grant = [("grant_type", "password"), ("username", "mail"), ("password", &password)];
    let (_, first) = ask(post("/o/token/", lab::Django::CLIENT, &grant)).await;
    let access = first["access_token"].as_str().unwrap();
    let used = async |token: &str| ask(http.get(at("/api/me")).bearer_auth(token)).await.0;
    assert_eq!((used(access).await, used("made-up").await), (200, 403));
    let refresh = first["refresh_token"].as_str().unwrap();
    let again = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let (_, second) = ask(post("/o/token/", lab::Django::CLIENT, &again)).await;
    let successor = second["access_token"].as_str().unwrap();
    assert_eq!((used(access).await, used(successor).await), (403, 200));
    let introspect = post("/o/introspect/", lab::Django::AUDITOR, &[("token", successor)]);
    assert_eq!(ask(introspect).await.1["active"], true);
    let (status, refused) = ask(post("/o/token/", lab::Django::CLIENT, &again)).await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    assert_eq!(used(successor).await, 403, "the replay ended the family");
}

#[tokio::test]
async fn the_fake_of_anthropic_stops_and_archives_and_makes_none() {
    let fake = FakeAnthropic::start().await;
    let (http, old, admin) = (client(), fake.api_key("mail"), fake.admin_key().secret);
    let get = |path: &str, key: &str| {
        http.get(format!("{}{path}", fake.base()))
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", key)
    };
    let set = |status: &str| {
        http.post(format!("{}/v1/organizations/api_keys/{}", fake.base(), old.handle))
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", &admin)
            .json(&json!({ "status": status }))
    };
    assert_eq!(ask(get("/v1/models?limit=1", &old.secret)).await.0, 200);
    let (status, refused) = ask(get("/v1/models", "sk-ant-made-up")).await;
    assert_eq!((status, &refused["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(ask(get("/v1/organizations/me", &admin)).await.1["type"], "organization");
    assert_eq!(ask(get("/v1/organizations/api_keys", &old.secret)).await.0, 401);
    let (_, list) = ask(get("/v1/organizations/api_keys?limit=1", &admin)).await;
    let hint = list["data"][0]["partial_key_hint"].as_str().unwrap();
    assert!(old.secret.starts_with(hint.split("...").next().unwrap()), "{hint}");
    assert_eq!(list["has_more"], false);

    assert_eq!(ask(set("inactive")).await.1["status"], "inactive");
    assert!(!fake.is_alive(&old.secret));
    assert_eq!(ask(set("active")).await.0, 200);
    assert!(fake.is_alive(&old.secret), "what is only stopped comes back");
    assert_eq!(ask(set("archived")).await.1["status"], "archived");
    assert_eq!(ask(set("active")).await.0, 400, "for good");
    assert!(!fake.is_alive(&old.secret));

    let keys = http.post(format!("{}/v1/organizations/api_keys", fake.base()));
    assert_eq!(ask(keys.header("x-api-key", &admin)).await.0, 422, "no call makes one");
}

#[tokio::test]
async fn the_fake_of_openrouter_pages_by_offset_and_shows_a_key_once() {
    let fake = FakeOpenRouter::start().await;
    let (http, admin) = (client(), fake.management_key().secret);
    let old = fake.api_key("mail", 25);
    let at = format!("{}/keys", fake.base());
    let wanted = json!({ "name": "rotate-1", "limit": 25 });
    assert_eq!(ask(http.post(&at).bearer_auth(&old.secret).json(&wanted)).await.0, 401);
    let (status, new) = ask(http.post(&at).bearer_auth(&admin).json(&wanted)).await;
    assert_eq!((status, &new["data"]["limit"]), (201, &json!(25)));
    assert!(fake.is_alive(new["key"].as_str().unwrap()));
    assert_eq!(ask(http.post(&at).bearer_auth(&admin).json(&json!({}))).await.0, 422);
    fake.api_key("third", 1);
    let page = |offset: usize| http.get(format!("{at}?offset={offset}")).bearer_auth(&admin);
    let mut rows = Vec::new();
    for offset in [0, 2, 3] {
        rows.push(ask(page(offset)).await.1["data"].as_array().unwrap().len());
    }
    assert_eq!(rows, [2, 1, 0]);

    let delete = || http.delete(format!("{at}/{}", old.handle)).bearer_auth(&admin);
    assert_eq!(ask(delete()).await.1, json!({ "deleted": true }));
    assert_eq!(ask(delete()).await.0, 404);
    let own = http.get(format!("{}/key", fake.base())).bearer_auth(&old.secret);
    let (status, refused) = ask(own).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!(401)));
}

#[tokio::test]
async fn the_fake_of_gitlab_ends_a_family_whose_spent_member_is_rotated() {
    let fake = FakeGitlab::start().await;
    let (http, old) = (client(), fake.personal_token(3, "mail", &["self_rotate"]));
    let own = format!("{}/personal_access_tokens/self", fake.base());
    let rotate = |token: &str| http.post(format!("{own}/rotate")).header("private-token", token);
    let look = |token: &str| http.get(&own).header("private-token", token);
    assert_eq!(ask(look(&old)).await.1["active"], true);
    assert_eq!(ask(look("glpat-made-up")).await, (401, json!({ "message": "401 Unauthorized" })));
    let list = http.get(format!("{}/personal_access_tokens", fake.base()));
    assert_eq!(ask(list.header("private-token", &old)).await.1["error"], "insufficient_scope");

    let (status, new) = ask(rotate(&old).query(&[("expires_at", "2027-01-31")])).await;
    let new_token = new["token"].as_str().unwrap();
    assert_eq!((status, &new["expires_at"]), (200, &json!("2027-01-31")));
    assert_eq!(ask(look(&old)).await.1["error"], "invalid_token");
    assert!(fake.is_alive(new_token));
    assert_eq!(ask(rotate(&old)).await.0, 401);
    assert!(!fake.is_alive(new_token), "reuse of the spent one ends its successor");
    assert_eq!(ask(rotate(&old).query(&[("expiry", "x")])).await.0, 422);
}

#[tokio::test]
async fn the_fake_of_cloudflare_rolls_and_keeps_the_id() {
    let fake = FakeCloudflare::start().await;
    let (http, old, editor) = (client(), fake.user_token("mail"), fake.editor().secret);
    let tokens = format!("{}/user/tokens", fake.base());
    let verify = |token: &str| http.get(format!("{tokens}/verify")).bearer_auth(token);
    assert_eq!(ask(verify(&old.secret)).await.1["result"]["id"], json!(old.handle));
    let (status, refused) = ask(verify("cfut_made-up")).await;
    assert_eq!((status, &refused["errors"][0]["code"]), (401, &json!(1000)));
    let roll = |by: &str| {
        http.put(format!("{tokens}/{}/value", old.handle)).bearer_auth(by).json(&json!({}))
    };
    assert_eq!(ask(roll(&old.secret)).await.0, 403, "without the right");
    let new = ask(roll(&editor)).await.1["result"].as_str().unwrap().to_owned();
    assert_eq!(ask(verify(&new)).await.1["result"]["id"], json!(old.handle));
    assert!(!fake.is_alive(&old.secret));
    fake.disable(&old.handle);
    assert_eq!(ask(verify(&new)).await.1["result"]["status"], "disabled", "200 all the same");
    let gone = http.delete(format!("{tokens}/nobody")).bearer_auth(&editor);
    assert_eq!(ask(gone).await.0, 404);
    let account = fake.account_token("a1", "mail").secret;
    assert_eq!(ask(verify(&account)).await.0, 401, "an account's token is none of the user's");
}

#[tokio::test]
async fn unchecked_the_fake_registry_ends_what_it_says_it_ends() {
    let fake = FakeRegistry::start().await;
    let (http, login, (token, key)) = (client(), fake.login_token(), fake.token("mail"));
    let whoami = |token: &str| http.get(format!("{}/-/whoami", fake.base())).bearer_auth(token);
    assert_eq!(ask(whoami(&token)).await.1["username"], FakeRegistry::USER);
    assert_eq!(ask(whoami("npm_made-up")).await.0, 401);
    let list = format!("{}/-/npm/v1/tokens", fake.base());
    let remove = |key: &str| http.delete(format!("{list}/token/{key}")).bearer_auth(&login);
    assert_eq!(ask(remove("nonsense")).await.0, 404);
    assert_eq!(ask(remove(&key)).await.0, 204);
    assert_eq!(ask(whoami(&token)).await.0, 401);
    let logout = http.delete(format!("{}/-/user/token/{login}", fake.base())).bearer_auth(&login);
    assert_eq!(ask(logout).await.0, 204);
    assert_eq!(ask(whoami(&login)).await.0, 401);
}

/// What the file of npm registries rests on, and the lies it has to live with.
#[tokio::test]
async fn verdaccio_says_logged_out_and_is_not() {
    let Some(verdaccio) = lab::verdaccio() else { return };
    let http = client();
    let login = verdaccio.account("mail", "made-up-password").await;
    let (token, key) = verdaccio.token(&login, "made-up-password").await;
    assert!(verdaccio.is_alive(&token).await);
    assert_eq!(verdaccio.whoami("npm_made-up").await, (200, json!({})), "200 to nobody");

    let logout = http.delete(format!("{}/-/user/token/{token}", verdaccio.base));
    let said = ask(logout.bearer_auth(&token)).await;
    assert_eq!(said, (200, json!({ "ok": "Logged out" })));
    assert!(verdaccio.is_alive(&token).await, "and it lives");

    let remove = |key: &str| {
        http.delete(format!("{}/-/npm/v1/tokens/token/{key}", verdaccio.base)).bearer_auth(&login)
    };
    assert_eq!(ask(remove("nonsense")).await, (200, json!({})), "200 for nothing done");
    assert_eq!(ask(remove(&key)).await, (200, json!({})));
    assert_eq!(verdaccio.whoami(&token).await, (403, json!({ "error": "unauthorized access" })));
    assert!(verdaccio.listed(&login).await.is_empty());

    verdaccio.change_password(&login, "made-up-password", "another").await;
    assert_eq!(verdaccio.whoami(&login).await, (200, json!({})), "a new password does end a login");
}

#[tokio::test]
async fn wordpress_refuses_a_dead_password_as_it_refuses_nobody() {
    let Some(site) = lab::wordpress() else { return };
    let (status, own) = site.introspect(&site.mail).await;
    assert_eq!((status, &own["name"]), (200, &json!("mail")));
    let (status, refused) = site.introspect("aaaa bbbb cccc dddd eeee ffff").await;
    let http = client();
    let users = format!("{}/wp/v2/users/{}/application-passwords", site.base, site.user);
    let nobody = ask(http.get(format!("{users}/introspect"))).await;
    assert_eq!((status, &refused), (nobody.0, &nobody.1));

    let remove = || {
        let at = format!("{users}/{}", own["uuid"].as_str().unwrap());
        http.delete(at).basic_auth("admin", Some(&site.admin))
    };
    assert_eq!(ask(remove()).await.1["deleted"], true);
    assert_eq!(ask(remove()).await.1["code"], "rest_application_password_not_found");
    assert_eq!(site.introspect(&site.mail).await, (status, refused));
    assert_eq!(site.listed().await, ["other"]);
}
