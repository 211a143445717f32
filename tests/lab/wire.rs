//! A wire between a client and a real server that can be cut at the worst moment: the server has
//! done what it was asked, and its answer reaches nobody.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A wire to one server, for as long as the process lives.
pub(crate) struct Wire {
    /// `http://127.0.0.1:PORT`.
    pub(crate) endpoint: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Answers to requests that hold these bytes are kept back.
    keeps_back: Mutex<Option<String>>,
    /// One was.
    kept_back: AtomicBool,
}

impl Wire {
    /// A wire to `http://127.0.0.1:PORT`.
    pub(crate) fn to(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { return };
                shared.join(client, server);
            }
        });
        Self { endpoint, state }
    }

    /// From now on answers to requests that hold `text` reach nobody; nothing else is kept back.
    pub(crate) fn keep_back(&self, text: Option<&str>) {
        *self.state.keeps_back.lock().unwrap() = text.map(str::to_owned);
    }

    /// Whether the server has answered such a request.
    pub(crate) fn has_kept_back(&self) -> bool {
        self.state.kept_back.load(Ordering::SeqCst)
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let cut = Arc::new(AtomicBool::new(false));
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (state, noted) = (Arc::clone(self), Arc::clone(&cut));
        thread::spawn(move || {
            let mut heard = Vec::new();
            pump(from_client, to_server, |bytes| {
                heard.extend_from_slice(bytes);
                let text = String::from_utf8_lossy(&heard);
                let wanted = state.keeps_back.lock().unwrap().clone();
                if wanted.is_some_and(|wanted| text.contains(&wanted)) {
                    noted.store(true, Ordering::SeqCst);
                }
                true
            });
        });
        let state = Arc::clone(self);
        thread::spawn(move || {
            pump(server, client, |_| {
                let kept_back = cut.load(Ordering::SeqCst);
                state.kept_back.fetch_or(kept_back, Ordering::SeqCst);
                !kept_back
            });
        });
    }
}

/// Passes on what `passes` lets through, until one side is gone.
fn pump(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if passes(&bytes[..length]) && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
