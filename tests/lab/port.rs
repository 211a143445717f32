use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems give away by themselves (from 32768 on, or later). On one of those a test
/// beside this may listen for a moment, and be taken for the server that is just starting.
const FIRST: u16 = 10_000;

const COUNT: u16 = 20_000;

/// More than one process of tests asks for.
const EACH: u32 = 101;

/// A port for a server that is told its own. No other test of this process is given the same.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id().wrapping_mul(EACH) % u32::from(COUNT);
    loop {
        let next = process + u32::from(ASKED.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(next % u32::from(COUNT)).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn no_port_is_given_twice_and_none_that_the_system_gives_away() {
    let given: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
    assert_eq!(given.len(), 50);
    assert!(given.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)), "{given:?}");
}
