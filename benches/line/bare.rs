//! The bare loop: the same requests by the same clients, and nothing else. Nothing is planned,
//! written, sealed, proved or reported.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use reqwest::{Client, Method};
use rotate::provider::Clients;

use crate::line::{ADMIN, old_key};

/// As many as the engine has under way at once.
const UNDER_WAY: usize = 512;

/// What the line asks for each credential, in its order: look at the old one, revoke it, issue, use
/// the new one, and prove: the new one, the old one, and the new one again.
pub(crate) const REQUESTS: u64 = 7;

pub(crate) async fn run(count: usize, bases: &[String], clients: &Arc<Clients>) {
    let each = stream::iter(0..count).for_each_concurrent(UNDER_WAY, |number| {
        let (base, clients) = (&bases[number % bases.len()], Arc::clone(clients));
        async move {
            let (me, keys) = (format!("{base}/v1/me"), format!("{base}/v1/keys"));
            let (old, new) = (old_key(number), format!("acme_7{number:031}"));
            let current = format!("{keys}/current");
            ask(clients.probes(), Method::GET, &me, &old, None).await;
            ask(clients.calls(), Method::DELETE, &current, &old, None).await;
            let named = Some(r#"{"name":"bare"}"#);
            ask(clients.calls(), Method::POST, &keys, ADMIN, named).await;
            ask(clients.probes(), Method::GET, &me, &new, None).await;
            ask(clients.probes(), Method::GET, &me, &new, None).await;
            ask(clients.probes(), Method::GET, &me, &old, None).await;
            ask(clients.probes(), Method::GET, &me, &new, None).await;
        }
    });
    each.await;
}

async fn ask(client: &Client, method: Method, url: &str, secret: &str, body: Option<&'static str>) {
    let mut request = client.request(method, url).bearer_auth(secret);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await.expect("an answer");
    answer.bytes().await.expect("its body");
}
