//! Deploy keys.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rotate::engine::call::{Answer, Reason, Row, Verb};
use serde_json::{Value, json};

use crate::bench::{Bench, acting, at, named, refused};
use crate::lab::Prefix;

const REPOSITORY: &str = "octo/mail";

/// A key file in OpenSSH's form around a made-up public half, and that half as GitHub lists it.
fn pair(name: &str) -> (String, String) {
    let string =
        |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let public = [string(b"ssh-ed25519"), string(name.as_bytes())].concat();
    let blob = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        1u32.to_be_bytes().to_vec(),
        string(&public),
        string(b"the private half"),
    ];
    let private = format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
        BASE64_STANDARD.encode(blob.concat())
    );
    (private, format!("ssh-ed25519 {}", BASE64_STANDARD.encode(public)))
}

async fn list(bench: &Bench, admin: &str, private: &str) -> Answer {
    let parties =
        named([("admin", acting("classic-token", admin)), ("old", acting("deploy-key", private))]);
    bench.call(at("deploy-key", Verb::Find, 0), values(None), parties).await
}

async fn delete(bench: &Bench, admin: &str, handle: &str) -> Answer {
    let parties = named([("admin", acting("classic-token", admin))]);
    bench.revoke_with("deploy-key", 0, values(Some(handle)), parties).await
}

fn values(handle: Option<&str>) -> Value {
    match handle {
        Some(handle) => json!({ "repository": REPOSITORY, "handle": handle }),
        None => json!({ "repository": REPOSITORY }),
    }
}

#[tokio::test]
async fn fake_the_row_of_a_key_is_known_by_the_public_half_in_its_file() {
    let bench = Bench::start().await;
    let admin = bench.fake.token(Prefix::Ghp, 1);
    let ((private, public), (_, other)) = (pair("mail"), pair("other"));
    let handle = bench.fake.deploy_key(REPOSITORY, "mail", &public);
    let second = bench.fake.deploy_key(REPOSITORY, &format!("named {admin}"), &other);
    bench.fake.deploy_key("octo/else", "elsewhere", &public);
    let row = |handle: &str, label: Option<&str>, hinted| Row {
        handle: handle.to_owned(),
        label: label.map(str::to_owned),
        created: Some("2026-01-02T03:04:05Z".to_owned()),
        scopes: Some("read".to_owned()),
        hinted,
        ..Row::default()
    };
    let rows = vec![row(&handle, Some("mail"), true), row(&second, None, false)];
    assert_eq!(list(&bench, &admin, &private).await, Answer::Found { rows, complete: true });
    assert_eq!(bench.outside(), Vec::<String>::new());
}

#[tokio::test]
async fn fake_a_key_that_is_gone_is_told_from_one_that_may_not_be_seen() {
    let bench = Bench::start().await;
    let admin = bench.fake.token(Prefix::Ghp, 1);
    let stranger = bench.fake.token(Prefix::Gho, 2);
    let handle = bench.fake.deploy_key(REPOSITORY, "mail", &pair("mail").1);
    let other = bench.fake.deploy_key(REPOSITORY, "other", &pair("other").1);
    let answer = delete(&bench, &stranger, &handle).await;
    assert_eq!(refused(&answer), (Reason::Refused, Some(404)));
    assert_eq!(bench.fake.deploy_keys(), ["mail", "other"]);
    assert_eq!(delete(&bench, &admin, &handle).await, Answer::Done);
    assert_eq!(bench.fake.deploy_keys(), ["other"]);
    assert_eq!(delete(&bench, &admin, &handle).await, Answer::Gone);
    bench.fake.revoke(&admin);
    let answer = delete(&bench, &admin, &other).await;
    assert_eq!(refused(&answer), (Reason::ActorRefused, Some(401)));
}
