use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::server::{START, Server};
use super::{cache, missing, source};

/// node-oidc-provider, a certified OAuth and OpenID Connect server.
pub(crate) struct Oidc {
    /// `http://127.0.0.1:PORT`; the metadata is below it.
    pub(crate) issuer: String,
    _server: Server,
}

/// The clients and the initial access token that `tests/lab/oidc/server.mjs` knows.
impl Oidc {
    /// The role's client: client credentials, refresh, device flow.
    pub(crate) const CLIENT: &str = "mail-agent";
    /// The same as a desktop application: code with PKCE, redirected to loopback.
    pub(crate) const DESK: &str = "mail-desk";
    /// Sees other clients' tokens, as a resource server would.
    pub(crate) const AUDITOR: &str = "auditor";
    /// Registers new clients (RFC 7591).
    pub(crate) const INITIAL_ACCESS_TOKEN: &str = "made-up-initial-access-token";

    /// The secret of one of its clients.
    pub(crate) fn client_secret(client: &str) -> String {
        format!("{client}-made-up-secret-of-the-lab")
    }
}

/// Starts it; it chooses its own port.
pub(crate) fn oidc() -> Option<Oidc> {
    let packages = cache().join("npm/oidc/node_modules");
    if !packages.is_dir() {
        missing("oidc-provider");
        return None;
    }
    let mut child = Command::new("node")
        .arg(source("tests/lab/oidc/server.mjs"))
        .arg(packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("node cannot be started: {error}"));
    let output = child.stdout.take().unwrap();
    // From here on a panic ends it: its standard input closes.
    let server = Server { child, port: 0 };
    let (said, ready) = mpsc::channel();
    // Reads on to the end, so that the server never writes into a full or closed pipe.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(issuer) = line.strip_prefix("ready ") {
                let _ = said.send(issuer.to_owned());
            }
        }
    });
    let issuer = ready
        .recv_timeout(START)
        .unwrap_or_else(|_| panic!("oidc-provider is not ready after {START:?}"));
    Some(Oidc { issuer, _server: server })
}
