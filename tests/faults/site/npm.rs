//! A token of a registry's list, at Verdaccio.

use std::sync::Mutex;

use super::{Cell, FIND, ISSUE, Minted, PROBE, REVOKE, Site, host, proof, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Verdaccio};
use crate::message::Speaks;
use crate::role::{ENV, ROLE};

/// It writes its file of accounts once at a time, and refuses whoever comes meanwhile.
struct Npm(Verdaccio, Mutex<()>);

const PASSWORD: &str = "made-up-password-of-the-lab";

pub(super) fn start() -> Option<impl Site> {
    lab::verdaccio().map(|verdaccio| Npm(verdaccio, Mutex::default()))
}

fn verb_of(said: &str) -> &'static str {
    let says = |words: &str| said.starts_with(words);
    match () {
        () if says("PUT /-/user/") => "login",
        () if says("GET /-/whoami") => PROBE,
        () if says("GET /-/npm/v1/tokens") => FIND,
        () if says("POST /-/npm/v1/tokens") => ISSUE,
        () if says("DELETE /-/npm/v1/tokens") => REVOKE,
        () => "other",
    }
}

impl Site for Npm {
    fn name(&self) -> &'static str {
        "Verdaccio"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[
            ("login", Speaks::Http),
            (PROBE, Speaks::Http),
            (FIND, Speaks::Http),
            (REVOKE, Speaks::Http),
            (ISSUE, Speaks::Http),
        ]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &["login", FIND, REVOKE]
    }

    fn open(&self, number: usize, blow: Option<Blow>) -> Cell {
        let user = format!("mail{number}");
        let (login, (old, key)) = {
            let _alone = self.1.lock().unwrap();
            let login = ask(self.0.account(&user, PASSWORD));
            let token = ask(self.0.token(&login, PASSWORD));
            (login, token)
        };
        let (proxy, address) = through(&self.0.base, Speaks::Http, verb_of, blow);
        let host = host();
        host.put(ENV, &format!("NPM_TOKEN={old}\n"));
        host.put("account.env", &format!("NAME={user}\nPASSWORD={PASSWORD}\n"));
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "packages"
provider = "npm"
kind     = "api-key"
secret   = "dotenv:DIR/agent.env#NPM_TOKEN"
reload   = "none"
admin    = "registry-account"

[provider.npm]
base  = "{address}"
proof = {}

[admin.registry-account]
provider = "npm"
kind     = "account"
secret   = {{ username = "dotenv:DIR/account.env#NAME", secret = "dotenv:DIR/account.env#PASSWORD" }}
"#,
            proof(blow)
        ));
        Cell { host, proxies: vec![proxy], account: login, old, old_name: key }
    }

    fn accepts(&self, _: &Cell, value: &str) -> bool {
        ask(self.0.is_alive(value))
    }

    fn placed(&self, cell: &Cell) -> String {
        cell.host.value(ENV, "NPM_TOKEN")
    }
    fn mint(&self, cell: &Cell, _: &str) -> Option<Minted> {
        let (value, name) = ask(self.0.token(&cell.account, PASSWORD));
        Some(Minted { name, value })
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        ask(self.0.listed(&cell.account))
    }
}
