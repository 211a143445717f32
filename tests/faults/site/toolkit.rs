//! A grant whose refresh tokens rotate, at django-oauth-toolkit: whoever shows a spent one ends its
//! family, so a roll whose answer was lost must never be sent again.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Cell, ISSUE, PROBE, REVOKE, Site, host, proof, text, through};
use crate::fault::Blow;
use crate::hosted::ask;
use crate::lab::{self, Django};
use crate::message::Speaks;
use crate::role::ROLE;

struct Toolkit(Django);

pub(super) fn start() -> Option<impl Site> {
    lab::django().map(Toolkit)
}

fn verb_of(said: &str) -> &'static str {
    match said.lines().next().unwrap_or_default() {
        "POST /o/token/" => ISSUE,
        "POST /o/introspect/" => PROBE,
        "POST /o/revoke_token/" => REVOKE,
        _ => "other",
    }
}

impl Toolkit {
    /// A user's grant to the role's client.
    fn granted(&self) -> Value {
        let password = Django::password(Django::USER);
        let form = [
            ("grant_type", "password"),
            ("username", Django::USER),
            ("password", &password),
            ("scope", "read"),
        ];
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let request = http.post(format!("{}/o/token/", self.0.address)).form(&form);
        let request =
            request.basic_auth(Django::CLIENT, Some(Django::client_secret(Django::CLIENT)));
        ask(async { request.send().await.unwrap().json().await.unwrap() })
    }
}

impl Site for Toolkit {
    fn name(&self) -> &'static str {
        "django-oauth-toolkit"
    }

    fn verbs(&self) -> &'static [(&'static str, Speaks)] {
        &[(PROBE, Speaks::Http), (ISSUE, Speaks::Http), (REVOKE, Speaks::Http)]
    }

    fn kill_needs(&self) -> &'static [&'static str] {
        &[ISSUE, REVOKE]
    }

    fn lists(&self) -> bool {
        false
    }

    fn open(&self, _: usize, blow: Option<Blow>) -> Cell {
        let granted = self.granted();
        let old = text(&granted["refresh_token"]).unwrap();
        let (proxy, address) = through(&self.0.address, Speaks::Http, verb_of, blow);
        let host = host();
        let places = json!({ "refresh": old, "access": granted["access_token"] });
        host.put("token.json", &places.to_string());
        let secret = Django::client_secret(Django::CLIENT);
        host.put("mail-app.env", &format!("ID={}\nSECRET={secret}\n", Django::CLIENT));
        host.inventory(&format!(
            r#"{ROLE}
[[role.mail-agent.credential]]
name     = "calendar"
provider = "oauth"
kind     = "rotating-grant"
vars     = {{ token_path = "/o/token/", revocation_path = "/o/revoke_token/", introspection_path = "/o/introspect/", introspected = "access" }}
secret   = {{ secret = "json:DIR/token.json#/refresh", access = "json:DIR/token.json#/access" }}
client   = "mail-app"
reload   = "none"

[provider.oauth]
base  = "{address}/o"
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

    /// Read in its table, for a look at the server itself would spend it.
    fn accepts(&self, _: &Cell, value: &str) -> bool {
        let table = Connection::open(&self.0.database).unwrap();
        let count = "SELECT count(*) FROM oauth2_provider_refreshtoken \
                     WHERE token = ?1 AND revoked IS NULL";
        let live: i64 = table.query_row(count, [value], |row| row.get(0)).unwrap();
        live > 0
    }

    fn placed(&self, cell: &Cell) -> String {
        let places: Value = serde_json::from_str(&cell.host.read("token.json")).unwrap();
        text(&places["refresh"]).unwrap()
    }

    fn live(&self, cell: &Cell) -> Vec<String> {
        let placed = self.placed(cell);
        let made = cell.answered(ISSUE, |answer| text(&super::json(answer)["refresh_token"]));
        let beside = made.into_iter().filter(|token| *token != placed && self.accepts(cell, token));
        beside.map(|_| "a token without a name".to_owned()).collect()
    }

    fn shows_the_spent(&self) -> bool {
        true
    }
}
