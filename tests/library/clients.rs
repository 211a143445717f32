//! A caller's own recipe for HTTP clients, under our rules.

use std::net::Ipv4Addr;
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Proxy};
use rotate::drive::Nobody;
use rotate::provider::Clients;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::issuer::Issuer;
use crate::line::Line;

/// A proxy that passes everything to one address, and the first line of each connection.
async fn proxy(to: &str) -> (String, UnboundedReceiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (say, said) = unbounded_channel();
    let to = to.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (say, to) = (say.clone(), to.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let mut first = vec![0; 4096];
                let read = client.read(&mut first).await.unwrap();
                let text = String::from_utf8_lossy(&first[..read]).into_owned();
                say.send(text.lines().next().unwrap_or_default().to_owned()).unwrap();
                server.write_all(&first[..read]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, said)
}

fn clients(recipe: impl Fn(ClientBuilder) -> ClientBuilder) -> Arc<Clients> {
    Arc::new(Clients::from_recipe(recipe).unwrap())
}

#[tokio::test]
async fn everything_goes_through_the_callers_proxy() {
    let (issuer, base) = Issuer::start().await;
    let (address, mut said) = proxy(&base).await;
    let mut line = Line::with_keys(&issuer, &base, 1);
    // A host that only the proxy can reach.
    line.text = line.text.replace(&base, "http://localhost:9");
    line.clients = clients(|builder| builder.proxy(Proxy::all(&address).unwrap()));
    let report = line.contain(Nobody).await.close().unwrap();
    assert_eq!(report.summary.dead, 1, "{report:#?}");
    let first = said.recv().await.unwrap();
    assert!(first.starts_with("GET http://localhost:9/v1/"), "{first}");
}

/// A recipe that asks for what a revoker must never do gets a client that does not.
#[tokio::test]
async fn no_recipe_undoes_the_rules() {
    let (elsewhere, target) = Issuer::start().await;
    let (issuer, base) = Issuer::start().await;
    issuer.redirect(&format!("{target}/v1/me"));
    let mut line = Line::with_keys(&issuer, &base, 1);
    line.clients = clients(|_| {
        reqwest::Client::builder()
            .redirect(Policy::limited(10))
            .cookie_store(true)
            .retry(reqwest::retry::for_host("127.0.0.1").classify_fn(|request| request.retryable()))
    });
    let report = line.contain(Nobody).await.close().unwrap();
    assert!(issuer.heard("GET /v1/me") > 0);
    assert_eq!(elsewhere.heard("GET /v1/me"), 0, "a redirect was followed");
    assert_eq!(report.summary.dead, 0);
    // It was revoked all the same, once.
    assert_eq!(issuer.heard("DELETE /v1/keys/current"), 1);
}

#[tokio::test]
async fn the_two_pools_are_two() {
    let (_issuer, base) = Issuer::start().await;
    let (address, mut said) = proxy(&base).await;
    let clients = clients(|builder| builder.proxy(Proxy::all(&address).unwrap()));
    for client in [clients.calls(), clients.probes()] {
        for _ in 0..2 {
            client.get(format!("{base}/v1/me")).send().await.unwrap().bytes().await.unwrap();
        }
    }
    drop(clients);
    assert!(said.try_recv().is_ok() && said.try_recv().is_ok());
    assert!(said.try_recv().is_err(), "a connection was not kept, or was shared");
}
