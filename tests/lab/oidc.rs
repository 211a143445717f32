use std::process::Command;

use super::server::{Server, piped};
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
    let mut command = Command::new("node");
    command.arg(source("tests/lab/oidc/server.mjs")).arg(packages);
    let (server, issuer) = piped("oidc-provider", command);
    Some(Oidc { issuer, _server: server })
}
