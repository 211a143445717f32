use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Below what systems give away by themselves (from 32768 on, or later). On one of those a test
/// beside this may listen for a moment, and be taken for the server that is just starting.
const PORTS: Range<u16> = 10_000..30_000;

/// How far the first ports of two processes of tests lie apart: most ask for fewer.
const EACH: usize = 101;

/// So many of the last ports are claimed: more servers than a process starts at once.
const STARTING: usize = 64;

/// A port for a server that is told its own, or for none. No other test is given the same while
/// that server starts, nor any of this process later.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // Other processes of tests see these, and the servers, which speak TCP, do not.
    static CLAIMS: Mutex<VecDeque<UdpSocket>> = Mutex::new(VecDeque::new());
    let process = usize::try_from(std::process::id()).unwrap();
    loop {
        let next = process * EACH + ASKED.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.clone().nth(next % PORTS.len()).unwrap();
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if nobody_listens(port) {
            let mut claims = CLAIMS.lock().unwrap();
            claims.push_back(claim);
            if claims.len() > STARTING {
                claims.pop_front();
            }
            return port;
        }
    }
}

/// Asked without listening there for a moment: a child that another test is just forking would go
/// on listening until it is another program, and be taken for the server.
fn nobody_listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

#[test]
fn looking_at_a_port_leaves_no_listener_in_children_that_are_being_forked() {
    let port = free_port();
    let over = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
        }
        let looks: Vec<bool> = (0..10_000).map(|_| nobody_listens(port)).collect();
        over.store(true, Ordering::Relaxed);
        looks
    });
    assert_eq!(looks.iter().filter(|free| !**free).count(), 0);
}

#[test]
fn no_port_is_given_twice_and_none_that_the_system_gives_away() {
    let given: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
    assert_eq!(given.len(), 50);
    assert!(given.iter().all(|port| PORTS.contains(port)), "{given:?}");
    // Another process of tests sees the claim.
    assert!(given.iter().all(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_err()));
}
