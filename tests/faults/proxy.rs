//! A proxy between the run and one server. It knows when a request is whole and when the server has
//! answered it, strikes requests of one verb with one fault, and writes down what it saw.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio_rustls::server::TlsStream;

use crate::fault::{Blow, DRIP, FIRST_BYTES, Fault, LATE, Times};
use crate::message::{Message, Speaks, value};
use crate::tls::Tls;

/// So many connections after a reset meet a stranger, or no end of the handshake.
const STRANGERS: usize = 2;

/// Stands for a request that was sent to somebody whom nobody vouches for.
pub(crate) const DECEIVED: &str = "told a stranger";

/// A request that the proxy heard.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) verb: &'static str,
    /// Since the proxy began.
    pub(crate) at: Duration,
    pub(crate) struck: Option<Fault>,
    /// The server's answer, whether or not it went any further: its status where it has one.
    pub(crate) answer: Option<(u16, String)>,
}

impl Exchange {
    /// Whether somebody who heard what came back of it may know what became of it.
    pub(crate) fn is_settled(&self) -> bool {
        match self.struck {
            None | Some(Fault::Late | Fault::Drip) => {
                self.answer.as_ref().is_some_and(|(status, _)| *status < 500)
            }
            Some(Fault::Throttled(_) | Fault::BlockPage(403)) => true,
            Some(_) => false,
        }
    }
}

/// What a server is asked, by the words of a request: `POST /token` and its body, or a command.
pub(crate) type VerbOf = fn(&str) -> &'static str;

/// Listens until dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    way: Arc<Way>,
    listening: AbortHandle,
}

struct Way {
    port: u16,
    upstream: SocketAddr,
    speaks: Speaks,
    verb_of: VerbOf,
    blow: Option<Blow>,
    begun: Instant,
    struck: AtomicUsize,
    strangers: AtomicUsize,
    seen: Mutex<Vec<Exchange>>,
}

/// What every proxy and every question of these tests runs on.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

impl Proxy {
    /// To what listens at `upstream`; `verb_of` names its requests. Without a blow nothing is
    /// struck, with one of TLS the proxy speaks TLS.
    pub(crate) fn to(upstream: u16, speaks: Speaks, verb_of: VerbOf, blow: Option<Blow>) -> Self {
        let _in = runtime().enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = TcpListener::from_std(listener).unwrap();
        let way = Arc::new(Way {
            port,
            upstream: (Ipv4Addr::LOCALHOST, upstream).into(),
            speaks,
            verb_of,
            blow,
            begun: Instant::now(),
            struck: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let taking = Arc::clone(&way);
        let listening = runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let way = Arc::clone(&taking);
                // A connection that breaks is what these tests are about.
                tokio::spawn(async move { way.take(stream).await.unwrap_or_default() });
            }
        });
        Self { port, way, listening: listening.abort_handle() }
    }

    /// What it heard, in order.
    pub(crate) fn seen(&self) -> Vec<Exchange> {
        self.way.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A connection from the run.
trait Caller: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> &TcpStream;
}

impl Caller for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Caller for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What is done about a request once it is known whether the server did it.
enum Return {
    /// These bytes, and the connection goes on.
    Bytes(Vec<u8>),
    /// These bytes after a while.
    Late(Vec<u8>),
    /// These bytes one piece at a time.
    Drip(Vec<u8>),
    /// These bytes, then a reset.
    Reset(Vec<u8>),
    /// The connection ends in good order.
    Close,
    /// Nothing, for as long as the caller bears it.
    Silence,
}

impl Way {
    async fn take(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let Some(blow) = self.blow.filter(|blow| blow.fault.is_of_tls()) else {
            return self.serve(stream).await;
        };
        let meets = blow.verb == Blow::CONNECTION
            || self
                .strangers
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        match blow.fault {
            Fault::HandshakeCut if meets => {
                let mut stream = stream;
                stream.read_u8().await?;
                stream.set_zero_linger()
            }
            _ if meets => {
                let mut deceived = Tls::both().stranger.accept(stream).await?;
                deceived.read_u8().await?;
                self.heard(DECEIVED);
                Ok(())
            }
            _ => self.serve(Tls::both().trusted.accept(stream).await?).await,
        }
    }

    async fn serve(&self, caller: impl Caller) -> io::Result<()> {
        match self.speaks {
            Speaks::Http => self.serve_http(caller).await,
            Speaks::Resp => self.serve_resp(caller).await,
        }
    }

    async fn serve_http(&self, mut caller: impl Caller) -> io::Result<()> {
        while let Some(request) = Message::read(&mut caller, false).await? {
            let (number, struck) = self.heard(&request.said());
            let answer = match struck {
                Some(fault) if !fault.executes() => None,
                _ => Some(self.forward(request).await?),
            };
            let bytes = answer.map(|answer| {
                let status = answer.head[0].split(' ').nth(1).and_then(|word| word.parse().ok());
                let said = String::from_utf8_lossy(&answer.body);
                let said = format!("{}\n\n{said}", answer.head.join("\n"));
                self.answered(number, status.unwrap_or(0), said);
                answer.bytes("")
            });
            if !give(&mut caller, in_http(struck, bytes)).await? {
                break;
            }
        }
        Ok(())
    }

    async fn forward(&self, mut request: Message) -> io::Result<Message> {
        let mut server = TcpStream::connect(self.upstream).await?;
        let is_tls = self.blow.is_some_and(|blow| blow.fault.is_of_tls());
        let here = format!("http{}://127.0.0.1:{}", if is_tls { "s" } else { "" }, self.port);
        let plain = format!("http://127.0.0.1:{}", self.port);
        // Behind a proxy that speaks TLS a server sees itself spoken to without.
        request.readdressed(&here, &plain);
        server.write_all(&request.bytes("connection: close\r\n")).await?;
        let answer = Message::read(&mut server, true).await?;
        let mut answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        // An issuer names itself by its own address, and its endpoints by the one it was asked at.
        answer.readdressed(&format!("http://{}", self.upstream), &here);
        answer.readdressed(&plain, &here);
        Ok(answer)
    }

    async fn serve_resp(&self, mut caller: impl Caller) -> io::Result<()> {
        let mut server = TcpStream::connect(self.upstream).await?;
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        while let Some((command, words)) = value(&mut caller, &mut asked).await? {
            let (number, struck) = self.heard(&words.join(" "));
            let answer = match struck {
                Some(fault) if !fault.executes() => None,
                _ => {
                    server.write_all(&command).await?;
                    let answer = value(&mut server, &mut said).await?;
                    let (answer, words) = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
                    self.answered(number, 200, words.join(" "));
                    Some(answer)
                }
            };
            if !give(&mut caller, in_resp(struck, answer)).await? {
                break;
            }
        }
        Ok(())
    }

    /// Writes a request down: its number, and what it is struck with.
    fn heard(&self, said: &str) -> (usize, Option<Fault>) {
        let verb = if said == DECEIVED { DECEIVED } else { (self.verb_of)(said) };
        let struck = self.blow.filter(|blow| blow.verb == verb).filter(|blow| {
            blow.times == Times::Always || self.struck.fetch_add(1, Ordering::Relaxed) == 0
        });
        if struck.is_some_and(|blow| blow.fault.is_of_tls()) {
            self.strangers.store(STRANGERS, Ordering::Relaxed);
        }
        let mut seen = self.seen.lock().unwrap();
        let struck = struck.map(|blow| blow.fault);
        seen.push(Exchange { verb, at: self.begun.elapsed(), struck, answer: None });
        (seen.len() - 1, struck)
    }

    fn answered(&self, number: usize, status: u16, said: String) {
        self.seen.lock().unwrap()[number].answer = Some((status, said));
    }
}

/// What comes back of an HTTP request: `answer` is the server's own, where it was asked.
fn in_http(struck: Option<Fault>, answer: Option<Vec<u8>>) -> Return {
    let written = |status: &str, kind: &str, more: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}");
        Return::Bytes(format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes())
    };
    let again =
        |after: Option<u32>| after.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
    let page = "<!doctype html><title>Just a moment...</title><p>Are you human?</p>";
    match struck {
        Some(Fault::Throttled(after)) => {
            written("429 Too Many Requests", "text/plain", &again(after), "slow down")
        }
        Some(Fault::Unavailable(after)) => {
            written("503 Service Unavailable", "text/plain", &again(after), "no backend")
        }
        Some(Fault::Garbage) => written("200 OK", "application/json", "", "{\u{1}not: json"),
        Some(Fault::Garbled) => written("200 OK", "application/json", "", "{\"ok\": true, \"n"),
        Some(Fault::BlockPage(200)) => written("200 OK", "text/html", "", page),
        Some(Fault::BlockPage(_)) => written("403 Forbidden", "text/html", "", page),
        other => in_both(other, answer.unwrap_or_default()),
    }
}

/// The same of a command.
fn in_resp(struck: Option<Fault>, answer: Option<Vec<u8>>) -> Return {
    let line = |line: &str| Return::Bytes(format!("{line}\r\n").into_bytes());
    match struck {
        Some(Fault::Throttled(_)) => line("-ERR max number of clients reached"),
        Some(Fault::Unavailable(_)) => line("-LOADING Redis is loading the dataset in memory"),
        Some(Fault::Garbage | Fault::Garbled) => line("?{not: resp"),
        Some(Fault::BlockPage(_)) => line("HTTP/1.1 403 Forbidden\r\n\r\n<p>Are you human?</p>"),
        other => in_both(other, answer.unwrap_or_default()),
    }
}

fn in_both(struck: Option<Fault>, answer: Vec<u8>) -> Return {
    let first = |count: usize| Return::Reset(answer[..count.min(answer.len() - 1)].to_vec());
    match struck {
        Some(Fault::Late) => Return::Late(answer),
        Some(Fault::Drip) => Return::Drip(answer),
        Some(Fault::ResetBefore | Fault::Impostor | Fault::HandshakeCut) => {
            Return::Reset(Vec::new())
        }
        Some(Fault::ResetEarly) => first(FIRST_BYTES),
        Some(Fault::ResetHalfway) => first(answer.len() / 2),
        Some(Fault::AnswerDropped) => Return::Close,
        Some(Fault::AnswerWithheld | Fault::HalfOpen) => Return::Silence,
        _ => Return::Bytes(answer),
    }
}

/// Gives the caller what is left for it. False where the connection is over.
async fn give(caller: &mut impl Caller, what: Return) -> io::Result<bool> {
    match what {
        Return::Bytes(bytes) => caller.write_all(&bytes).await?,
        Return::Late(bytes) => {
            tokio::time::sleep(LATE).await;
            caller.write_all(&bytes).await?;
        }
        Return::Drip(bytes) => {
            for piece in bytes.chunks(bytes.len().div_ceil(DRIP.0).max(1)) {
                caller.write_all(piece).await?;
                caller.flush().await?;
                tokio::time::sleep(DRIP.1).await;
            }
        }
        Return::Reset(bytes) => {
            caller.write_all(&bytes).await?;
            caller.flush().await?;
            caller.socket().set_zero_linger()?;
            return Ok(false);
        }
        Return::Close => {
            caller.shutdown().await?;
            return Ok(false);
        }
        Return::Silence => {
            // Until the caller has had enough.
            let mut nothing = [0; 64];
            while caller.read(&mut nothing).await? > 0 {}
            return Ok(false);
        }
    }
    caller.flush().await?;
    Ok(true)
}
