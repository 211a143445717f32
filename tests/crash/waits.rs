//! A provider whose revoked keys are accepted again and again for longer than anybody waits: the
//! run leaves with what it knows, and `rotate verify` ends the proof from the journal. Scaled down:
//! seconds stand for minutes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::hosted::Hosted;
use crate::site::host;

/// For so long every second use of a revoked key is accepted, by the provider's own clock.
const FLAPS: Duration = Duration::from_secs(9);

const ADMIN: &str = "acmeadm_made-up";

#[derive(Default)]
struct Keys {
    /// Secret, and when it was revoked.
    all: Vec<(String, Option<Instant>)>,
    uses: usize,
}

type Shared = Arc<Mutex<Keys>>;

struct Flapping {
    address: String,
    keys: Shared,
}

impl Flapping {
    async fn start() -> Self {
        let keys = Shared::default();
        keys.lock().unwrap().all.push((secret(0), None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&keys));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, keys }
    }

    fn live(&self) -> usize {
        self.keys.lock().unwrap().all.iter().filter(|(_, revoked)| revoked.is_none()).count()
    }
}

fn secret(n: usize) -> String {
    format!("acme_{n:032}")
}

fn accepted(keys: &mut Keys, shown: &str) -> bool {
    let Some((_, revoked)) = keys.all.iter().find(|(secret, _)| secret == shown) else {
        return false;
    };
    let flaps = revoked.is_some_and(|at| at.elapsed() < FLAPS);
    if flaps {
        keys.uses += 1;
    }
    revoked.is_none() || (flaps && keys.uses % 2 == 0)
}

async fn answer(State(keys): State<Shared>, request: Request) -> Response {
    let said = |status: u16, body: Value| {
        (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
    };
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let shown = shown.unwrap_or_default().trim_start_matches("Bearer ").to_owned();
    let mut keys = keys.lock().unwrap();
    let (method, path) = (request.method().as_str(), request.uri().path());
    if shown != ADMIN && !accepted(&mut keys, &shown) {
        return said(401, json!({ "error": { "code": "invalid_key" } }));
    }
    match (method, path) {
        ("GET", "/v1/me") => said(200, json!({ "account": { "id": "a" }, "status": "active" })),
        ("DELETE", "/v1/keys/current") => {
            let key = keys.all.iter_mut().find(|(secret, _)| *secret == shown).unwrap();
            key.1.get_or_insert_with(Instant::now);
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET", "/v1/keys") => {
            let live = keys.all.iter().enumerate().filter(|(_, (_, revoked))| revoked.is_none());
            let row = |(n, _)| json!({ "id": format!("key_{n}"), "name": "mail" });
            let rows: Vec<Value> = live.map(row).collect();
            said(200, json!({ "data": rows, "has_more": false, "last_id": null }))
        }
        ("POST", "/v1/keys") => {
            let n = keys.all.len();
            keys.all.push((secret(n), None));
            said(201, json!({ "id": format!("key_{n}"), "secret": secret(n) }))
        }
        _ => said(404, json!({ "error": { "code": "not_found" } })),
    }
}

#[test]
fn one_that_flaps_for_longer_than_anybody_waits_is_dying_and_verified_later() {
    let provider = Hosted::start(Flapping::start());
    let entry = format!(
        r#"
[[role.mail-agent.credential]]
name     = "inbox"
provider = "acme"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#KEY"
admin    = "acme-admin"
reload   = "none"

[provider.acme]
base  = "{}"
proof = {{ refusals = 3, hold = "1s", give_up = "30s" }}

[admin.acme-admin]
provider = "acme"
kind     = "admin-key"
secret   = "file:DIR/admin.key"
"#,
        provider.address
    );
    let files = [("agent.env", format!("KEY={}\n", secret(0))), ("admin.key", ADMIN.to_owned())];
    let host = host(&entry, &files);

    let begun = Instant::now();
    let left = host.rotate(&["--role", "mail-agent", "--deliver", "--wait", "2s"]);
    assert!(begun.elapsed() < FLAPS, "it waited longer than it was told to");
    assert_eq!(left.code, Some(3), "{}\n{}", left.table(), left.stderr);
    assert_eq!(left.report["credentials"][0]["old"]["verdict"], "dying", "{}", left.table());
    // The place was filled and the old one is nobody's but the journal's.
    assert_eq!(host.value("agent.env", "KEY"), secret(1));
    assert_eq!(provider.live(), 1);

    let soon = host.rotate(&["verify", &left.run(), "--wait", "1s"]);
    assert_eq!(soon.code, Some(3), "not yet\n{}\n{}", soon.table(), soon.stderr);
    let verified = host.rotate(&["verify", &left.run()]);
    assert_eq!(verified.code, Some(0), "{}\n{}", verified.table(), verified.stderr);
    assert_eq!(verified.report["credentials"][0]["old"]["verdict"], "dead");
    assert!(begun.elapsed() > FLAPS, "no key was dead before");
    assert_eq!(provider.live(), 1);
}
