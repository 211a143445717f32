//! express-session with connect-redis.

use std::time::Duration;

use rotate::engine::call::{Answer, Reason};
use serde_json::{Value, json};

use crate::bench::{BY_HANDLE, BY_SIGN_OUT, BY_STORE, Bench, EVERYWHERE, dead, refusal};
use crate::lab::{self, Express, Redis};

const ACL: &str = "user default on >admin ~* &* +@all\nuser site on >site ~* &* +@all\n\
                   user sweeper on >sweeper ~sess:* &* +del +mget +get +scan +auth\n\
                   user looker on >looker ~sess:* &* +get +mget +scan";

/// Any answer on loopback takes less.
const GIVEN_UP: Duration = Duration::from_secs(2);

fn site() -> Option<(Redis, Express)> {
    let redis = lab::redis(ACL)?;
    let express = lab::express(&redis, "site")?;
    Some((redis, express))
}

fn vars() -> Value {
    json!({
        "cookie": "connect.sid", "page": "/me", "who_at": "/user", "user": "mail",
        "stored_as": "express", "prefix": "sess:", "user_at": "/user",
    })
}

/// A sign-out with its token: shown by a page, sent in a header.
fn with_sign_out(mut vars: Value) -> Value {
    let more = json!({
        "logout": "/logout", "everywhere": "/everywhere", "login": "/login",
        "csrf_page": "/home", "csrf_field": "csrf-token", "csrf_header": "X-CSRF-Token",
    });
    vars.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vars
}

/// Sessions that are signed out, and whose store can be asked.
fn signing_out(redis: &Redis, express: &Express) -> Bench {
    let bench = Bench::new("session-cookie", &express.address, &with_sign_out(vars()));
    bench.with_store(&redis.address, "sweeper", "sweeper")
}

#[tokio::test]
async fn a_session_is_deleted_in_redis_and_its_twin_is_not() {
    let Some((redis, express)) = site() else { return };
    let bench = Bench::new("session-cookie", &express.address, &vars());
    let bench = bench.with_store(&redis.address, "sweeper", "sweeper");
    let (old, _) = express.sign_in("mail", false).await;
    let (twin, _) = express.sign_in("mail", false).await;
    let (other, _) = express.sign_in("calendar", false).await;
    assert_eq!(bench.alive(&old).await, "mail");
    assert_eq!(bench.alive(&other).await, "calendar");
    let made_up = old.replace(&old[4..12], "AAAAAAAA");
    assert_eq!(bench.probe(&made_up).await, dead());

    let rows = bench.rows(&old).await;
    assert_eq!(rows.len(), 2, "the other user's is not listed: {rows:?}");
    let mine: Vec<_> = rows.iter().filter(|row| row.hinted).collect();
    assert!(matches!(&mine[..], [row] if bench.handle(&old).await == *row.handle));

    assert_eq!(bench.revoke(BY_STORE, &old).await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &old).await);
    assert_eq!(bench.probe(&old).await, dead());
    assert!(express.is_alive("connect.sid", &twin).await);
    assert!(express.is_alive("connect.sid", &other).await);
    assert_eq!(bench.revoke(BY_STORE, &old).await, Answer::Gone);

    // What only a list knows is ended by the name that the list gave it.
    let twins = bench.handle(&twin).await;
    let mut by_handle = bench;
    by_handle.set("handle", twins.as_str().unwrap());
    assert_eq!(by_handle.revoke(BY_HANDLE, "").await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &twin).await);
    assert!(express.is_alive("connect.sid", &other).await);
    let gone = by_handle.revoke(BY_HANDLE, "").await;
    assert_eq!(refusal(&gone), (Reason::Refused, None, Some("not-found")));
}

#[tokio::test]
async fn a_wrong_store_is_told_from_a_dead_session() {
    let Some((redis, express)) = site() else { return };
    let mut vars = vars();
    vars["prefix"] = json!("session:");
    let bench = Bench::new("session-cookie", &express.address, &vars);
    let bench = bench.with_store(&redis.address, "site", "site");
    let (old, _) = express.sign_in("mail", false).await;
    let answer = bench.revoke(BY_STORE, &old).await;
    assert_eq!(refusal(&answer), (Reason::Refused, None, Some("not-found")));
    assert!(express.is_alive("connect.sid", &old).await);
    // Unsigned, it is no session of express: nothing is asked for.
    let unsigned = bench.revoke(BY_STORE, "plain").await;
    assert_eq!(refusal(&unsigned), (Reason::Unsupported, None, None));
}

#[tokio::test]
async fn a_store_that_does_not_take_the_admin_says_so() {
    let Some((redis, express)) = site() else { return };
    let bench = |user: &str, password: &str| {
        let bench = Bench::new("session-cookie", &express.address, &vars());
        bench.with_store(&redis.address, user, password)
    };
    let (old, _) = express.sign_in("mail", false).await;
    for (user, password, word) in
        [("sweeper", "wrong", "WRONGPASS"), ("looker", "looker", "NOPERM")]
    {
        let answer = bench(user, password).revoke(BY_STORE, &old).await;
        assert_eq!(refusal(&answer), (Reason::ActorRefused, None, Some(word)));
    }
    assert!(express.is_alive("connect.sid", &old).await);
}

#[tokio::test]
async fn a_sign_out_needs_its_token_and_ends_one_session() {
    let Some((_redis, express)) = site() else { return };
    let bench = Bench::new("session-cookie", &express.address, &with_sign_out(vars()));
    let (old, _) = express.sign_in("mail", false).await;
    let (twin, _) = express.sign_in("mail", false).await;

    let mut without = Bench::new("session-cookie", &express.address, &vars());
    without.set("logout", "/logout");
    let answer = without.revoke(BY_SIGN_OUT, &old).await;
    assert_eq!(refusal(&answer), (Reason::Refused, Some(403), None));
    assert!(express.is_alive("connect.sid", &old).await);

    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &old).await);
    assert!(express.is_alive("connect.sid", &twin).await);
    // Signed out, the site refuses the sign-out: it was over before.
    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Gone);
}

#[tokio::test]
async fn a_sign_out_that_lies_is_seen_by_the_probe() {
    let Some((_redis, express)) = site() else { return };
    let mut bench = Bench::new("session-cookie", &express.address, &vars());
    bench.set("logout", "/logout-lies");
    let (old, _) = express.sign_in("mail", false).await;
    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done, "so it says");
    assert_eq!(bench.alive(&old).await, "mail");
}

/// The answer to the sign-out brings another session of the same user: it is signed out as well.
#[tokio::test]
async fn a_session_that_the_sign_out_hands_us_is_ended() {
    let Some((redis, express)) = site() else { return };
    let mut bench = Bench::new("session-cookie", &express.address, &vars()).with_store(
        &redis.address,
        "sweeper",
        "sweeper",
    );
    bench.set("logout", "/logout-hands");
    let (old, _) = express.sign_in("mail", false).await;
    let (other, _) = express.sign_in("calendar", false).await;
    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &old).await);
    assert_eq!(bench.rows(&old).await, [], "no session of the user is left");
    assert!(express.is_alive("connect.sid", &other).await);
}

/// A site that hands out a new id at each look leaves none of them behind.
#[tokio::test]
async fn sessions_that_a_look_hands_us_end_with_the_old_one() {
    let Some((redis, express)) = site() else { return };
    for way in [BY_STORE, BY_SIGN_OUT] {
        let mut bench = signing_out(&redis, &express);
        let (old, _) = express.sign_in("mail", false).await;
        bench.set("page", "/renews");
        assert_eq!(bench.alive(&old).await, "mail");
        assert_eq!(bench.alive(&old).await, "mail");
        assert_eq!(bench.rows(&old).await.len(), 3, "the old one, and one for each look");
        bench.set("page", "/me");
        assert_eq!(bench.revoke(way, &old).await, Answer::Done);
        assert_eq!(bench.rows(&old).await, []);
        assert!(!express.is_alive("connect.sid", &old).await);
    }
}

/// The call is given up while the site is silent; the next one still knows what to end.
#[tokio::test]
async fn handed_sessions_outlast_a_sign_out_that_hangs() {
    let Some((redis, express)) = site() else { return };
    // Handed at a look, or on the way to the sign-out.
    for (page, csrf_page) in [("/renews", "/home"), ("/me", "/home-copies")] {
        let mut bench = signing_out(&redis, &express);
        let (old, _) = express.sign_in("mail", false).await;
        bench.set("page", page);
        assert_eq!(bench.alive(&old).await, "mail");
        bench.set("csrf_page", csrf_page);
        bench.set("logout", "/logout-hangs");
        let revoked = tokio::time::timeout(GIVEN_UP, bench.revoke(BY_SIGN_OUT, &old)).await;
        assert!(revoked.is_err(), "it hangs");
        assert!(bench.rows(&old).await.len() > 1, "another one was handed out");

        bench.set("csrf_page", "/home");
        bench.set("logout", "/logout");
        assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done);
        assert_eq!(bench.rows(&old).await, []);
    }
}

/// The site accepts the revocation and goes on answering, with another session at each look.
#[tokio::test]
async fn what_a_look_hands_us_after_the_revocation_is_ended_by_that_look() {
    let Some((redis, express)) = site() else { return };
    let mut bench = signing_out(&redis, &express);
    let (old, _) = express.sign_in("mail", false).await;
    bench.set("logout", "/logout-lies");
    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done, "so it says");
    bench.set("logout", "/logout");
    bench.set("page", "/renews");
    for _ in 0..2 {
        assert_eq!(bench.alive(&old).await, "mail");
        assert_eq!(bench.rows(&old).await.len(), 1, "the old one alone");
    }
    assert_eq!(bench.revoke(BY_STORE, &old).await, Answer::Done);
    assert_eq!(bench.probe(&old).await, dead());
    assert_eq!(bench.rows(&old).await, []);
}

/// Without a sign-out nothing ends it: then the old one is not called dead while it lives.
#[tokio::test]
async fn the_old_one_is_not_dead_while_what_it_handed_us_lives() {
    let Some((redis, express)) = site() else { return };
    let mut bench = signing_out(&redis, &express);
    let (old, _) = express.sign_in("mail", false).await;
    bench.set("logout", "/logout-lies");
    assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done, "so it says");
    bench.set("logout", "");
    bench.set("page", "/renews");
    assert_eq!(bench.alive(&old).await, "mail");
    bench.set("page", "/me");
    let elsewhere = Bench::new("session-cookie", &express.address, &vars());
    let mut elsewhere = elsewhere.with_store(&redis.address, "sweeper", "sweeper");
    assert_eq!(elsewhere.revoke(BY_STORE, &old).await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &old).await);
    let seen = bench.probe(&old).await;
    assert_eq!(refusal(&seen), (Reason::Refused, None, Some("handed-anew")));

    let rows = bench.rows(&old).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    elsewhere.set("handle", &rows[0].handle);
    assert_eq!(elsewhere.revoke(BY_HANDLE, "").await, Answer::Done);
    assert_eq!(bench.probe(&old).await, dead());
}

/// The page of the token hands out another session and keeps the old one, or puts it in its place:
/// either way it is the old one that is signed out, and nothing is left.
#[tokio::test]
async fn a_page_that_hands_out_another_session_does_not_save_the_old_one() {
    let Some((redis, express)) = site() else { return };
    for page in ["/home-copies", "/home-replaces"] {
        let mut bench = signing_out(&redis, &express);
        bench.set("csrf_page", page);
        let (old, _) = express.sign_in("mail", false).await;
        assert_eq!(bench.revoke(BY_SIGN_OUT, &old).await, Answer::Done, "{page}");
        assert!(!express.is_alive("connect.sid", &old).await, "{page}");
        assert_eq!(bench.rows(&old).await, [], "{page}");
    }
}

/// The token that the page shows is the other session's: the old one cannot be signed out by it,
/// and is not said to be.
#[tokio::test]
async fn a_token_of_another_session_signs_the_old_one_out_nowhere() {
    let Some((redis, express)) = site() else { return };
    let mut bench = signing_out(&redis, &express);
    bench.set("csrf_page", "/home-renews");
    let (old, _) = express.sign_in("mail", false).await;
    let answer = bench.revoke(BY_SIGN_OUT, &old).await;
    assert_eq!(refusal(&answer), (Reason::Refused, Some(403), None));
    assert!(express.is_alive("connect.sid", &old).await);
    assert_eq!(bench.rows(&old).await.len(), 1, "the other session was signed out");
    assert_eq!(bench.revoke(EVERYWHERE, &old).await, Answer::Done);
    assert_eq!(bench.rows(&old).await, []);
}

#[tokio::test]
async fn everywhere_ends_every_session_of_the_user_and_of_nobody_else() {
    let Some((_redis, express)) = site() else { return };
    let bench = Bench::new("session-cookie", &express.address, &with_sign_out(vars()));
    let (old, _) = express.sign_in("mail", false).await;
    let (twin, _) = express.sign_in("mail", false).await;
    let (other, _) = express.sign_in("calendar", false).await;
    assert_eq!(bench.revoke(EVERYWHERE, &old).await, Answer::Done);
    assert!(!express.is_alive("connect.sid", &old).await);
    assert!(!express.is_alive("connect.sid", &twin).await);
    assert!(express.is_alive("connect.sid", &other).await);
}

#[tokio::test]
async fn a_page_that_knows_everybody_proves_nothing() {
    let Some((_redis, express)) = site() else { return };
    let mut bench = Bench::new("session-cookie", &express.address, &vars());
    bench.set("page", "/anybody");
    let (old, _) = express.sign_in("mail", false).await;
    let answer = bench.probe(&old).await;
    assert_eq!(refusal(&answer), (Reason::NoClass, None, Some("accepted-without-cookie")));
}

/// A page for everybody, 200 whoever asks: only the marker tells.
#[tokio::test]
async fn a_soft_200_is_a_refusal() {
    let Some((_redis, express)) = site() else { return };
    let soft = json!({ "cookie": "connect.sid", "page": "/home", "marker": "Hello, mail" });
    let bench = Bench::new("session-cookie", &express.address, &soft);
    let (old, _) = express.sign_in("mail", false).await;
    let (other, _) = express.sign_in("calendar", false).await;
    assert_eq!(bench.alive(&old).await, "Hello, mail");
    assert_eq!(bench.probe(&other).await, dead(), "somebody else's page has not the marker");
    assert_eq!(bench.probe("made-up").await, dead());
    let blind = json!({ "cookie": "connect.sid", "page": "/home" });
    let bench = Bench::new("session-cookie", &express.address, &blind);
    assert_eq!(refusal(&bench.probe(&old).await), (Reason::MissingValue, None, None));
}

/// A refusal that does not say why is one if nobody is refused in the same way.
#[tokio::test]
async fn a_page_that_hides_from_strangers_tells_by_that() {
    let Some((_redis, express)) = site() else { return };
    let mut bench = Bench::new("session-cookie", &express.address, &vars());
    bench.set("page", "/hidden");
    let (old, _) = express.sign_in("mail", false).await;
    assert_eq!(bench.alive(&old).await, "mail");
    assert_eq!(bench.probe("made-up").await, dead());
    bench.set("page", "/forbidden");
    assert_eq!(bench.probe(&old).await, dead(), "who is refused as nobody is nobody");
    // A page that names the session is no page to identify anybody by.
    bench.set("page", "/hidden");
    bench.set("who_at", "/session");
    bench.set("cookie", "connect.sid");
    let shown = refusal(&bench.probe(&old).await).0;
    assert_eq!(shown, Reason::Echo);
}

#[tokio::test]
async fn a_new_session_is_signed_in_for() {
    let Some((redis, express)) = site() else { return };
    for send_as in ["form", "json"] {
        let mut bench = Bench::new("session-cookie", &express.address, &vars())
            .with_store(&redis.address, "sweeper", "sweeper")
            .with_account("mail", &Express::password("mail"));
        bench.set("login", "/login");
        bench.set("send_as", send_as);
        let (new, handle) = bench.issue().await.unwrap();
        assert!(express.is_alive("connect.sid", &new).await);
        assert_eq!(bench.alive(&new).await, "mail");
        assert_eq!(bench.handle(&new).await, handle);
        assert!(bench.rows(&new).await.iter().any(|row| row.hinted && handle == row.handle));
    }
    let mut bench =
        Bench::new("session-cookie", &express.address, &vars()).with_account("mail", "wrong");
    bench.set("login", "/login");
    let refused = bench.issue().await.unwrap_err();
    assert_eq!(refusal(&refused), (Reason::ActorRefused, Some(401), None));
}

/// Its own credential: it outlives the session, and every look at it signs one in.
#[tokio::test]
async fn a_remember_me_cookie_and_the_sessions_it_signed_in_are_ended() {
    let Some((redis, express)) = site() else { return };
    let mut vars = with_sign_out(vars());
    vars["cookie"] = json!("remember");
    vars["session_cookie"] = json!("connect.sid");
    let bench = Bench::new("remember-me", &express.address, &vars);
    let list = Bench::new("session-cookie", &express.address, &self::vars()).with_store(
        &redis.address,
        "sweeper",
        "sweeper",
    );
    let (session, remembered) = express.sign_in("mail", true).await;
    let remembered = remembered.unwrap();
    let (other, kept) = express.sign_in("calendar", true).await;
    assert_eq!(bench.alive(&remembered).await, "mail");
    assert_eq!(bench.probe("made-up").await, dead());
    assert_eq!(list.rows(&session).await.len(), 2, "the look has signed one in");

    assert_eq!(bench.revoke(BY_SIGN_OUT, &remembered).await, Answer::Done);
    assert!(!express.is_alive("remember", &remembered).await);
    assert_eq!(bench.probe(&remembered).await, dead());
    let left = list.rows(&session).await;
    assert!(matches!(&left[..], [row] if row.hinted), "its own session alone: {left:?}");
    assert!(express.is_alive("remember", &kept.unwrap()).await);
    assert!(express.is_alive("connect.sid", &other).await);

    // Or by its digest, where it is kept.
    let (_, again) = express.sign_in("mail", true).await;
    let again = again.unwrap();
    vars["stored_as"] = json!("sha256");
    vars["prefix"] = json!("remember:");
    let bench = Bench::new("remember-me", &express.address, &vars);
    let bench = bench.with_store(&redis.address, "site", "site");
    assert_eq!(bench.revoke(BY_STORE, &again).await, Answer::Done);
    assert!(!express.is_alive("remember", &again).await);
}

/// The store of remembered sign-ins has no sessions: what our look signed in is signed out.
#[tokio::test]
async fn sessions_that_a_look_signs_in_end_with_the_remembered_sign_in() {
    let Some((redis, express)) = site() else { return };
    let mut vars = with_sign_out(vars());
    vars["cookie"] = json!("remember");
    vars["session_cookie"] = json!("connect.sid");
    vars["stored_as"] = json!("sha256");
    vars["prefix"] = json!("remember:");
    let list = Bench::new("session-cookie", &express.address, &self::vars()).with_store(
        &redis.address,
        "sweeper",
        "sweeper",
    );
    for logout in ["/logout", ""] {
        vars["logout"] = json!(logout);
        let mut bench = Bench::new("remember-me", &express.address, &vars).with_store(
            &redis.address,
            "site",
            "site",
        );
        let (session, remembered) = express.sign_in("mail", true).await;
        let remembered = remembered.unwrap();
        assert_eq!(bench.alive(&remembered).await, "mail");
        assert_eq!(list.rows(&session).await.len(), 2, "the look has signed one in");
        let answer = bench.revoke(BY_STORE, &remembered).await;
        assert!(!express.is_alive("remember", &remembered).await);
        if logout.is_empty() {
            // Nothing here can end it: another way has to.
            assert_eq!(refusal(&answer), (Reason::Refused, None, Some("handed-anew")));
            bench.set("logout", "/logout");
            assert_eq!(bench.revoke(BY_SIGN_OUT, &remembered).await, Answer::Done);
        } else {
            assert_eq!(answer, Answer::Done);
        }
        let left = list.rows(&session).await;
        assert!(matches!(&left[..], [row] if row.hinted), "its own session alone: {left:?}");
        assert_eq!(list.revoke(BY_STORE, &session).await, Answer::Done);
    }
}

#[tokio::test]
async fn a_remember_me_cookie_is_signed_in_for() {
    let Some((_redis, express)) = site() else { return };
    let mut vars = with_sign_out(vars());
    vars["cookie"] = json!("remember");
    vars["session_cookie"] = json!("connect.sid");
    vars["remember_field"] = json!("remember");
    vars["csrf_field"] = json!("");
    let bench = Bench::new("remember-me", &express.address, &vars)
        .with_account("mail", &Express::password("mail"));
    let (new, _) = bench.issue().await.unwrap();
    assert!(express.is_alive("remember", &new).await);
}

#[tokio::test]
async fn the_recorded_client_is_shown_and_the_cookie_goes_nowhere_else() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            heard.push(String::from_utf8(request[..read].to_vec()).unwrap());
            // A redirect to anywhere is an answer, and never followed.
            let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/login\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    });
    let vars = json!({
        "cookie": "sid", "page": "/me", "marker": "mail", "user_agent": "Mozilla/5.0 (X11)",
        "headers": ["Accept-Language: de", "Cookie: smuggled=1"],
    });
    let bench = Bench::new("session-cookie", &address, &vars);
    assert_eq!(bench.probe("value").await, dead());
    let heard = served.await.unwrap();
    let with_cookie = heard.iter().find(|one| one.contains("cookie: ")).unwrap();
    for line in [
        "user-agent: Mozilla/5.0 (X11)\r\n",
        "accept-language: de\r\n",
        "cache-control: no-cache\r\n",
        "cookie: sid=value\r\n",
    ] {
        assert!(with_cookie.contains(line), "{line} is not in {with_cookie}");
    }
    assert!(heard.iter().all(|one| !one.contains("smuggled")), "{heard:?}");
    assert!(heard.iter().any(|one| !one.contains("cookie: ")), "nobody was asked as nobody");

    let beyond = Bench::new("session-cookie", "http://site.example", &vars);
    assert_eq!(refusal(&beyond.probe("value").await), (Reason::LeftBase, None, None));
    let mut astray = Bench::new("session-cookie", &address, &vars);
    astray.set("page", "@evil.example/me");
    assert_eq!(refusal(&astray.probe("value").await), (Reason::LeftBase, None, None));
    let split = bench.probe("value; admin=1").await;
    assert_eq!(refusal(&split), (Reason::Unsupported, None, None));
}
