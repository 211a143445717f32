//! Messages on the wire, read until they are whole: HTTP/1.1 and RESP.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longer than anything that is sent here.
const LONGEST: usize = 1024 * 1024;

/// What the two sides of a proxy speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    /// Redis.
    Resp,
}

/// A request or an answer of HTTP/1.1, its body whole and as it was before any transfer coding.
pub(crate) struct Message {
    /// The first line and the headers, without the empty line that ends them and without headers
    /// that belong to one connection.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The next one; none where the other side has closed before its first byte.
    pub(crate) async fn read(
        from: &mut (impl AsyncRead + Unpin),
        is_answer: bool,
    ) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if from.read_buf(&mut bytes).await? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(cut()) };
            }
            if bytes.len() > LONGEST {
                return Err(io::Error::other("a head without an end"));
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut rest = bytes.split_off(end + 4);
        let header = |name: &str| {
            let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
        let is_chunked = header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let body = match length {
            _ if is_chunked => unchunked(from, rest).await?,
            Some(length) => {
                while rest.len() < length {
                    if from.read_buf(&mut rest).await? == 0 {
                        return Err(cut());
                    }
                }
                rest
            }
            None if is_answer => {
                from.read_to_end(&mut rest).await?;
                rest
            }
            None => Vec::new(),
        };
        let of_one_connection =
            ["connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"];
        let kept = head.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !of_one_connection.contains(&name.as_str())
        });
        Ok(Some(Self { head: kept.map(str::to_owned).collect(), body }))
    }

    /// `POST /token` and, below it, the body: what a server is recognised by.
    pub(crate) fn said(&self) -> String {
        let line = self.head[0].rsplit_once(' ').map_or("", |(line, _)| line);
        format!("{line}\n{}", String::from_utf8_lossy(&self.body))
    }

    /// As it goes over the wire, with one more header.
    pub(crate) fn bytes(&self, more: &str) -> Vec<u8> {
        let mut head = self.head.join("\r\n");
        let has_none = |line: &str| [" 204", " 304"].iter().any(|status| line.contains(status));
        if !self.body.is_empty() || !has_none(&self.head[0]) {
            head += &format!("\r\ncontent-length: {}", self.body.len());
        }
        let mut bytes = format!("{head}\r\n{more}\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The same with one address for another, in headers and body.
    pub(crate) fn readdressed(&mut self, from: &str, to: &str) {
        for line in &mut self.head {
            *line = line.replace(from, to);
        }
        if let Ok(text) = std::str::from_utf8(&self.body) {
            self.body = text.replace(from, to).into_bytes();
        }
    }
}

async fn unchunked(from: &mut (impl AsyncRead + Unpin), mut rest: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            more(from, &mut rest).await?;
            continue;
        };
        let size = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        while rest.len() < end + 2 + size + 2 {
            more(from, &mut rest).await?;
        }
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest.drain(..end + 2 + size + 2);
    }
}

/// One value of RESP2 as it came, and its words; none where the other side has closed.
pub(crate) async fn value(
    from: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<Option<(Vec<u8>, Vec<String>)>> {
    loop {
        let mut words = Vec::new();
        if let Some(end) = end_of(bytes, 0, &mut words)? {
            let value = bytes.drain(..end).collect();
            return Ok(Some((value, words)));
        }
        if from.read_buf(bytes).await? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(cut()) };
        }
    }
}

/// Where the value that begins at `at` ends; none where not all of it is there.
fn end_of(bytes: &[u8], at: usize, words: &mut Vec<String>) -> io::Result<Option<usize>> {
    let Some(length) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
    let mut end = at + length + 2;
    let (kind, rest) = line.split_at(1);
    let number = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "$" => {
            if let Ok(size) = usize::try_from(number()?) {
                let Some(text) = bytes.get(end..end + size + 2) else { return Ok(None) };
                words.push(String::from_utf8_lossy(&text[..size]).into_owned());
                end += size + 2;
            }
        }
        "*" => {
            for _ in 0..number()?.max(0) {
                if end >= bytes.len() {
                    return Ok(None);
                }
                let Some(next) = end_of(bytes, end, words)? else { return Ok(None) };
                end = next;
            }
        }
        _ => words.push(line),
    }
    Ok(Some(end))
}

async fn more(from: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    if from.read_buf(bytes).await? == 0 { Err(cut()) } else { Ok(()) }
}

fn cut() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
