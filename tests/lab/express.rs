use std::process::Command;

use super::django::cookie;
use super::redis::Redis;
use super::server::{Server, piped};
use super::{cache, missing, source};

/// A web application with express-session, its sessions in a Redis of the test's.
pub(crate) struct Express {
    /// `http://127.0.0.1:PORT`; what is below it stands in `tests/lab/express/server.mjs`.
    pub(crate) address: String,
    _server: Server,
}

impl Express {
    /// The password of one of its users; every name is a user.
    pub(crate) fn password(user: &str) -> String {
        format!("{user}-made-up-password-of-the-lab")
    }

    /// Signs a user in: the values of the session cookie `connect.sid` and, if asked for, of the
    /// remember-me cookie `remember`.
    pub(crate) async fn sign_in(&self, user: &str, remember: bool) -> (String, Option<String>) {
        let mut form = vec![("username", user.to_owned()), ("password", Self::password(user))];
        if remember {
            form.push(("remember", "1".to_owned()));
        }
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let answer = http.post(format!("{}/login", self.address)).form(&form).send();
        let headers = answer.await.unwrap().headers().clone();
        let session = cookie(&headers, "connect.sid").expect("signed in");
        (session, cookie(&headers, "remember"))
    }

    /// Whether the site answers `/me` with a user for a cookie of that name. One that is
    /// remembered is signed in by the question.
    pub(crate) async fn is_alive(&self, name: &str, value: &str) -> bool {
        let http = rotate::provider::Clients::new().unwrap().calls().clone();
        let me =
            http.get(format!("{}/me", self.address)).header("cookie", format!("{name}={value}"));
        me.send().await.unwrap().status() == 200
    }
}

/// Starts it over a Redis whose user `site` has that password.
pub(crate) fn express(redis: &Redis, password: &str) -> Option<Express> {
    let packages = cache().join("npm/express/node_modules");
    if !packages.is_dir() {
        missing("express");
        return None;
    }
    let store = redis.address.replace("redis://", &format!("redis://site:{password}@"));
    let mut command = Command::new("node");
    command.arg(source("tests/lab/express/server.mjs")).arg(packages).arg(store);
    let (server, address) = piped("express", command);
    Some(Express { address, _server: server })
}
