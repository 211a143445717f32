use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body as AxumBody, Bytes};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::engine::call::{Answer, At, Fault, Identity, Liveness, Reason, Row, Values, Verb, Why};
use crate::engine::capability::{Actor, Seen as Sure, StepCapability, Way};
use crate::inventory::ProviderAt;
use crate::provider::catalog::{Catalog, Resolved};
use crate::provider::{Acting, Clients, Reply, Secrets};
use crate::secret::{Parts, Secret};

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Heard {
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

type Answering = dyn Fn(&Heard) -> Response<AxumBody> + Send + Sync;

/// A server on loopback that answers as the test says, and one provider pointed at it.
struct Stage {
    resolved: Resolved,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// A file whose every line a test below rests on.
const FILE: &str = r#"id      = "acme"
name    = "Acme"
docs    = "https://docs.acme.example"
checked = "2026-11-21"
base    = "inventory"
headers = { x-version = "1" }
error   = "/error/code"
limited = [
  { status = 403, json = { "/error/code" = "slow_down" }, wait = "/error/retry_in" },
  { status = 403, header = { x-reset = { exists = true } }, wait = { header = "x-reset" } },
]
[var.project]
default = "main"
[kind.api-key]
shape = '^acme_(?P<team>[a-z]{4})_[A-Za-z0-9]{32}$'
auth  = { bearer = "{{ secret }}" }
admin = "admin"
[kind.api-key.probe]
get        = "/me"
alive      = [{ status = 200, json = { "/status" = "active" } }]
restricted = [{ status = 403, json = { "/error/code" = "missing_scope" } }]
dead       = [{ status = 401, json = { "/error/code" = "bad_key" }, by_name = true }, { status = 410 }]
who        = ["/team", "/user"]
take       = { handle = "/id" }
seen       = "doc"
[kind.api-key.find]
get   = "/projects/{{ project }}/keys"
query = { limit = 2, status = "live ones" }
rows  = "/data"
where = { "/project" = "{{ project }}" }
next  = { query = "after", from = "/last", more = "/more" }
hint  = { masked = "/masked" }
take  = { handle = "/id", label = "/name", revoked = "/revoked" }
seen  = "doc"
[kind.api-key.issue]
post = "/keys"
json = { name = "{{ label }}", scopes = "{{ scopes }}", until = "{{ expires? }}", days = "{{ ttl.days? }}", note = "for {{ label }}", old = "{{ old.secret }}" }
ok   = [{ status = 201 }]
gone = [{ status = 409 }]
take = { handle = "/id", secret = "/secret" }
seen = "doc"
[[kind.api-key.revoke]]
delete = "/keys/{{ handle }}"
ok     = [{ status = 204 }]
gone   = [{ status = 404 }]
seen   = "doc"
[[kind.api-key.revoke]]
post = "/revoke/{{ secret }}"
as   = "none"
form = { token = "{{ secret }}", hint = "{{ team }}", reason = "burned & gone" }
seen = "doc"
[kind.api-key.evict]
post = "{{ where_to }}"
json = {}
seen = "doc"
[kind.api-key.learn]
get  = "/where"
take = { where_to = "/url" }
seen = "doc"
[kind.api-key.by_hand]
issue  = { at = "a", do = "b" }
revoke = { at = "a", do = "b" }
[kind.admin]
class = "oauth-client"
parts = { client_id = "public", secret = "secret" }
auth  = { headers = { x-token = "Token {{ token }}" } }
[kind.admin.login]
post = "/login"
form = { id = "{{ client_id }}", password = "{{ secret }}" }
take = { token = "/token", lives = "/lives" }
seen = "doc"
[kind.admin.by_hand]
issue  = { at = "a", do = "b" }
revoke = { at = "a", do = "b" }
[[example]]
kind = "api-key"
verb = "probe"
answer = { status = 200, json = { status = "active", team = "a", user = 1 } }
means = "alive"
seen = "doc"
[[example]]
kind = "api-key"
verb = "probe"
answer = { status = 410 }
means = "dead"
seen = "doc"
"#;

const OLD: &str = "acme_teem_0123456789abcdefghijABCDEFGHIJ01";

/// 2026-11-21T12:00:00Z.
const NOW_MS: i64 = 1_795_262_400_000;

impl Stage {
    async fn set(answer: impl Fn(&Heard) -> Response<AxumBody> + Send + Sync + 'static) -> Self {
        Self::of(FILE, answer).await
    }

    async fn of(
        file: &str,
        answer: impl Fn(&Heard) -> Response<AxumBody> + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let log = heard.clone();
        let answer: Arc<Answering> = Arc::new(answer);
        let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.expect("a small body");
                let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                };
                let one = Heard {
                    method: head.method.to_string(),
                    uri: head.uri.to_string(),
                    headers: head.headers.iter().map(header).collect(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                log.lock().expect("not poisoned").push(one.clone());
                answer(&one)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { resolved: resolved(file, &format!("http://{address}/v1/")), heard }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("not poisoned").clone()
    }

    async fn call(&self, verb: Verb, way: u16, values: Value) -> Reply {
        self.call_with(verb, way, values, secrets()).await
    }

    async fn call_with(&self, verb: Verb, way: u16, values: Value, secrets: Secrets) -> Reply {
        let at = At { provider: "acme".into(), kind: "api-key".into(), verb, way, step: 0 };
        let values: Values = serde_json::from_value(values).expect("a table");
        self.resolved.provider("acme").expect("there").call(&at, &values, &secrets).await
    }
}

fn resolved(file: &str, base: &str) -> Resolved {
    let mut catalog = Catalog::default();
    catalog.add(file, "acme.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let at = ProviderAt {
        id: "acme".into(),
        file: "acme".into(),
        base: BTreeMap::from([("api".to_owned(), base.to_owned())]),
        ..ProviderAt::default()
    };
    let clients = Arc::new(Clients::new().expect("a client"));
    let at = BTreeMap::from([("acme".to_owned(), at)]);
    let resolved = catalog.resolve(&at, &clients, Arc::new(|| NOW_MS));
    assert_eq!(resolved.problems, []);
    resolved
}

fn acting(kind: &str, public: &[(&str, &str)], secret: &str) -> Acting {
    let public = public.iter().map(|(name, value)| ((*name).into(), Value::from(*value))).collect();
    let secret = BTreeMap::from([("secret".to_owned(), Secret::from(secret.to_owned()))]);
    Acting {
        provider: "acme".into(),
        kind: kind.into(),
        vars: Values::new(),
        parts: Parts { public, secret },
    }
}

fn secrets() -> Secrets {
    Secrets::from([
        ("it".to_owned(), acting("api-key", &[], OLD)),
        ("old".to_owned(), acting("api-key", &[], OLD)),
        ("admin".to_owned(), acting("admin", &[("client_id", "boss")], "admin pass&word")),
    ])
}

fn answer(status: u16, body: Value) -> Response<AxumBody> {
    let response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    response.body(AxumBody::from(body.to_string())).expect("a response")
}

/// Lets the admin in, and answers everything else with this.
fn behind_login(
    then: impl Fn(&Heard) -> Response<AxumBody> + Send + Sync + 'static,
) -> impl Fn(&Heard) -> Response<AxumBody> + Send + Sync + 'static {
    move |heard| match heard.uri.as_str() {
        "/v1/login" => answer(200, json!({ "token": "tok-123456", "lives": 3600 })),
        _ => then(heard),
    }
}

fn saw(reply: Reply) -> Liveness {
    match reply.answer {
        Answer::Saw(liveness, _) => liveness,
        other => panic!("no probe: {other:?}"),
    }
}

fn unclear(reason: Reason, status: u16) -> Liveness {
    Liveness::Unclear(Why { reason, status: Some(status), word: None })
}

#[tokio::test]
async fn a_probe_shows_the_credential_and_reads_the_class() {
    let stage = Stage::set(|_| {
        answer(200, json!({ "status": "active", "team": "t", "user": 7, "id": "k1" }))
    })
    .await;
    let reply = stage.call(Verb::Probe, 0, json!({})).await;
    let Answer::Saw(Liveness::Alive(Identity(who)), values) = reply.answer else { panic!() };
    assert_eq!((who.as_str(), values), ("t/7", Values::from([("handle".into(), "k1".into())])));
    let heard = &stage.heard()[0];
    assert_eq!((heard.method.as_str(), heard.uri.as_str()), ("GET", "/v1/me"));
    assert_eq!(heard.header("authorization"), format!("Bearer {OLD}"));
    assert_eq!((heard.header("x-version"), heard.header("cache-control")), ("1", "no-cache"));
}

#[tokio::test]
async fn each_class_of_a_probe_and_everything_that_is_none() {
    for (status, body, expected) in [
        (401, json!({ "error": { "code": "bad_key" } }), Liveness::Dead { by_name: true }),
        (410, json!({}), Liveness::Dead { by_name: false }),
        (
            403,
            json!({ "error": { "code": "missing_scope" } }),
            Liveness::Restricted(Identity(String::new())),
        ),
        (401, json!("who are you"), unclear(Reason::NoClass, 401)),
        (200, json!({}), unclear(Reason::NoClass, 200)),
        // Accepted, but as nobody.
        (200, json!({ "status": "active", "team": "t" }), unclear(Reason::SomebodyElse, 200)),
        (500, json!({ "status": "active" }), unclear(Reason::Unexpected, 500)),
        (302, json!({}), unclear(Reason::Redirect, 302)),
        // An identity that holds the secret would be written down.
        (200, json!({ "status": "active", "team": OLD, "user": 1 }), unclear(Reason::Echo, 200)),
    ] {
        let said = body.clone();
        let stage = Stage::set(move |_| answer(status, said.clone())).await;
        assert_eq!(saw(stage.call(Verb::Probe, 0, json!({})).await), expected, "{status} {body}");
    }
}

#[tokio::test]
async fn later_is_no_verdict_and_says_how_much_later() {
    let header = |name: &'static str, value: &'static str| {
        move |status: u16| {
            let response = Response::builder().status(status).header(name, value);
            response.body(AxumBody::empty()).expect("a response")
        }
    };
    let throttled = |reply: Reply| match reply.answer {
        Answer::Fault(Fault::Throttled(wait)) => wait,
        other => panic!("not throttled: {other:?}"),
    };
    for (make, status, expected) in [
        (header("retry-after", "7"), 429, Some(7_000)),
        (header("retry-after", "Sat, 21 Nov 2026 12:01:00 GMT"), 429, Some(60_000)),
        (header("retry-after", "soon"), 429, None),
        (header("x-reset", "1795262410"), 403, Some(10_000)),
        (header("retry-after", "5"), 503, Some(5_000)),
    ] {
        let stage = Stage::set(move |_| make(status)).await;
        assert_eq!(throttled(stage.call(Verb::Probe, 0, json!({})).await), expected, "{status}");
    }
    let body = json!({ "error": { "code": "slow_down", "retry_in": 1.5 } });
    let stage = Stage::set(move |_| answer(403, body.clone())).await;
    assert_eq!(throttled(stage.call(Verb::Probe, 0, json!({})).await), Some(1_500));
}

#[tokio::test]
async fn an_issue_logs_in_renders_value_by_value_and_brings_the_new_one() {
    let new = OLD.replace("0123", "9999");
    let brought = new.clone();
    let stage =
        Stage::set(behind_login(move |_| answer(201, json!({ "id": "k2", "secret": new })))).await;
    let values =
        json!({ "label": "rotate-1", "scopes": ["read", "a\"b"], "ttl": 90 * 86_400_000u64 });
    let reply = stage.call(Verb::Issue, 0, values).await;
    let Answer::Issued(holding) = &reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(holding.public, Values::from([("handle".into(), "k2".into())]));
    let parts = reply.brought.expect("a secret came");
    assert_eq!(parts.secret["secret"].expose(), brought.as_bytes());
    assert_eq!(parts.secret["team"].expose(), b"teem", "groups of the shape become parts");
    let heard = stage.heard();
    assert_eq!(heard[0].body, "id=boss&password=admin%20pass%26word");
    assert_eq!(heard[1].header("x-token"), "Token tok-123456");
    assert_eq!(heard[1].header("content-type"), "application/json");
    let sent: Value = serde_json::from_str(&heard[1].body).expect("JSON");
    assert_eq!(
        sent,
        json!({ "name": "rotate-1", "scopes": ["read", "a\"b"], "until": "2027-02-19T12:00:00Z",
                "days": 90, "note": "for rotate-1", "old": OLD })
    );
}

#[tokio::test]
async fn what_is_absent_is_left_out_and_nothing_breaks_out_of_json() {
    let stage = Stage::set(behind_login(|_| answer(409, json!({})))).await;
    let reply = stage.call(Verb::Issue, 0, json!({ "label": "l", "scopes": [] })).await;
    assert!(matches!(reply.answer, Answer::Gone));
    let sent: Value = serde_json::from_str(&stage.heard()[1].body).expect("JSON");
    assert_eq!(sent, json!({ "name": "l", "scopes": [], "note": "for l", "old": OLD }));
    // Inside a longer string only plain words stand.
    let label = json!({ "label": "\", \"admin\": true, \"x\": \"" });
    let reply = stage.call(Verb::Issue, 0, label).await;
    assert_refused(reply, Reason::Unsupported);
    let reply = stage.call(Verb::Issue, 0, json!({})).await;
    assert_refused(reply, Reason::MissingValue);
    assert_eq!(stage.heard().len(), 2, "one login, one call, and nothing for the bad values");
}

/// Who lacks what decides whether a layer of a probe is one that this credential does not have, or
/// one that nobody could ask.
#[tokio::test]
async fn only_the_credential_s_own_optional_part_is_told_apart_from_a_missing_value() {
    let file = FILE
        .replace(
            "admin = \"admin\"\n",
            "admin = \"admin\"\nparts = { secret = \"secret\", access = \"secret?\" }\n",
        )
        .replace(
            "secret = \"secret\" }\nauth  = { headers",
            "secret = \"secret\", more = \"secret?\" }\nauth  = { headers",
        );
    for (marker, reason) in
        [("{{ access }}", Reason::NoSuchPart), ("{{ admin.more }}", Reason::MissingValue)]
    {
        let asks = format!("get        = \"/me\"\nquery      = {{ with = \"{marker}\" }}\n");
        let file = file.replace("get        = \"/me\"\n", &asks);
        let stage = Stage::of(&file, |_| answer(200, json!({}))).await;
        let reply = stage.call(Verb::Probe, 0, json!({})).await;
        let unclear = Answer::Saw(Liveness::Unclear(reason.into()), Values::new());
        assert_eq!(reply.answer, unclear, "{marker}");
        assert_eq!(stage.heard().len(), 0);
    }
}

#[track_caller]
fn assert_refused(reply: Reply, reason: Reason) {
    match reply.answer {
        Answer::Fault(Fault::Refused(why)) if why.reason == reason => {}
        other => panic!("not refused for {reason:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_value_stays_in_its_path_segment() {
    let stage = Stage::set(behind_login(|_| answer(204, json!(null)))).await;
    for handle in ["../admin", "a/b", "a?x=1", "a#b", "..", ".", "a%2fb", "a\\b", "a\nb", ""] {
        let reply = stage.call(Verb::Revoke, 0, json!({ "handle": handle })).await;
        assert_refused(reply, Reason::LeftBase);
    }
    assert!(stage.heard().iter().all(|heard| heard.uri == "/v1/login"));
    let reply = stage.call(Verb::Revoke, 0, json!({ "handle": "key 1@x:é" })).await;
    assert!(matches!(reply.answer, Answer::Done));
    assert_eq!(stage.heard().last().expect("heard").uri, "/v1/keys/key%201@x:%C3%A9");
}

#[tokio::test]
async fn a_header_holds_no_control_characters() {
    let stage = Stage::set(|_| answer(200, json!({}))).await;
    let mut secrets = secrets();
    secrets.insert("it".into(), acting("api-key", &[], "acme\r\nx-admin: true"));
    let reply = stage.call_with(Verb::Probe, 0, json!({}), secrets).await;
    assert_eq!(saw(reply), Liveness::Unclear(Reason::Unsupported.into()));
    assert!(stage.heard().is_empty());
}

#[tokio::test]
async fn a_secret_in_a_form_is_percent_encoded() {
    let stage = Stage::set(|_| answer(200, json!({}))).await;
    let mut secrets = secrets();
    let provider = stage.resolved.provider("acme").expect("there");
    for acting in secrets.values_mut().filter(|acting| acting.kind == "api-key") {
        provider.split("api-key", &mut acting.parts);
    }
    let reply = stage.call_with(Verb::Revoke, 1, json!({}), secrets).await;
    assert!(matches!(reply.answer, Answer::Done));
    let heard = &stage.heard()[0];
    assert_eq!(heard.uri, format!("/v1/revoke/{OLD}"));
    assert_eq!(heard.body, format!("hint=teem&reason=burned%20%26%20gone&token={OLD}"));
    assert_eq!(heard.header("authorization"), "", "no credential was sent");
}

#[tokio::test]
async fn a_url_from_an_answer_lies_on_a_base_or_is_not_called() {
    let stage = Stage::set(behind_login(|_| answer(200, json!({})))).await;
    for url in [
        "https://evil.example/x",
        "http://127.0.0.1:1/x",
        "http://user@127.0.0.1/x",
        "//evil.example/x",
        "/../x",
        "ftp://127.0.0.1/x",
    ] {
        let reply = stage.call(Verb::Evict, 0, json!({ "where_to": url })).await;
        assert_refused(reply, Reason::LeftBase);
    }
    let reply = stage.call(Verb::Evict, 0, json!({ "where_to": "/sessions" })).await;
    assert!(matches!(reply.answer, Answer::Done));
    assert_eq!(stage.heard().last().expect("heard").uri, "/v1/sessions");
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_hints_are_compared_in_memory() {
    let stage = Stage::set(behind_login(|heard| {
        let row = |id: &str, masked: &str| {
            json!({ "id": id, "name": "n", "masked": masked, "project": "main", "revoked": id == "k3" })
        };
        if heard.uri.contains("after=k2") {
            let other = json!({ "id": "k9", "project": "other" });
            return answer(200, json!({ "data": [row("k3", "acme_zzzz***"), other], "more": false }));
        }
        let rows = [row("k1", "acme_teem_...IJ01"), row("k2", "acme_teem_...XXXX")];
        answer(200, json!({ "data": rows, "more": true, "last": "k2" }))
    }))
    .await;
    let reply = stage.call(Verb::Find, 0, json!({})).await;
    let Answer::Found { rows, complete } = reply.answer else { panic!("{:?}", reply.answer) };
    let brief = |row: &Row| (row.handle.clone(), row.hinted, row.revoked);
    assert!(complete);
    assert_eq!(
        rows.iter().map(brief).collect::<Vec<_>>(),
        [("k1".into(), true, false), ("k2".into(), false, false), ("k3".into(), false, true)]
    );
    let heard = stage.heard();
    assert_eq!(heard[1].uri, "/v1/projects/main/keys?limit=2&status=live%20ones");
    assert_eq!(heard.len(), 3, "one login and two pages");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_says_so() {
    type Page = fn(&Heard) -> Response<AxumBody>;
    let cases: [(&str, Page); 4] = [
        ("a later page fails", |heard| match heard.uri.contains("after=") {
            true => answer(500, json!({})),
            false => answer(200, json!({ "data": [], "more": true, "last": "a" })),
        }),
        ("the cursor stands still", |_| {
            answer(200, json!({ "data": [], "more": true, "last": "a" }))
        }),
        ("more, but from nowhere", |_| answer(200, json!({ "data": [], "more": true }))),
        ("a row without its id", |_| {
            answer(200, json!({ "data": [{ "project": "main" }], "more": false }))
        }),
    ];
    for (what, page) in cases {
        let stage = Stage::set(behind_login(page)).await;
        let reply = stage.call(Verb::Find, 0, json!({})).await;
        assert!(
            matches!(reply.answer, Answer::Found { complete: false, .. }),
            "{what}: {:?}",
            reply.answer
        );
    }
    let stage = Stage::set(behind_login(|_| answer(200, json!({ "nothing": 1 })))).await;
    assert_refused(stage.call(Verb::Find, 0, json!({})).await, Reason::Unexpected);
    let echo = json!({ "data": [{ "id": "k", "project": "main", "name": OLD }], "more": false });
    let stage = Stage::set(behind_login(move |_| answer(200, echo.clone()))).await;
    assert_refused(stage.call(Verb::Find, 0, json!({})).await, Reason::Echo);
}

/// Rows that the conditions leave out are no end of the list, and they count.
#[tokio::test]
async fn a_list_is_read_by_page_and_by_offset_past_rows_that_are_left_out() {
    for (next, asked) in [
        (r#"{ page = "page", first = 1 }"#, ["", "&page=2", "&page=3", "&page=4"]),
        (r#"{ offset = "skip" }"#, ["", "&skip=2", "&skip=3", "&skip=4"]),
    ] {
        let file = FILE.replace(r#"{ query = "after", from = "/last", more = "/more" }"#, next);
        let pages = [&["a", "b"][..], &["c"], &["main"], &[]].map(|projects| {
            let row = |project: &&str| json!({ "id": "k", "project": project });
            json!({ "data": projects.iter().map(row).collect::<Vec<_>>() })
        });
        let stage = Stage::of(
            &file,
            behind_login(move |heard| {
                let is = |end: &&str| !end.is_empty() && heard.uri.ends_with(*end);
                answer(200, pages[asked.iter().position(is).unwrap_or(0)].clone())
            }),
        )
        .await;
        let reply = stage.call(Verb::Find, 0, json!({})).await;
        let Answer::Found { rows, complete } = reply.answer else { panic!("{:?}", reply.answer) };
        assert_eq!((rows.len(), complete), (1, true), "{next}");
        assert_eq!(stage.heard().len(), 1 + asked.len(), "a login and all pages");
    }
}

#[tokio::test]
async fn garbage_redirects_and_refusals_of_a_change() {
    let stage = Stage::set(behind_login(|_| {
        Response::builder()
            .status(302)
            .header("location", "/elsewhere")
            .body(AxumBody::from("moved"))
            .expect("a response")
    }))
    .await;
    assert_refused(stage.call(Verb::Revoke, 0, json!({ "handle": "k" })).await, Reason::Redirect);
    assert_eq!(stage.heard().len(), 2, "a redirect is not followed");
    let stage = Stage::set(behind_login(|_| answer(201, json!("not a table")))).await;
    let reply = stage.call(Verb::Issue, 0, json!({ "label": "l" })).await;
    let Answer::Fault(Fault::Unknown(why)) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!((why.reason, why.status), (Reason::Unexpected, Some(201)));
    for (word, kept) in [("no_right", true), ("two words", false), (OLD, false), ("", false)] {
        let body = json!({ "error": { "code": word } });
        let stage = Stage::set(behind_login(move |_| answer(403, body.clone()))).await;
        let reply = stage.call(Verb::Revoke, 0, json!({ "handle": "k" })).await;
        let Answer::Fault(Fault::Refused(why)) = reply.answer else { panic!("{:?}", reply.answer) };
        let expected = kept.then(|| word.to_owned());
        assert_eq!(why, Why { reason: Reason::Refused, status: Some(403), word: expected });
    }
    let stage = Stage::set(behind_login(|_| answer(502, json!({})))).await;
    let reply = stage.call(Verb::Revoke, 0, json!({ "handle": "k" })).await;
    assert!(matches!(reply.answer, Answer::Fault(Fault::Unknown(_))), "{:?}", reply.answer);
}

#[tokio::test]
async fn new_bytes_survive_an_answer_that_echoes_them() {
    let new = OLD.replace("0123", "9999");
    let stage =
        Stage::set(behind_login(move |_| answer(201, json!({ "id": new, "secret": new })))).await;
    let reply = stage.call(Verb::Issue, 0, json!({ "label": "l" })).await;
    let Answer::Issued(holding) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(holding.public, Values::new(), "the id would have written the secret down");
    assert!(reply.brought.is_some());
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    // Announced: not a byte of it is read. Unannounced: no more than the bound.
    let stage = Stage::set(|_| {
        let endless = futures::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))
        });
        let body = AxumBody::from_stream(futures::StreamExt::take(endless, 16_384));
        Response::builder().status(200).body(body).expect("a response")
    })
    .await;
    let started = std::time::Instant::now();
    let reply = stage.call(Verb::Probe, 0, json!({})).await;
    assert_eq!(saw(reply), unclear(Reason::TooLong, 200));
    assert!(started.elapsed() < Duration::from_secs(10));
    let stage = Stage::set(|_| {
        let response = Response::builder().status(200).header("content-length", 1u64 << 30);
        response
            .body(AxumBody::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()))
            .expect("a response")
    })
    .await;
    assert_eq!(saw(stage.call(Verb::Probe, 0, json!({})).await), unclear(Reason::TooLong, 200));
}

#[tokio::test]
async fn what_never_left_is_told_from_what_may_have_happened() {
    let closed = resolved(FILE, "http://127.0.0.1:1/");
    let at = |verb| At {
        provider: "acme".into(),
        kind: "api-key".into(),
        verb,
        way: u16::from(verb == Verb::Revoke),
        step: 0,
    };
    let provider = closed.provider("acme").expect("there");
    for verb in [Verb::Probe, Verb::Revoke] {
        let mut secrets = secrets();
        provider.split("api-key", &mut secrets.get_mut("old").expect("there").parts);
        let reply = provider.call(&at(verb), &Values::new(), &secrets).await;
        let Answer::Fault(Fault::NotSent(why)) = reply.answer else { panic!("{:?}", reply.answer) };
        assert_eq!(why, Reason::Connect.into());
    }
    // A server that reads the request and hangs up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut buffer).await;
        }
    });
    let gone = resolved(FILE, &format!("http://{address}"));
    let provider = gone.provider("acme").expect("there");
    let reply = provider.call(&at(Verb::Probe), &Values::new(), &secrets()).await;
    assert_eq!(saw(reply), Liveness::Unclear(Reason::Reset.into()));
    let mut secrets = secrets();
    provider.split("api-key", &mut secrets.get_mut("old").expect("there").parts);
    let reply = provider.call(&at(Verb::Revoke), &Values::new(), &secrets).await;
    assert_eq!(reply.answer, Answer::Fault(Fault::Unknown(Reason::Reset.into())));
}

#[tokio::test]
async fn an_actor_logs_in_once_again_after_a_401_and_is_refused_as_itself() {
    let tokens = Mutex::new(0);
    let stage = Stage::set(move |heard| {
        if heard.uri == "/v1/login" {
            let mut tokens = tokens.lock().expect("not poisoned");
            *tokens += 1;
            return answer(200, json!({ "token": format!("tok-00000{tokens}"), "lives": 3600 }));
        }
        match heard.header("x-token") {
            "Token tok-000001" if heard.uri.ends_with("/late") => answer(401, json!({})),
            _ => answer(204, json!({})),
        }
    })
    .await;
    for handle in ["a", "b", "late", "c"] {
        let reply = stage.call(Verb::Revoke, 0, json!({ "handle": handle })).await;
        assert!(matches!(reply.answer, Answer::Done), "{handle}: {:?}", reply.answer);
    }
    let uris: Vec<String> = stage.heard().into_iter().map(|heard| heard.uri).collect();
    let expected = [
        "/v1/login",
        "/v1/keys/a",
        "/v1/keys/b",
        "/v1/keys/late",
        "/v1/login",
        "/v1/keys/late",
        "/v1/keys/c",
    ];
    assert_eq!(uris, expected);
    let stage = Stage::set(|_| answer(401, json!({ "error": { "code": "bad_client" } }))).await;
    let reply = stage.call(Verb::Revoke, 0, json!({ "handle": "a" })).await;
    assert_refused(reply, Reason::ActorRefused);
    let stage = Stage::set(|heard| match heard.uri.as_str() {
        "/v1/login" => answer(500, json!({})),
        _ => answer(204, json!({})),
    })
    .await;
    let reply = stage.call(Verb::Revoke, 0, json!({ "handle": "a" })).await;
    assert!(matches!(reply.answer, Answer::Fault(Fault::NotSent(_))), "{:?}", reply.answer);
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_before_it_ends() {
    let stage = Stage::set(|heard| match heard.uri.as_str() {
        "/v1/login" => answer(200, json!({ "token": "tok-123456", "lives": 30 })),
        _ => answer(204, json!({})),
    })
    .await;
    for _ in 0..2 {
        stage.call(Verb::Revoke, 0, json!({ "handle": "a" })).await;
    }
    let logins = stage.heard().iter().filter(|heard| heard.uri == "/v1/login").count();
    assert_eq!(logins, 2, "a token with no more than 30 s to live is not used twice");
}

#[tokio::test]
async fn made_up_credentials_look_right_and_are_nobodys() {
    let resolved = resolved(FILE, "http://127.0.0.1:1/");
    let provider = resolved.provider("acme").expect("there");
    let mut real = acting("api-key", &[("name", "kept")], OLD).parts;
    provider.split("api-key", &mut real);
    let fake = provider.made_up("api-key", &real);
    assert_eq!(fake.public["name"], "kept");
    let value = std::str::from_utf8(fake.secret["secret"].expose()).expect("text");
    assert!(value.starts_with("acme_") && value.len() == OLD.len() && value != OLD);
    assert_eq!(fake.secret["team"].expose(), &value.as_bytes()[5..9], "split anew");
    let admin = provider.made_up("admin", &acting("admin", &[], "p4ss-Word").parts);
    let value = admin.secret["secret"].expose();
    assert!(value.len() == 9 && value != b"p4ss-Word" && value[4] == b'-');
}

#[test]
fn an_inventory_cannot_send_secrets_in_the_clear_or_astray() {
    let mut catalog = Catalog::default();
    catalog.add(FILE, "acme.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let problem = |file: &str, name: &str, base: &str| {
        let base = BTreeMap::from([(name.to_owned(), base.to_owned())]);
        let at = ProviderAt { id: "mine".into(), file: file.into(), base, ..ProviderAt::default() };
        let (capabilities, problems) =
            catalog.capabilities(&BTreeMap::from([("mine".to_owned(), at)]));
        let missing = capabilities.providers.get("mine").is_none_or(|one| one.base_missing);
        (problems.first().map(|problem| problem.message.clone()).unwrap_or_default(), missing)
    };
    assert_eq!(problem("acme", "api", "https://keys.example.com:8443/v1"), (String::new(), false));
    let (message, missing) = problem("acme", "api", "http://keys.example.com");
    assert!(message.contains("in the clear") && missing, "{message}");
    assert!(problem("acme", "api", "https://me@keys.example.com").0.contains("a user"));
    assert!(problem("acme", "api", "https://keys.example.com/?a=b").0.contains("behind its path"));
    assert!(problem("acne", "api", "https://keys.example.com").0.contains("no provider file"));
}

/// Native code that answers what the file does not write.
struct Native;

#[async_trait::async_trait]
impl crate::provider::Driver for Native {
    fn ways(&self, _kind: &str) -> BTreeMap<Verb, Vec<Way>> {
        let step = StepCapability { again: true, ..StepCapability::new(Actor::Old) };
        let way = Way::new(vec![step], Sure::Run);
        BTreeMap::from([
            (Verb::Probe, vec![way.clone()]),
            (Verb::Revoke, vec![way.clone()]),
            (Verb::Login, vec![way]),
        ])
    }

    fn tells_identity(&self, _kind: &str) -> bool {
        true
    }

    async fn call(
        &self,
        bases: &crate::provider::Bases,
        at: &At,
        _values: &Values,
        secrets: &Secrets,
    ) -> Reply {
        if at.verb == Verb::Login {
            let token = secrets["it"].parts.secret["secret"].duplicate();
            let mut brought = Parts::default();
            brought.secret.insert("token".into(), token);
            return Reply { answer: Answer::Took(Values::new()), brought: Some(brought) };
        }
        assert_eq!(bases["api"].as_str(), "redis://cache.example:6379");
        Answer::Done.into()
    }
}

/// A kind whose driver answers all but the evict, which its file writes.
const NATIVE: &str = r#"id = "store"
name = "Store"
docs = "none"
checked = "2026-11-21"
base = "inventory"
[kind.password]
driver = "native"
auth   = { bearer = "{{ token }}" }
generate = { length = 20, alphabet = "0123456789abcdef" }
[kind.password.evict]
post = "/evict"
as   = "old"
seen = "doc"
[kind.password.by_hand]
issue  = { at = "a", do = "b" }
revoke = { at = "a", do = "b" }
"#;

#[tokio::test]
async fn a_driver_answers_what_the_file_does_not_write() {
    let mut catalog = Catalog::default().with_driver("native", Arc::new(Native));
    catalog.add(NATIVE, "store.toml").unwrap_or_else(|errors| panic!("{errors:#?}"));
    let at = ProviderAt {
        id: "store".into(),
        base: BTreeMap::from([("api".to_owned(), "redis://cache.example:6379".to_owned())]),
        ..ProviderAt::default()
    };
    let clients = Arc::new(Clients::new().expect("a client"));
    let at = BTreeMap::from([("store".to_owned(), at)]);
    let resolved = catalog.resolve(&at, &clients, Arc::new(|| NOW_MS));
    assert_eq!(resolved.problems, []);
    let capability = &resolved.capabilities.providers["store"];
    assert_eq!(
        (capability.hosts.as_slice(), capability.base_missing),
        (&["cache.example:6379".to_owned()][..], false)
    );
    let kind = &capability.kinds["password"];
    assert_eq!(kind.level, "revoke, self");
    assert!(kind.tells_identity && kind.generates && !kind.verbs.contains_key(&Verb::Login));
    let provider = resolved.provider("store").expect("there");
    let call =
        |verb| At { provider: "store".into(), kind: "password".into(), verb, way: 0, step: 0 };
    let mut old = acting("password", &[], "s3cret-token");
    old.provider = "store".into();
    let secrets = Secrets::from([("old".to_owned(), old)]);
    let reply = provider.call(&call(Verb::Revoke), &Values::new(), &secrets).await;
    assert_eq!(reply.answer, Answer::Done);
    // The file's own call is HTTP: it does not go to an address that is none.
    let reply = provider.call(&call(Verb::Evict), &Values::new(), &secrets).await;
    assert_refused(reply, Reason::LeftBase);
    let reply = provider.call(&call(Verb::Issue), &Values::new(), &secrets).await;
    assert_eq!(reply.answer, Answer::Done, "the driver is asked; it knows what it cannot do");
    let chosen = provider.generate("password").expect("chosen");
    assert!(chosen.expose().len() == 20 && chosen.expose().iter().all(u8::is_ascii_hexdigit));
    let other = provider.generate("password").expect("chosen");
    assert!(!chosen.same(&other));
}

#[test]
fn a_url_lies_on_a_base_only_if_everything_up_to_the_path_is_the_same() {
    let on = |url: &str, base: &str| {
        let read = |text: &str| url::Url::parse(text).expect("an address");
        super::address::lies_on(&read(url), &read(base))
    };
    let base = "https://api.acme.example/v1";
    assert!(on("https://api.acme.example/keys?page=2", base));
    assert!(on("https://API.acme.example:443/v1", base));
    for url in [
        "https://api.acme.example.evil.example/v1",
        "https://evil.example/v1",
        "https://api.acme.example./v1",
        "https://api.acme.example:8443/v1",
        "http://api.acme.example/v1",
        "https://api@api.acme.example/v1",
        "https://:x@api.acme.example/v1",
    ] {
        assert!(!on(url, base), "{url}");
    }
    assert!(!on("http://keys.example.com/", "http://keys.example.com/"), "secrets in the clear");
}
