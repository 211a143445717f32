use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Server, answers};
use super::{cache, missing};

/// Verdaccio, a package registry, with its token API on.
pub(crate) struct Verdaccio {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    _server: Server,
    _folder: TempDir,
}

/// No package lies in it and none is fetched. Each use of a token checks the password in it: at the
/// usual ten rounds of bcrypt that is a tenth of a second, and nothing here is worth it.
const CONFIG: &str = "storage: ./storage
auth:
  htpasswd:
    file: ./htpasswd
    algorithm: bcrypt
    rounds: 4
secret: made-up-secret-of-the-lab-32char
flags:
  tokenApi: true
uplinks: {}
packages:
  '**':
    access: $authenticated
log: { type: stdout, level: fatal }
";

/// Starts it on a free port.
pub(crate) fn verdaccio() -> Option<Verdaccio> {
    let program = cache().join("npm/verdaccio/node_modules/verdaccio/bin/verdaccio");
    if !program.is_file() {
        missing("verdaccio");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    fs::write(&config, CONFIG).unwrap();
    let server = Server::start(
        "verdaccio",
        |port| {
            let mut command = Command::new("node");
            command.arg(&program).arg("--config").arg(&config);
            command.args(["--listen", &format!("http://127.0.0.1:{port}")]);
            command.current_dir(&folder);
            command
        },
        |port| answers(port, "/-/ping"),
    );
    let base = format!("http://127.0.0.1:{}", server.port);
    Some(Verdaccio { base, _server: server, _folder: folder })
}

impl Verdaccio {
    /// A new account; what `npm login` would leave behind.
    pub(crate) async fn account(&self, name: &str, password: &str) -> String {
        let body = json!({ "name": name, "password": password });
        let at = format!("{}/-/user/org.couchdb.user:{name}", self.base);
        let answer = http().put(at).json(&body).send().await.unwrap();
        token(&answer.json().await.unwrap())
    }

    /// A new token of the list, and its key.
    pub(crate) async fn token(&self, login: &str, password: &str) -> (String, String) {
        let body = json!({ "password": password, "readonly": false, "cidr_whitelist": [] });
        let at = format!("{}/-/npm/v1/tokens", self.base);
        let answer = http().post(at).bearer_auth(login).json(&body).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        (token(&body), body["key"].as_str().unwrap().to_owned())
    }

    /// Gives an account another password.
    pub(crate) async fn change_password(&self, login: &str, old: &str, new: &str) {
        let body = json!({ "password": { "old": old, "new": new } });
        let at = format!("{}/-/npm/v1/user", self.base);
        let answer = http().post(at).bearer_auth(login).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// What it answers to whoever shows this token.
    pub(crate) async fn whoami(&self, token: &str) -> (u16, Value) {
        let at = format!("{}/-/whoami", self.base);
        let answer = http().get(at).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Whether it knows who shows this token.
    pub(crate) async fn is_alive(&self, token: &str) -> bool {
        self.whoami(token).await.1["username"].is_string()
    }

    /// Keys of what its list shows.
    pub(crate) async fn listed(&self, login: &str) -> Vec<String> {
        let at = format!("{}/-/npm/v1/tokens", self.base);
        let answer = http().get(at).bearer_auth(login).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let key = |row: &Value| row["key"].as_str().unwrap().to_owned();
        body["objects"].as_array().unwrap().iter().map(key).collect()
    }
}

fn http() -> reqwest::Client {
    rotate::provider::Clients::new().unwrap().calls().clone()
}

fn token(body: &Value) -> String {
    body["token"].as_str().unwrap().to_owned()
}
