//! Sessions in MySQL or MariaDB.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row, SslOpts};
use url::Url;

use super::table::{Dialect, Owner, Table};
use super::{ANSWER, MOST, Name, Sessions, Store, password, word};
use crate::engine::call::{Fault, Reason, Values, Why};
use crate::provider::Acting;
use crate::provider::session::wire::Failure;
use crate::provider::stream::{CONNECT, host, tcp};

/// The port of addresses that name none.
const PORT: u16 = 3306;

/// A connection for one call.
pub(super) struct Mysql {
    link: Conn,
    table: Table,
}

impl Mysql {
    /// Connects and signs in: `mysql://host/database`, user and password the admin's.
    pub(super) async fn open(base: &Url, admin: &Acting, values: &Values) -> Result<Self, Failure> {
        let table = Table::of(values, Dialect::Mysql)?;
        let name = host(base).ok_or(Reason::MissingValue)?;
        let port = base.port().unwrap_or(PORT);
        // Whether it can be reached at all, and where it is, is seen before a password is sent.
        let address = tcp(&name, port).await?.peer_addr();
        let address = address.map_err(|_| Failure::NotSent(Reason::Reset.into()))?;
        let password = password(admin)?;
        let tls = (!address.ip().is_loopback()).then(|| {
            // Its TLS takes the process's provider and no verifier of ours: the roots are
            // Mozilla's, not the machine's.
            let _ = rustls::crypto::ring::default_provider().install_default();
            SslOpts::default()
        });
        let options = OptsBuilder::default()
            .ip_or_hostname(name)
            .resolved_ips(Some(vec![address.ip()]))
            .tcp_port(port)
            .user(word(&admin.vars, "username"))
            .pass(Some(password.as_str()))
            .db_name(word_of(base))
            .prefer_socket(false)
            .stmt_cache_size(0)
            .ssl_opts(tls);
        let link = in_time(CONNECT, Conn::new(Opts::from(options))).await?;
        Ok(Self { link, table })
    }
}

fn word_of(base: &Url) -> Option<&str> {
    Some(base.path().trim_start_matches('/')).filter(|name| !name.is_empty())
}

#[async_trait]
impl Store for Mysql {
    async fn remove(&mut self, names: &[Name]) -> Result<u64, Failure> {
        let removal = self.table.removal();
        let mut removed = 0;
        for name in names {
            in_time(ANSWER, self.link.exec_drop(&removal, (name.as_str(),))).await?;
            removed += self.link.affected_rows();
        }
        Ok(removed)
    }

    async fn of_user(&mut self, user: &str) -> Result<Sessions, Failure> {
        let (listing, owner) = self.table.listing()?;
        let rows: Vec<Row> = match owner {
            Owner::Column => in_time(ANSWER, self.link.exec(&listing, (user,))).await?,
            Owner::Django => in_time(ANSWER, self.link.exec(&listing, ())).await?,
        };
        let odd = || Failure::Refused(Reason::Unexpected.into());
        let mut names = Vec::new();
        let complete = rows.len() <= MOST;
        for mut row in rows {
            let name = Name::new(row.take_opt(0).and_then(Result::ok).ok_or_else(odd)?);
            let data = || row.take_opt(1).and_then(Result::ok).ok_or_else(odd);
            names.extend(owner.is(user, data)?.then_some(name));
        }
        Ok(Sessions { names, complete })
    }
}

async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    super::in_time(limit, step, failure).await
}

/// The server's own number for an error; its text quotes what was sent.
fn failure(error: &Error) -> Failure {
    let Error::Server(said) = error else {
        return Failure::Lost(Reason::Reset.into());
    };
    let word = Some(said.code.to_string());
    let why = |reason| Why { reason, status: None, word: word.clone() };
    match said.code {
        // ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED,
        // and MariaDB's ER_ACCOUNT_HAS_BEEN_LOCKED.
        1044 | 1045 | 1142 | 1143 | 4151 => Failure::Refused(why(Reason::ActorRefused)),
        // ER_CON_COUNT, ER_SERVER_SHUTDOWN, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
        1040 | 1053 | 1205 | 1213 => Fault::Throttled(None).into(),
        _ => Failure::Refused(why(Reason::Refused)),
    }
}
