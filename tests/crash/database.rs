//! A session store in PostgreSQL whose connections are ended under the run, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::cell::CONTAIN;
use crate::hosted::ask;
use crate::lab::{self, Django, Postgres};
use crate::outcome::Outcome;
use crate::site::{Role, host};

/// How long connections are ended: for most of a run.
const ENDED_FOR: Duration = Duration::from_millis(1_500);

fn role(site: &Django, postgres: &Postgres) -> Role {
    let sessions = ask(site.sign_in(Django::USER));
    let old = sessions.strip_prefix("sessionid=").unwrap().to_owned();
    let entry = format!(
        r#"
[[role.mail-agent.credential]]
name     = "desk"
provider = "django"
kind     = "session-cookie"
secret   = "dotenv:DIR/agent.env#DESK"
vars     = {{ page = "/me", marker = "\"user\": \"mail\"", user = "1", login = "/login" }}
reload   = "none"
admin    = {{ store = "desk-sessions", account = "desk-account" }}

[provider.django]
base  = {{ api = "{}", store = "{}" }}
proof = {{ refusals = 2, hold = "200ms", give_up = "60s" }}

[admin.desk-sessions]
provider = "django"
kind     = "session-store"
vars     = {{ username = "sweeper" }}
secret   = "file:DIR/sweeper.key"

[admin.desk-account]
provider = "django"
kind     = "account"
vars     = {{ username = "mail" }}
secret   = "file:DIR/desk.key"
"#,
        site.address, postgres.address
    );
    let files = [
        ("agent.env", format!("DESK={old}\n")),
        ("desk.key", Django::password("mail")),
        ("sweeper.key", "swept".to_owned()),
    ];
    Role::new(host(&entry, &files), old)
}

/// Ends every connection of the run's own role until told to stop; how many it ended.
async fn end_connections(postgres: &Postgres, stop: &AtomicBool) -> i64 {
    let client = postgres.connect().await;
    let begun = Instant::now();
    let mut ended = 0;
    while !stop.load(Ordering::SeqCst) && begun.elapsed() < ENDED_FOR {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE usename = 'sweeper'";
        let row = client.query_one(end, &[]).await.unwrap();
        ended += row.get::<_, i64>(0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ended
}

async fn sessions(postgres: &Postgres) -> i64 {
    let client = postgres.connect().await;
    client.query_one("SELECT count(*) FROM django_session", &[]).await.unwrap().get(0)
}

#[test]
fn connections_that_are_ended_under_the_run_change_nothing_of_its_end() {
    let Some(postgres) = lab::postgres() else { return };
    let Some(site) = lab::django_over(Some(&postgres.signed())) else { return };
    ask(async {
        let rights = "CREATE ROLE sweeper LOGIN PASSWORD 'swept';
                      GRANT SELECT, DELETE ON django_session TO sweeper";
        postgres.connect().await.batch_execute(rights).await.unwrap();
    });
    let contain = |disturbed: bool| -> (Outcome, i64) {
        ask(async {
            let client = postgres.connect().await;
            client.execute("DELETE FROM django_session", &[]).await.unwrap();
        });
        let role = role(&site, &postgres);
        let (stop, ended) = (Arc::new(AtomicBool::new(!disturbed)), AtomicI64::new(0));
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let count = ask(end_connections(&postgres, &stop));
                ended.store(count, Ordering::SeqCst);
            });
            let outcome = role.host.rotate(&CONTAIN);
            stop.store(true, Ordering::SeqCst);
            outcome
        });
        let new = role.host.value("agent.env", "DESK");
        assert!(!ask(site.is_alive(&format!("sessionid={}", role.old))), "{}", outcome.stderr);
        assert!(ask(site.is_alive(&format!("sessionid={new}"))), "{}", outcome.stderr);
        assert_eq!(ask(sessions(&postgres)), 1, "{}", outcome.stderr);
        (outcome, ended.into_inner())
    };
    let (wanted, none) = contain(false);
    assert_eq!((wanted.code, none), (Some(0), 0), "{}\n{}", wanted.table(), wanted.stderr);
    let mut ended = 0;
    for _ in 0..3 {
        let (found, some) = contain(true);
        assert_eq!(found.table(), wanted.table(), "{}", found.stderr);
        ended += some;
    }
    assert!(ended > 0, "no connection was ended");
}
