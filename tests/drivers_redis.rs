//! The driver `redis` against redis-server: every claim is checked by a connection of the test's
//! own, which speaks the protocol by hand.

#![cfg(test)]

mod drivers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rotate::engine::call::{Answer, Fault, Liveness, Reason, Row, Values, Verb};
use rotate::provider::{Acting, Bases, Redis};

use self::drivers::{Bench, Server, Step, acting, bases, dead, free_port, program, refusal};

const FIND: Step = (Verb::Find, 0, 0);
const ISSUE: Step = (Verb::Issue, 0, 0);
const REVOKE: Step = (Verb::Revoke, 0, 0);
const REVOKE_ITSELF: Step = (Verb::Revoke, 1, 0);
const EVICT: Step = (Verb::Evict, 0, 0);

const ADMIN: &str = "correct horse battery staple";
const MAIL: [(&str, &str); 1] = [("username", "mail")];

/// A connection of the test's own.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        Self(BufReader::new(stream))
    }

    /// Connected, and accepted as this user.
    fn signed_in(port: u16, user: &str, password: &str) -> Self {
        let mut raw = Self::open(port);
        assert_eq!(raw.say(&["AUTH", user, password]), "+OK");
        raw
    }

    /// The first line of the answer; empty once the server has hung up.
    fn say(&mut self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let _ = self.0.get_mut().write_all(request.as_bytes());
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line.trim_end().to_owned()
    }
}

fn redis(extra: &[&str]) -> Option<Server> {
    let program = program("redis-server")?;
    let server = Server::start(&program, |run, port, dir| {
        run.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        run.arg("--dir").arg(dir).args(extra);
        if !extra.contains(&"--aclfile") {
            run.args(["--requirepass", ADMIN]);
        }
    });
    Some(server)
}

fn admin_of(server: &Server) -> Raw {
    Raw::signed_in(server.port, "default", ADMIN)
}

fn with_mail(server: &Server, password: &str) {
    let set = ["ACL", "SETUSER", "mail", "on", &format!(">{password}"), "~*", "+@all", "-@admin"];
    assert_eq!(admin_of(server).say(&set), "+OK");
}

fn bench(servers: &[&Server]) -> Bench<Redis> {
    let mut nodes = Bases::new();
    for (number, server) in servers.iter().enumerate() {
        let name = if number == 0 { "api".to_owned() } else { format!("node{}", number + 1) };
        nodes.extend(bases(&[(&name, &format!("redis://127.0.0.1:{}", server.port))]));
    }
    Bench { driver: Redis::new(), bases: nodes }
}

fn password(secret: &str) -> Acting {
    acting("password", &MAIL, &[], secret)
}

fn admin() -> Acting {
    acting("admin-password", &[], &[], ADMIN)
}

async fn rows(bench: &Bench<Redis>, old: &Acting) -> Vec<Row> {
    match bench.call(FIND, &MAIL, &[("admin", &admin()), ("old", old)]).await {
        Answer::Found { rows, complete: true } => rows,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_password_lives_and_dies_and_its_connections_after_it() {
    let Some(server) = redis(&[]) else { return };
    with_mail(&server, "old-password");
    let bench = bench(&[&server]);
    let (old, new, admin) = (password("old-password"), password("new-password"), admin());

    assert_eq!(bench.alive(&old).await, "mail");
    assert_eq!(bench.alive(&admin).await, "default");
    assert_eq!(bench.probe(&password("made-up")).await, dead(true));
    assert_eq!(bench.probe(&new).await, dead(true));
    let mut open = Raw::signed_in(server.port, "mail", "old-password");

    let before = rows(&bench, &old).await;
    assert!(matches!(&before[..], [row] if row.hinted && row.handle.len() == 16), "{before:?}");

    let answer = bench.call(ISSUE, &MAIL, &[("admin", &admin), ("new", &new)]).await;
    let Answer::Issued(holding) = answer else { panic!("{answer:?}") };
    assert_eq!((bench.alive(&old).await, bench.alive(&new).await), ("mail".into(), "mail".into()));
    let both = rows(&bench, &old).await;
    let others: Vec<_> = both.iter().filter(|row| !row.hinted).collect();
    assert!(matches!(&others[..], [row] if holding.public["handle"] == *row.handle), "{both:?}");
    // No ACL file: the change holds until the server restarts, and that is said.
    assert_eq!(holding.public["persisted"], false);

    let parties = [("admin", &admin), ("old", &old)];
    let answer = bench.call(REVOKE, &MAIL, &parties).await;
    assert_eq!(answer, Answer::Took(Values::from([("persisted".to_owned(), false.into())])));
    assert_eq!(bench.probe(&old).await, dead(true));
    assert_eq!(bench.alive(&new).await, "mail");
    assert_eq!(bench.call(REVOKE, &MAIL, &parties).await, Answer::Gone);

    // The password is dead, what it opened is not, until it is evicted.
    assert_eq!(open.say(&["PING"]), "+PONG");
    let answer = bench.call(EVICT, &MAIL, &[("admin", &admin)]).await;
    let Answer::Took(taken) = answer else { panic!("{answer:?}") };
    // One of ours may not have been closed yet.
    assert!(taken["closed"].as_u64().is_some_and(|count| count >= 1), "{taken:?}");
    assert_eq!(open.say(&["PING"]), "");
    assert_eq!(bench.alive(&new).await, "mail");
}

#[tokio::test]
async fn an_admin_without_the_right_or_the_password_is_refused() {
    let Some(server) = redis(&[]) else { return };
    with_mail(&server, "old-password");
    let bench = bench(&[&server]);
    let (old, new) = (password("old-password"), password("new-password"));
    for (step, party) in [(FIND, "old"), (ISSUE, "new"), (REVOKE, "old"), (EVICT, "old")] {
        let subject = (party, if party == "new" { &new } else { &old });
        let powerless = acting("admin-password", &MAIL, &[], "old-password");
        let answer = bench.call(step, &MAIL, &[("admin", &powerless), subject]).await;
        assert_eq!(refusal(&answer), (Reason::Refused, None, Some("NOPERM")), "{step:?}");

        let impostor = acting("admin-password", &[], &[], "made-up");
        let answer = bench.call(step, &MAIL, &[("admin", &impostor), subject]).await;
        assert_eq!(refusal(&answer), (Reason::ActorRefused, None, Some("WRONGPASS")), "{step:?}");
    }
    let answer = bench.call(REVOKE_ITSELF, &MAIL, &[("old", &old)]).await;
    assert_eq!(refusal(&answer), (Reason::Refused, None, Some("NOPERM")));
    assert_eq!(bench.alive(&old).await, "mail");
}

#[tokio::test]
async fn a_user_with_the_right_takes_its_own_password_away() {
    let Some(server) = redis(&[]) else { return };
    with_mail(&server, "old-password");
    admin_of(&server).say(&["ACL", "SETUSER", "mail", "+acl"]);
    let bench = bench(&[&server]);
    let old = password("old-password");
    let answer = bench.call(REVOKE_ITSELF, &MAIL, &[("old", &old)]).await;
    assert!(matches!(answer, Answer::Took(_)), "{answer:?}");
    assert_eq!(bench.probe(&old).await, dead(true));
}

#[tokio::test]
async fn a_user_who_is_not_there_is_not_made() {
    let Some(server) = redis(&[]) else { return };
    let bench = bench(&[&server]);
    let new = password("new-password");
    let answer = bench.call(ISSUE, &MAIL, &[("admin", &admin()), ("new", &new)]).await;
    assert_eq!(refusal(&answer).0, Reason::Refused);
    assert_eq!(admin_of(&server).say(&["ACL", "GETUSER", "mail"]), "$-1");

    // Nor is a password set that everybody knows.
    with_mail(&server, "old-password");
    let empty = password("");
    let answer = bench.call(ISSUE, &MAIL, &[("admin", &admin()), ("new", &empty)]).await;
    assert_eq!(refusal(&answer), (Reason::MissingValue, None, None));
}

#[tokio::test]
async fn a_user_who_needs_no_password_is_seen_to() {
    let Some(server) = redis(&[]) else { return };
    admin_of(&server).say(&["ACL", "SETUSER", "mail", "on", "nopass", "+@all"]);
    let bench = bench(&[&server]);
    // The negative control of a run meets this: a made-up password is accepted.
    assert_eq!(bench.alive(&password("made-up")).await, "mail");
    let listed = rows(&bench, &password("made-up")).await;
    assert!(matches!(&listed[..], [row] if row.handle == "nopass" && !row.hinted), "{listed:?}");
    // Setting one closes the door.
    let new = password("new-password");
    bench.call(ISSUE, &MAIL, &[("admin", &admin()), ("new", &new)]).await;
    assert_eq!(bench.probe(&password("made-up")).await, dead(true));
}

#[tokio::test]
async fn every_node_is_changed_and_one_that_is_down_keeps_no_other_from_it() {
    let (Some(one), Some(two)) = (redis(&[]), redis(&[])) else { return };
    with_mail(&one, "old-password");
    with_mail(&two, "old-password");
    let (old, new, admin) = (password("old-password"), password("new-password"), admin());
    let both = bench(&[&one, &two]);
    let answer = both.call(ISSUE, &MAIL, &[("admin", &admin), ("new", &new)]).await;
    assert!(matches!(answer, Answer::Issued(_)), "{answer:?}");

    // Dead on one node is not dead.
    let parties = [("admin", &admin), ("old", &old)];
    bench(&[&one]).call(REVOKE, &MAIL, &parties).await;
    assert_eq!(bench(&[&one]).probe(&old).await, dead(true));
    assert_eq!(both.alive(&old).await, "mail");

    let mut with_a_dead_one = bench(&[&one, &two]);
    let down = format!("redis://127.0.0.1:{}", free_port());
    with_a_dead_one.bases.extend(bases(&[("node0", &down)]));
    let not_sent = Answer::Fault(Fault::NotSent(Reason::Connect.into()));
    assert_eq!(with_a_dead_one.call(REVOKE, &MAIL, &parties).await, not_sent);
    assert_eq!(both.probe(&old).await, dead(true));
    // A node that nobody can ask may still accept it.
    assert_eq!(with_a_dead_one.probe(&old).await, not_sent);
    assert_eq!(both.call(REVOKE, &MAIL, &parties).await, Answer::Gone);
}

#[tokio::test]
async fn a_change_outlives_a_restart_where_the_server_has_an_acl_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.acl");
    std::fs::write(&file, format!("user default on >{} ~* &* +@all\n", ADMIN.replace(' ', "-")))
        .expect("written");
    let path = file.to_str().expect("text");
    let Some(server) = redis(&["--aclfile", path]) else { return };
    let admin = acting("admin-password", &[], &[], &ADMIN.replace(' ', "-"));
    let mut raw = Raw::signed_in(server.port, "default", &ADMIN.replace(' ', "-"));
    raw.say(&["ACL", "SETUSER", "mail", "on", ">old-password", "+@all"]);
    let bench = bench(&[&server]);
    let (old, new) = (password("old-password"), password("new-password"));
    bench.call(ISSUE, &MAIL, &[("admin", &admin), ("new", &new)]).await;
    let answer = bench.call(REVOKE, &MAIL, &[("admin", &admin), ("old", &old)]).await;
    assert_eq!(answer, Answer::Took(Values::from([("persisted".to_owned(), true.into())])));
    drop(server);

    let Some(server) = redis(&["--aclfile", path]) else { return };
    let bench = self::bench(&[&server]);
    assert_eq!(bench.probe(&old).await, dead(true));
    assert_eq!(bench.alive(&new).await, "mail");
}

#[tokio::test]
async fn no_clear_text_stands_in_any_command_but_auth() {
    let Some(server) = redis(&["--slowlog-log-slower-than", "0"]) else { return };
    with_mail(&server, "old-password");
    let mut monitor = admin_of(&server);
    assert_eq!(monitor.say(&["MONITOR"]), "+OK");
    let bench = bench(&[&server]);
    let (old, new, admin) = (password("old-password"), password("new-password"), admin());
    bench.call(ISSUE, &MAIL, &[("admin", &admin), ("new", &new)]).await;
    bench.call(REVOKE, &MAIL, &[("admin", &admin), ("old", &old)]).await;
    admin_of(&server).say(&["ECHO", "the end"]);
    let mut seen = String::new();
    while !seen.contains("the end") {
        assert_ne!(monitor.0.read_line(&mut seen).expect("a line"), 0, "{seen}");
    }
    assert!(!seen.contains("old-password") && !seen.contains("new-password"), "{seen}");
}

#[tokio::test]
async fn what_never_left_is_not_sent_and_a_busy_server_is_no_verdict() {
    let old = password("old-password");
    let plain = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let plain_port = plain.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in plain.incoming().flatten() {
            let _ = (&stream).read(&mut [0; 1024]);
            let _ = (&stream).write_all(b"-LOADING Redis is loading the dataset in memory\r\n");
        }
    });
    let closed = free_port();
    let not_sent = |reason: Reason| Answer::Fault(Fault::NotSent(reason.into()));
    let cases = [
        (format!("redis://127.0.0.1:{closed}"), not_sent(Reason::Connect)),
        ("redis://nowhere.invalid".to_owned(), not_sent(Reason::Dns)),
        (format!("rediss://127.0.0.1:{plain_port}"), not_sent(Reason::Tls)),
        (format!("redis://127.0.0.1:{plain_port}"), Answer::Fault(Fault::Throttled(None))),
        (
            format!("http://127.0.0.1:{plain_port}"),
            Answer::Saw(Liveness::Unclear(Reason::Unsupported.into()), Values::new()),
        ),
    ];
    for (url, expected) in cases {
        let bench = Bench { driver: Redis::new(), bases: bases(&[("api", &url)]) };
        let answer = bench.probe(&old).await;
        assert_eq!(answer, expected, "{url}");
        let answer = bench.call(REVOKE, &MAIL, &[("admin", &admin()), ("old", &old)]).await;
        assert!(matches!(answer, Answer::Fault(_)), "{url}: {answer:?}");
    }
}

#[tokio::test]
async fn a_full_server_is_no_verdict() {
    let Some(server) = redis(&["--maxclients", "1"]) else { return };
    // The connection that saw the server start may still be open.
    let held = (0..1000).find_map(|_| {
        let mut raw = Raw::open(server.port);
        (raw.say(&["AUTH", "default", ADMIN]) == "+OK").then_some(raw)
    });
    assert!(held.is_some(), "there was never room for one");
    let answer = bench(&[&server]).probe(&password("old-password")).await;
    // Its words may come before ours, and then only the hanging up is seen.
    let no_verdict = matches!(answer, Answer::Fault(Fault::Throttled(None) | Fault::Unknown(_)));
    assert!(no_verdict, "{answer:?}");
    drop(held);
}

#[tokio::test]
async fn over_tls_the_certificate_is_checked() {
    let Some(openssl) = program("openssl") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    certificates(&openssl, folder.path());
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let tls_port = free_port().to_string();
    let options = [
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ];
    let Some(server) = redis(&options) else { return };
    with_mail(&server, "old-password");
    let url = format!("rediss://127.0.0.1:{tls_port}");

    // Signed by nobody this machine knows.
    let bench = Bench { driver: Redis::new(), bases: bases(&[("api", &url)]) };
    let answer = bench.probe(&password("old-password")).await;
    assert_eq!(answer, Answer::Fault(Fault::NotSent(Reason::Tls.into())));

    // The roots are read from the environment of a process, so this needs one of its own.
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "child_of_the_tls_test"])
        .env("SSL_CERT_FILE", &ca)
        .env("ROTATE_TEST_ENDPOINT", &url)
        .output()
        .expect("it ran");
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by the test of TLS, in an environment of its own"]
async fn child_of_the_tls_test() {
    let Ok(url) = std::env::var("ROTATE_TEST_ENDPOINT") else { return };
    let bench = Bench { driver: Redis::new(), bases: bases(&[("api", &url)]) };
    assert_eq!(bench.alive(&password("old-password")).await, "mail");
    assert_eq!(bench.probe(&password("made-up")).await, dead(true));
}

/// A root of our own, and a certificate of it for 127.0.0.1.
fn certificates(openssl: &Path, folder: &Path) {
    let run = |arguments: &str| {
        let status = Command::new(openssl)
            .args(arguments.split(' '))
            .current_dir(folder)
            .stderr(std::process::Stdio::null())
            .status();
        assert!(status.expect("openssl runs").success(), "{arguments}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=root -days 2"));
    run(&format!("req {key} -keyout server.key -out server.csr -subj /CN=redis"));
    let extension = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
    std::fs::write(folder.join("extension"), extension).expect("written");
    run("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile extension -out server.pem");
}
