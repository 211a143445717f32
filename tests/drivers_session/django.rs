//! Django's own sessions, over each of its databases. The same lines for all three.

use rotate::engine::call::{Answer, Liveness, Reason};
use serde_json::{Value, json};

use crate::bench::{BY_HANDLE, BY_SIGN_OUT, BY_STORE, Bench, EVERYWHERE, dead, refusal};
use crate::lab::{self, Django, Mariadb};

fn vars() -> Value {
    json!({
        "cookie": "sessionid", "page": "/me", "who_at": "/user", "user": "1",
        "table": "django_session", "column": "session_key", "user_in": "django",
        "logout": "/logout", "login": "/login", "everywhere": "/everywhere",
        "csrf_page": "/login", "csrf_field": "csrfmiddlewaretoken", "csrf_cookie": "csrftoken",
        "csrf_header": "X-CSRFToken",
    })
}

fn value(cookie: &str) -> &str {
    cookie.split_once('=').unwrap().1
}

/// Alive before, made-up refused, found and deleted in the database, others untouched; a new one
/// signed in for.
async fn lives_and_dies(django: &Django, bench: &Bench) {
    let (old, twin) = (django.sign_in("mail").await, django.sign_in("mail").await);
    let other = django.sign_in("calendar").await;
    assert_eq!(bench.alive(value(&old)).await, "mail");
    assert_eq!(bench.alive(value(&other)).await, "calendar");
    assert_eq!(bench.probe("0123456789abcdefghijklmnopqrstuv").await, dead());

    let rows = bench.rows(value(&old)).await;
    assert_eq!(rows.len(), 2, "the other user's is not listed: {rows:?}");
    let mine: Vec<_> = rows.iter().filter(|row| row.hinted).collect();
    assert!(matches!(&mine[..], [row] if bench.handle(value(&old)).await == *row.handle));

    let (new, handle) = bench.issue().await.unwrap();
    assert!(django.is_alive(&format!("sessionid={new}")).await);
    assert_eq!(bench.rows(&new).await.len(), 3);
    assert_eq!(bench.handle(&new).await, handle);

    assert_eq!(bench.revoke(BY_STORE, value(&old)).await, Answer::Done);
    assert!(!django.is_alive(&old).await);
    assert_eq!(bench.probe(value(&old)).await, dead());
    assert_eq!(bench.alive(&new).await, "mail");
    assert!(django.is_alive(&twin).await && django.is_alive(&other).await);
    assert_eq!(bench.revoke(BY_STORE, value(&old)).await, Answer::Gone);
}

#[tokio::test]
async fn sessions_in_sqlite() {
    let Some(django) = lab::django() else { return };
    let store = format!("sqlite://localhost{}", django.database.display());
    let bench = Bench::new("session-cookie", &django.address, &vars())
        .with_store(&store, "", "")
        .with_account("mail", &Django::password("mail"));
    lives_and_dies(&django, &bench).await;

    let missing = Bench::new("session-cookie", &django.address, &vars());
    let missing = missing.with_store("sqlite://localhost/nowhere/site.sqlite3", "", "");
    let answer = missing.revoke(BY_STORE, "0123456789abcdefghijklmnopqrstuv").await;
    assert_eq!(refusal(&answer), (Reason::Unreadable, None, Some("cannot-open")));
    let elsewhere = Bench::new("session-cookie", &django.address, &vars());
    let elsewhere = elsewhere.with_store("sqlite://db.example/site.sqlite3", "", "");
    let answer = elsewhere.revoke(BY_STORE, "0123456789abcdefghijklmnopqrstuv").await;
    assert_eq!(refusal(&answer), (Reason::Unsupported, None, None));
}

#[tokio::test]
async fn sessions_in_postgresql() {
    let Some(postgres) = lab::postgres() else { return };
    let Some(django) = lab::django_over(Some(&postgres.signed())) else { return };
    let client = postgres.connect().await;
    let rights = "CREATE ROLE sweeper LOGIN PASSWORD 'swept';\
                  GRANT SELECT, DELETE ON django_session TO sweeper;\
                  CREATE ROLE looker LOGIN PASSWORD 'looked'; GRANT SELECT ON django_session TO looker";
    client.batch_execute(rights).await.unwrap();
    let bench = |user: &str, password: &str| {
        Bench::new("session-cookie", &django.address, &vars())
            .with_store(&postgres.address, user, password)
            .with_account("mail", &Django::password("mail"))
    };
    lives_and_dies(&django, &bench("sweeper", "swept")).await;

    let old = django.sign_in("mail").await;
    for (user, password, code) in [("sweeper", "wrong", "28P01"), ("looker", "looked", "42501")] {
        let answer = bench(user, password).revoke(BY_STORE, value(&old)).await;
        assert_eq!(refusal(&answer), (Reason::ActorRefused, None, Some(code)));
    }
    let mut astray = bench("sweeper", "swept");
    astray.set("table", "no_such_table");
    let answer = astray.revoke(BY_STORE, value(&old)).await;
    assert_eq!(refusal(&answer), (Reason::Refused, None, Some("42P01")));
    astray.set("table", "django_session; DROP TABLE django_session");
    let answer = astray.revoke(BY_STORE, value(&old)).await;
    assert_eq!(refusal(&answer), (Reason::Unsupported, None, None));
    assert!(django.is_alive(&old).await);
}

#[tokio::test]
async fn sessions_in_mariadb() {
    let Some(mariadb) = lab::mariadb() else { return };
    let Some(django) = lab::django_over(Some(&mariadb.signed())) else { return };
    let bench = |password: &str| {
        Bench::new("session-cookie", &django.address, &vars())
            .with_store(&mariadb.address, "site", password)
            .with_account("mail", &Django::password("mail"))
    };
    lives_and_dies(&django, &bench(Mariadb::PASSWORD)).await;

    let old = django.sign_in("mail").await;
    let answer = bench("wrong").revoke(BY_STORE, value(&old)).await;
    assert_eq!(refusal(&answer), (Reason::ActorRefused, None, Some("1045")));
    let mut astray = bench(Mariadb::PASSWORD);
    astray.set("table", "no_such_table");
    let answer = astray.revoke(BY_STORE, value(&old)).await;
    assert_eq!(refusal(&answer), (Reason::Refused, None, Some("1146")));
    assert!(django.is_alive(&old).await);
}

#[tokio::test]
async fn a_sign_out_finds_its_token() {
    let Some(django) = lab::django() else { return };
    let bench = Bench::new("session-cookie", &django.address, &vars());
    let (old, twin) = (django.sign_in("mail").await, django.sign_in("mail").await);
    let mut without = Bench::new("session-cookie", &django.address, &vars());
    without.vars.remove("csrf_page");
    let answer = without.revoke(BY_SIGN_OUT, value(&old)).await;
    assert_eq!(refusal(&answer), (Reason::Refused, Some(403), None));
    assert!(django.is_alive(&old).await);

    assert_eq!(bench.revoke(BY_SIGN_OUT, value(&old)).await, Answer::Done);
    assert!(!django.is_alive(&old).await);
    assert!(django.is_alive(&twin).await);
    let mut lies = Bench::new("session-cookie", &django.address, &vars());
    lies.set("logout", "/logout-lies");
    assert_eq!(lies.revoke(BY_SIGN_OUT, value(&twin)).await, Answer::Done, "so it says");
    assert_eq!(lies.alive(value(&twin)).await, "mail");

    let other = django.sign_in("calendar").await;
    let third = django.sign_in("mail").await;
    assert_eq!(bench.revoke(EVERYWHERE, value(&twin)).await, Answer::Done);
    assert!(!django.is_alive(&twin).await && !django.is_alive(&third).await);
    assert!(django.is_alive(&other).await);
}

#[tokio::test]
async fn a_redirect_to_the_sign_in_is_a_refusal() {
    let Some(django) = lab::django() else { return };
    let mut vars = vars();
    vars["page"] = json!("/mailbox");
    vars["marker"] = json!("Signed in as mail");
    vars.as_object_mut().unwrap().remove("who_at");
    let bench = Bench::new("session-cookie", &django.address, &vars);
    let old = django.sign_in("mail").await;
    assert_eq!(bench.alive(value(&old)).await, "Signed in as mail");
    assert_eq!(bench.probe("made-up").await, dead());
}

#[tokio::test]
async fn a_password_that_is_not_taken_signs_nobody_in() {
    let Some(django) = lab::django() else { return };
    let bench = Bench::new("session-cookie", &django.address, &vars());
    // Django answers a wrong password with the form again, and 200.
    let wrong = bench.with_account("mail", "wrong");
    let refused = wrong.issue().await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::ActorRefused, Some(200), None));
}

/// A page that does not know the new session yet, or by a marker that does not fit, is for the proof
/// to wait for: thrown away, the session would live and nobody would know of it.
#[tokio::test]
async fn a_session_that_was_signed_in_is_not_thrown_away_where_the_page_does_not_know_it() {
    let Some(django) = lab::django() else { return };
    let mut bench = Bench::new("session-cookie", &django.address, &vars());
    bench.set("marker", "what stands nowhere");
    let bench = bench.with_account("mail", &Django::password("mail"));
    let (new, _) = bench.issue().await.unwrap();
    assert!(matches!(bench.probe(&new).await, Answer::Saw(Liveness::Dead { .. }, _)));
    assert!(django.is_alive(&format!("sessionid={new}")).await);
}

#[tokio::test]
async fn one_admin_does_not_stand_for_another() {
    let Some(django) = lab::django() else { return };
    let bench = Bench::new("session-cookie", &django.address, &vars())
        .with_account("mail", &Django::password("mail"));
    let old = django.sign_in("mail").await;
    for way in [BY_STORE, BY_HANDLE] {
        let answer = bench.revoke(way, value(&old)).await;
        assert_eq!(refusal(&answer), (Reason::MissingValue, None, None));
    }
    assert!(django.is_alive(&old).await);
}
