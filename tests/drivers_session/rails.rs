//! The table of activerecord-session_store, as Rails lays it out, in each database. No Rails runs
//! here: what is looked at is the row.

use mysql_async::prelude::Queryable as _;
use rotate::engine::call::Answer;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::bench::{BY_STORE, Bench};
use crate::lab::{self, Django, Mariadb, Postgres};

const OLD: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// Rack 2.0.8's private id.
fn private(cookie: &str) -> String {
    let digest: String = Sha256::digest(cookie).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("2::{digest}")
}

fn bench(site: &Django) -> Bench {
    let vars = json!({
        "cookie": "_shop_session", "page": "/me", "who_at": "/user", "stored_as": "rails",
        "table": "sessions", "column": "session_id", "user_column": "user_id", "user": "17",
    });
    Bench::new("session-cookie", &site.address, &vars)
}

const TABLE: &str = "CREATE TABLE sessions (id integer PRIMARY KEY, \
                     session_id varchar(255) NOT NULL, data text, user_id integer)";

fn rows() -> [String; 3] {
    let insert = |id: u32, session: &str, user: u32| {
        format!("INSERT INTO sessions VALUES ({id}, '{session}', 'BAh7', {user})")
    };
    // One as stores from before keep it, one of somebody else.
    [insert(1, &private(OLD), 17), insert(2, OTHER, 17), insert(3, &private("another"), 18)]
}

async fn found_and_deleted(bench: &Bench) {
    let before = bench.rows(OLD).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!(before.iter().filter(|row| row.hinted).count(), 1);
    assert_eq!(bench.revoke(BY_STORE, OLD).await, Answer::Done);
    assert_eq!(bench.revoke(BY_STORE, OTHER).await, Answer::Done);
    assert_eq!(bench.rows(OLD).await, []);
}

#[tokio::test]
async fn a_row_in_sqlite() {
    let Some(site) = lab::django() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let database = rusqlite::Connection::open(file.path()).unwrap();
    database.execute_batch(TABLE).unwrap();
    for row in rows() {
        database.execute(&row, []).unwrap();
    }
    let store = format!("sqlite://localhost{}", file.path().display());
    found_and_deleted(&bench(&site).with_store(&store, "", "")).await;
    let left: Result<String, _> =
        database.query_row("SELECT group_concat(id) FROM sessions", [], |row| row.get(0));
    assert_eq!(left.as_deref(), Ok("3"));
}

#[tokio::test]
async fn a_row_in_postgresql() {
    let (Some(site), Some(postgres)) = (lab::django(), lab::postgres()) else { return };
    let client = postgres.connect().await;
    client.batch_execute(&format!("{TABLE};{}", rows().join(";"))).await.unwrap();
    let bench = bench(&site).with_store(&postgres.address, "postgres", Postgres::PASSWORD);
    found_and_deleted(&bench).await;
    let left = client.query_one("SELECT string_agg(id::text, ',') FROM sessions", &[]).await;
    assert_eq!(left.unwrap().get::<_, &str>(0), "3");
}

#[tokio::test]
async fn a_row_in_mariadb() {
    let (Some(site), Some(mariadb)) = (lab::django(), lab::mariadb()) else { return };
    let mut client = mariadb.connect().await;
    client.query_drop(TABLE).await.unwrap();
    for row in rows() {
        client.query_drop(row).await.unwrap();
    }
    let bench = bench(&site).with_store(&mariadb.address, "site", Mariadb::PASSWORD);
    found_and_deleted(&bench).await;
    let left: Option<String> =
        client.query_first("SELECT group_concat(id) FROM sessions").await.unwrap();
    assert_eq!(left.as_deref(), Some("3"));
}
