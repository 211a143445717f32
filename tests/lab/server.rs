use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::port::free_port;

/// Six times what the slowest of them (moto) took on a loaded machine with two cores.
pub(super) const START: Duration = Duration::from_secs(30);

/// Any answer on loopback takes less, even with every test running beside it.
const ANSWER: Duration = Duration::from_secs(10);

/// A child process, killed when dropped.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) port: u16,
}

impl Server {
    /// Starts what `command` makes of a free port, and waits until `ready` says so.
    ///
    /// A port can be taken between finding and using it: a server that ends at once is started
    /// again, on another port.
    pub(super) fn start(
        name: &str,
        command: impl Fn(u16) -> Command,
        ready: impl Fn(u16) -> bool,
    ) -> Self {
        for _ in 0..3 {
            let port = free_port();
            let child = command(port)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
            let mut server = Self { child, port };
            let deadline = Instant::now() + START;
            while server.child.try_wait().unwrap().is_none() {
                if ready(port) {
                    return server;
                }
                assert!(Instant::now() < deadline, "{name} is not ready after {START:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("{name} ended at once, three times");
    }
}

/// Starts a server that chooses its own port, prints `ready ADDRESS`, and ends when its standard
/// input does; waits for that address.
pub(super) fn piped(name: &str, mut command: Command) -> (Server, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    let output = child.stdout.take().unwrap();
    // From here on a panic ends it: its standard input closes.
    let server = Server { child, port: 0 };
    let (said, ready) = mpsc::channel();
    // Reads on to the end, so that the server never writes into a full or closed pipe.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("ready ") {
                let _ = said.send(address.to_owned());
            }
        }
    });
    let address =
        ready.recv_timeout(START).unwrap_or_else(|_| panic!("{name} is not ready after {START:?}"));
    (server, address)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// Whether `GET path` is answered by 200.
pub(super) fn answers(port: u16, path: &str) -> bool {
    let get = || -> std::io::Result<Vec<u8>> {
        let mut stream = connect(port)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
        let mut status = vec![0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut status)?;
        Ok(status)
    };
    get().is_ok_and(|status| status.ends_with(b" 200"))
}
