use std::process::Command;

use serde_json::Value;

use super::server::{Server, answers};
use super::{cache, missing, source};

/// An AWS access key.
pub(crate) struct AwsKey {
    /// `AKIA...`
    pub(crate) id: String,
    /// Its secret.
    pub(crate) secret: String,
    /// The token of a session's key.
    pub(crate) session: Option<String>,
}

/// An AWS-like server with signatures and policies checked.
pub(crate) struct Moto {
    /// For `AWS_ENDPOINT_URL`.
    pub(crate) endpoint: String,
    /// A key of the user `admin`, who may do everything.
    pub(crate) admin: AwsKey,
    _server: Server,
}

/// Starts moto. As it is, it answers 200 to `UpdateAccessKey Inactive` and goes on accepting the
/// key; `patched`, an inactive key is refused, as by AWS.
pub(crate) fn moto(patched: bool) -> Option<Moto> {
    let python = cache().join("python/bin/python");
    if !python.exists() {
        missing("moto");
        return None;
    }
    let server = Server::start(
        "moto",
        |port| {
            let mut command = Command::new(&python);
            if patched {
                command.arg(source("tests/lab/moto_patched.py"));
            } else {
                command.args(["-m", "moto.server"]);
            }
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            // What `bootstrap` asks: after that, every request must be signed and allowed.
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", "3");
            command
        },
        |port| answers(port, "/moto-api/"),
    );
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let nobody = AwsKey { id: "nobody".into(), secret: "nothing".into(), session: None };
    let admin = AwsKey::from(ask(&endpoint, &nobody, &["bootstrap"]));
    Some(Moto { endpoint, admin, _server: server })
}

impl Moto {
    /// What `tests/lab/aws.py` says, asked with that key.
    pub(crate) fn ask(&self, key: &AwsKey, command: &[&str]) -> Value {
        ask(&self.endpoint, key, command)
    }

    /// A new user, who may do nothing, with one key.
    pub(crate) fn user(&self, name: &str) -> AwsKey {
        self.ask(&self.admin, &["create-user", name]);
        self.key(name)
    }

    /// What a user may do from now on, and nothing else.
    pub(crate) fn allow(&self, user: &str, actions: &[&str]) {
        let command: Vec<&str> =
            ["allow", user].into_iter().chain(actions.iter().copied()).collect();
        assert!(self.ask(&self.admin, &command).is_null());
    }

    /// One more key of a user.
    pub(crate) fn key(&self, user: &str) -> AwsKey {
        AwsKey::from(self.ask(&self.admin, &["create-key", user]))
    }

    /// Key ids of a user, and whether AWS would call each `Active`.
    pub(crate) fn keys(&self, user: &str) -> Vec<(String, String)> {
        let keys = self.ask(&self.admin, &["list-keys", user]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        keys.as_array()
            .unwrap_or_else(|| panic!("no list of keys: {keys}"))
            .iter()
            .map(|key| (text(&key["id"]), text(&key["status"])))
            .collect()
    }

    /// Whether the key is accepted by `GetCallerIdentity`, which needs no permission.
    pub(crate) fn is_alive(&self, key: &AwsKey) -> bool {
        self.ask(key, &["whoami"]).is_string()
    }
}

impl From<Value> for AwsKey {
    fn from(answer: Value) -> Self {
        let part = |name: &str| answer[name].as_str().map(str::to_owned);
        let (Some(id), Some(secret)) = (part("id"), part("secret")) else {
            panic!("no key was made: {:?}", answer["refused"]);
        };
        Self { id, secret, session: part("session") }
    }
}

fn ask(endpoint: &str, key: &AwsKey, command: &[&str]) -> Value {
    let mut python = Command::new(cache().join("python/bin/python"));
    python.arg(source("tests/lab/aws.py")).args(command);
    // Nothing of the person's own configuration.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            python.env_remove(name);
        }
    }
    python
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", &key.id)
        .env("AWS_SECRET_ACCESS_KEY", &key.secret)
        .env("NO_PROXY", "127.0.0.1");
    if let Some(session) = &key.session {
        python.env("AWS_SESSION_TOKEN", session);
    }
    let output = python.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
