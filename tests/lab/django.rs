use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::server::{Server, piped};
use super::{cache, missing, source};

/// Django with its own sessions and with django-oauth-toolkit.
pub(crate) struct Django {
    /// `http://127.0.0.1:PORT`; what is below it stands in `tests/lab/django/urls.py`.
    pub(crate) address: String,
    /// Its SQLite file, where it was started with one.
    pub(crate) database: PathBuf,
    _server: Server,
    _folder: TempDir,
}

/// The users, applications and passwords that `tests/lab/django/serve.py` makes.
impl Django {
    /// The role's user; another one is `calendar`.
    pub(crate) const USER: &str = "mail";
    /// The role's OAuth client: password grant and refresh, its refresh tokens rotate.
    pub(crate) const CLIENT: &str = "mail-agent";
    /// A client with grants of its own: client credentials.
    pub(crate) const SERVICE: &str = "mail-service";
    /// Sees other clients' tokens, as a resource server would.
    pub(crate) const AUDITOR: &str = "auditor";

    /// The password of one of its users.
    pub(crate) fn password(user: &str) -> String {
        format!("{user}-made-up-password-of-the-lab")
    }

    /// The secret of one of its clients.
    pub(crate) fn client_secret(client: &str) -> String {
        format!("{client}-made-up-secret-of-the-lab")
    }

    /// Signs a user in, as a browser does, and gives the session as a `Cookie` header says it:
    /// `sessionid=VALUE`.
    pub(crate) async fn sign_in(&self, user: &str) -> String {
        self.sign_in_with(user, &Self::password(user)).await
    }

    /// The same with a password that is not the usual one.
    pub(crate) async fn sign_in_with(&self, user: &str, password: &str) -> String {
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let login = format!("{}/login", self.address);
        let page = http.get(&login).send().await.unwrap();
        let token = cookie(page.headers(), "csrftoken").unwrap();
        let form = [("username", user), ("password", password), ("csrfmiddlewaretoken", &token)];
        let answer =
            http.post(&login).header("cookie", format!("csrftoken={token}")).form(&form).send();
        let session = cookie(answer.await.unwrap().headers(), "sessionid");
        format!("sessionid={}", session.expect("signed in"))
    }

    /// Whether the site answers `/me` with a user for that `Cookie` header.
    pub(crate) async fn is_alive(&self, cookies: &str) -> bool {
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let me = http.get(format!("{}/me", self.address)).header("cookie", cookies);
        me.send().await.unwrap().status() == 200
    }
}

/// What an answer sets a cookie to.
pub(super) fn cookie(headers: &reqwest::header::HeaderMap, name: &str) -> Option<String> {
    let set = headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let mut pairs = set.filter_map(|set| set.trim().split(';').next()?.split_once('='));
    pairs.find(|(set, _)| *set == name).map(|(_, value)| value.to_owned())
}

/// Starts it over an SQLite file of its own.
pub(crate) fn django() -> Option<Django> {
    django_over(None)
}

/// Starts it over another database: an empty one at a `postgresql://` or `mysql://` address with
/// user and password; none for an SQLite file.
pub(crate) fn django_over(database: Option<&str>) -> Option<Django> {
    let python = cache().join("python/bin/python");
    let pythons = fs::read_dir(cache().join("python/lib")).into_iter().flatten().flatten();
    if !pythons.into_iter().any(|it| it.path().join("site-packages/django").is_dir()) {
        missing("Django");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.sqlite3");
    let mut command = Command::new(python);
    command.current_dir(source("tests/lab/django")).arg("serve.py");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    match database {
        Some(address) => command.env("LAB_DATABASE", address),
        None => command.env("LAB_DATABASE", &file),
    };
    let (server, address) = piped("Django", command);
    Some(Django { address, database: file, _server: server, _folder: folder })
}
