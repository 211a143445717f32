//! A client's token, at a certified OAuth server. It lists nothing: what was made and lost has no
//! name.

use super::{Cell, ISSUE, PROBE, REVOKE, Site, host, json, proof, text, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Oidc};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};

struct Issuer(Oidc);

pub(super) fn start() -> Option<impl Site> {
    lab::oidc().map(Issuer)
}

fn verb_of(said: &str) -> &'static str {
    let path = said.lines().next().unwrap_or_default();
    match path {
        "POST /token" => ISSUE,
        "POST /token/introspection" => PROBE,
        "POST /token/revocation" => REVOKE,
        _ if path.starts_with("GET /.well-known/") => "learn",
        _ => "other",
    }
}

impl Issuer {
    fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let request = http.post(format!("{}{path}", self.0.issuer)).form(form);
        let request = request.basic_auth(client, Some(Oidc::client_secret(client)));
        ask(async { request.send().await.unwrap().json().await.unwrap() })
    }
}

impl Site for Issuer {
    fn name(&self) -> &'static str {
        "oidc-provider"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            ("learn", Speaks::Http),
            (PROBE, Speaks::Http),
            (REVOKE, Speaks::Http),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &["learn", REVOKE]
    }

    fn lists(&self) -> bool {
        false
    }

    fn open(&self, _: usize, blow: Option<Blow>) -> Cell {
        let form = [("grant_type", "client_credentials")];
        let old = text(&self.post("/token", Oidc::CLIENT, &form)["access_token"]).unwrap();
        let (proxy, address) = through(&self.0.issuer, Speaks::Http, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("INBOX_TOKEN={old}\n"));
        let secret = Oidc::client_secret(Oidc::CLIENT);
        host.put("mail-app.env", &format!("ID={}\nSECRET={secret}\n", Oidc::CLIENT));
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "inbox"
provider = "oauth"
kind     = "client-token"
secret   = "dotenv:DIR/agent.env#INBOX_TOKEN"
client   = "mail-app"
reload   = "none"

[provider.oauth]
base  = "{address}"
proof = {}

[admin.mail-app]
provider = "oauth"
kind     = "client"
secret   = {{ client_id = "dotenv:DIR/mail-app.env#ID", secret = "dotenv:DIR/mail-app.env#SECRET" }}
"#,
            proof(blow)
        ));
        Cell { host, proxies: vec![proxy], account: String::new(), old, old_name: String::new() }
    }

    fn accepts(&self, _: &Cell, value: &str) -> bool {
        let seen = self.post("/token/introspection", Oidc::AUDITOR, &[("token", value)]);
        seen["active"].as_bool().unwrap()
    }

    fn placed(&self, cell: &Cell) -> String {
        cell.host.value(ENV, "INBOX_TOKEN")
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let placed = self.placed(cell);
        let made = cell.answered(ISSUE, |answer| text(&json(answer)["access_token"]));
        let beside = made.into_iter().filter(|token| *token != placed && self.accepts(cell, token));
        beside.map(|_| "a token without a name".to_owned()).collect()
    }
}
