//! Real servers on loopback, each with a port of its own, ended by their own process id.
//!
//! What they need is fetched by `tests/run` into `tests/.cache`. A test begins
//! `let Some(redis) = lab::redis(...) else { return };`: where the server is not there the test
//! says so, and fails if `CI=true`.
//!
//! `fake_*` are servers of our own that keep state like the vendor's and refuse what the vendor's
//! published description refuses; they must be started inside a tokio runtime.
#![expect(dead_code, unused_imports, reason = "each test binary uses the servers it needs")]
#![expect(clippy::result_large_err, reason = "what a fake refuses with is a whole answer")]

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};

mod django;
mod express;
mod fake;
mod fake_anthropic;
mod fake_cloudflare;
mod fake_github;
mod fake_gitlab;
mod fake_google_unchecked;
mod fake_grace;
mod fake_openai;
mod fake_openrouter;
mod fake_registry_unchecked;
mod fake_slack;
mod mariadb;
mod moto;
mod oidc;
mod port;
mod postgres;
mod redis;
mod server;
mod verdaccio;
mod wire;
mod wordpress;

pub(crate) use django::{Django, django, django_over};
pub(crate) use express::{Express, express};
pub(crate) use fake::{Manners, Seen};
pub(crate) use fake_anthropic::{AnthropicKey, FakeAnthropic};
pub(crate) use fake_cloudflare::{CloudflareToken, FakeCloudflare};
pub(crate) use fake_github::{FakeGithub, Prefix};
pub(crate) use fake_gitlab::FakeGitlab;
pub(crate) use fake_google_unchecked::FakeGoogle;
pub(crate) use fake_grace::{FakeGrace, Grace};
pub(crate) use fake_openai::{FakeOpenAi, OpenAiKey};
pub(crate) use fake_openrouter::{FakeOpenRouter, OpenRouterKey};
pub(crate) use fake_registry_unchecked::FakeRegistry;
pub(crate) use fake_slack::FakeSlack;
pub(crate) use mariadb::{Mariadb, mariadb};
pub(crate) use moto::{AwsKey, Moto, moto};
pub(crate) use oidc::{Oidc, oidc};
pub(crate) use postgres::{Postgres, postgres};
pub(crate) use redis::{Connection, Redis, Value, redis};
pub(crate) use verdaccio::{Verdaccio, verdaccio};
pub(crate) use wire::Wire;
pub(crate) use wordpress::{Wordpress, wordpress};

/// Says that a server is not there; with `CI=true` that is a failure.
pub(crate) fn missing(what: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{what} is missing: run tests/run");
    // Not `eprintln!`, which the harness keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {what} is missing: run tests/run");
}

fn cache() -> PathBuf {
    source("tests/.cache")
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
