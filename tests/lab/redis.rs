use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::server::{Server, connect};
use super::{cache, missing};

/// A Redis with an ACL file, so that `ACL SAVE` works.
pub(crate) struct Redis {
    /// `redis://127.0.0.1:PORT`.
    pub(crate) address: String,
    /// The ACL file: what `ACL SAVE` wrote.
    pub(crate) acl_file: PathBuf,
    server: Server,
    _folder: TempDir,
}

/// What Redis answers; an error is the `Err` of [`Connection::ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `+OK`, or a bulk string.
    Text(String),
    /// `:1`.
    Number(i64),
    /// A null.
    Nothing,
    /// An array.
    List(Vec<Value>),
}

/// An authenticated connection, open until dropped.
pub(crate) struct Connection(BufReader<TcpStream>);

/// Starts Redis with `acl` as its ACL file: `user NAME on >PASSWORD ~* &* +@all`, line by line.
/// It must define `default`; where it does not, that user is off.
pub(crate) fn redis(acl: &str) -> Option<Redis> {
    let Some((program, libraries)) = program() else {
        missing("redis-server");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let acl_file = folder.path().join("users.acl");
    let off = if acl.contains("user default ") { "" } else { "user default off\n" };
    fs::write(&acl_file, format!("{off}{acl}\n")).unwrap();
    let server = Server::start(
        "redis-server",
        |port| {
            let mut command = Command::new(&program);
            command.current_dir(&folder);
            if let Some(libraries) = &libraries {
                command.env("LD_LIBRARY_PATH", libraries);
            }
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
            command.arg("--aclfile").arg(&acl_file);
            command
        },
        |port| connect(port).is_ok(),
    );
    let address = format!("redis://127.0.0.1:{}", server.port);
    Some(Redis { address, acl_file, server, _folder: folder })
}

impl Redis {
    /// A connection authenticated as that user; Redis's own words where it refuses.
    pub(crate) fn connect(&self, user: &str, password: &str) -> Result<Connection, String> {
        let stream = connect(self.server.port).map_err(|error| error.to_string())?;
        let mut connection = Connection(BufReader::new(stream));
        connection.ask(&["AUTH", user, password])?;
        Ok(connection)
    }

    /// Whether that password is accepted for that user. A connection that is cut while it says so,
    /// as an eviction cuts every one of that user, is made again.
    pub(crate) fn is_alive(&self, user: &str, password: &str) -> bool {
        loop {
            match self.connect(user, password) {
                Ok(_) => return true,
                Err(words) if words.starts_with("WRONGPASS") => return false,
                Err(words) => eprintln!("redis: {words}; connecting again"),
            }
        }
    }
}

impl Connection {
    /// Sends one command; Redis's own words where it refuses.
    pub(crate) fn ask(&mut self, command: &[&str]) -> Result<Value, String> {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let sent = self.0.get_mut().write_all(request.as_bytes());
        sent.and_then(|()| self.answer()).unwrap_or_else(|error| Err(error.to_string()))
    }

    fn answer(&mut self) -> io::Result<Result<Value, String>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(Ok(match kind {
            "+" => Value::Text(rest.to_owned()),
            "-" => return Ok(Err(rest.to_owned())),
            ":" => Value::Number(number()?),
            "$" | "*" if rest == "-1" => Value::Nothing,
            "$" => {
                let length = usize::try_from(number()?).map_err(io::Error::other)?;
                let mut bytes = vec![0; length + "\r\n".len()];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Value::Text(String::from_utf8(bytes).map_err(io::Error::other)?)
            }
            "*" => {
                let mut list = Vec::new();
                for _ in 0..number()? {
                    match self.answer()? {
                        Ok(value) => list.push(value),
                        Err(error) => return Ok(Err(error)),
                    }
                }
                Value::List(list)
            }
            other => return Err(io::Error::other(format!("unknown type {other}"))),
        }))
    }
}

/// The program, and where its libraries lie if they came with it.
fn program() -> Option<(PathBuf, Option<OsString>)> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|program| program.is_file());
    if let Some(program) = installed {
        return Some((program, None));
    }
    let unpacked = cache().join("debian/usr");
    let program = unpacked.join("bin/redis-server");
    let libraries = fs::read_dir(unpacked.join("lib")).ok()?.flatten().map(|entry| entry.path());
    let libraries = env::join_paths(libraries).ok()?;
    program.is_file().then_some((program, Some(libraries)))
}
