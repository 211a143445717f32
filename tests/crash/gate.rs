//! A gate before a server. Whoever passes is counted, turn by turn: the client speaks, the server
//! answers. At a chosen turn it ends the client: before the server has heard of it, or when the
//! server has answered and the client has not heard that.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Which side of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The server has heard nothing.
    Before,
    /// The server has done what was asked, and nobody was told.
    After,
}

/// What all gates of one site share: one client at a time goes through them.
#[derive(Default)]
pub(crate) struct Crossing(Mutex<State>);

#[derive(Default)]
struct State {
    /// Clients so far: a connection of an earlier one counts no more.
    client: u64,
    /// Its turns so far.
    turns: usize,
    trap: Option<(usize, Side)>,
    pid: Option<Pid>,
}

impl Crossing {
    /// The next client begins, with its trap.
    pub(crate) fn begin(&self, trap: Option<(usize, Side)>) {
        let mut state = self.0.lock().unwrap();
        *state = State { client: state.client + 1, trap, ..State::default() };
    }

    /// Who the client is: until then no turn of it is let through where there is a trap.
    pub(crate) fn is(&self, pid: Pid) {
        self.0.lock().unwrap().pid = Some(pid);
    }

    /// How many turns the client had.
    pub(crate) fn turns(&self) -> usize {
        self.0.lock().unwrap().turns
    }

    fn client(&self) -> u64 {
        self.0.lock().unwrap().client
    }

    /// A turn of that client begins: its number, none for a client of before.
    fn turn(&self, client: u64) -> Option<usize> {
        let mut state = self.0.lock().unwrap();
        let turn = state.turns;
        (state.client == client).then(|| {
            state.turns += 1;
            turn
        })
    }

    /// Whether it goes on; where it does not, the client is dead when this returns.
    fn passes(&self, client: u64, turn: usize, side: Side) -> bool {
        let begun = Instant::now();
        loop {
            let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.client != client || state.trap != Some((turn, side)) {
                return true;
            }
            if let Some(pid) = state.pid {
                end(pid);
                return false;
            }
            drop(state);
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody says who the client is");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends a process and waits until it is over; its parent still hears of it.
pub(crate) fn end(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
}

/// Opens a gate before `127.0.0.1:PORT`, for as long as the process lives; its own port.
pub(crate) fn gate(upstream: u16, crossing: &Arc<Crossing>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let crossing = Arc::clone(crossing);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let crossing = Arc::clone(&crossing);
            thread::spawn(move || {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream));
                if let Ok(server) = TcpStream::connect(address) {
                    join(&crossing, &client, &server, [upstream, port]);
                }
            });
        }
    });
    port
}

/// The turn that is under way on one connection; none once it was answered.
type Turn = Mutex<Option<usize>>;

fn join(crossing: &Crossing, client: &TcpStream, server: &TcpStream, ports: [u16; 2]) {
    let (number, turn) = (crossing.client(), Turn::default());
    let as_it_is = |_: &mut [u8]| {};
    // A server that names itself, as an issuer does, is named by its gate.
    let by_its_gate = |bytes: &mut [u8]| {
        let [from, to] = ports.map(|port| format!("127.0.0.1:{port}").into_bytes());
        if from.len() == to.len() {
            for at in 0..bytes.len().saturating_sub(from.len() - 1) {
                if bytes[at..].starts_with(&from) {
                    bytes[at..at + to.len()].copy_from_slice(&to);
                }
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            pump(client, server, as_it_is, || {
                let mut turn = turn.lock().unwrap();
                if turn.is_some() {
                    return true;
                }
                *turn = crossing.turn(number);
                turn.is_none_or(|turn| crossing.passes(number, turn, Side::Before))
            });
        });
        pump(server, client, by_its_gate, || {
            let turn = turn.lock().unwrap().take();
            turn.is_none_or(|turn| crossing.passes(number, turn, Side::After))
        });
    });
}

/// Passes on what `passes` lets through, until one side is gone.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    written: impl Fn(&mut [u8]),
    passes: impl Fn() -> bool,
) {
    let mut bytes = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        written(&mut bytes[..length]);
        if !passes() || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
