//! Sessions in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::table::{Dialect, Owner, Table};
use super::{ANSWER, MOST, Name, Sessions, Store, password, word};
use crate::engine::call::{Fault, Reason, Values, Why};
use crate::provider::Acting;
use crate::provider::session::wire::Failure;
use crate::provider::stream::{CONNECT, host, tcp, trusting_the_machine};

/// The port of addresses that name none.
const PORT: u16 = 5432;

/// A connection that is closed when dropped.
pub(super) struct Postgres {
    client: Client,
    task: JoinHandle<()>,
    table: Table,
}

impl Postgres {
    /// Connects and signs in: `postgresql://host/database`, user and password the admin's.
    pub(super) async fn open(base: &Url, admin: &Acting, values: &Values) -> Result<Self, Failure> {
        let table = Table::of(values, Dialect::Postgres)?;
        let name = host(base).ok_or(Reason::MissingValue)?;
        let password = password(admin)?;
        let mut config = Config::new();
        config.host(&name).password(password.as_bytes()).application_name("rotate");
        config.user(word(&admin.vars, "username").ok_or(Reason::MissingValue)?);
        config.dbname(base.path().trim_start_matches('/'));
        let port = base.port().unwrap_or(PORT);
        let stream = tcp(&name, port).await?;
        let local = stream.peer_addr().is_ok_and(|address| address.ip().is_loopback());
        let (client, task) = if local {
            config.ssl_mode(SslMode::Disable);
            let (client, link) = in_time(CONNECT, config.connect_raw(stream, NoTls)).await?;
            (client, tokio::spawn(async { drop(link.await) }))
        } else {
            config.ssl_mode(SslMode::Require);
            let mut tls = MakeRustlsConnect::new(trusting_the_machine()?);
            let tls =
                tokio_postgres::tls::MakeTlsConnect::<tokio::net::TcpStream>::make_tls_connect(
                    &mut tls, &name,
                )
                .map_err(|_| Failure::NotSent(Reason::Tls.into()))?;
            let (client, link) = in_time(CONNECT, config.connect_raw(stream, tls)).await?;
            (client, tokio::spawn(async { drop(link.await) }))
        };
        Ok(Self { client, task, table })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Store for Postgres {
    async fn remove(&mut self, names: &[Name]) -> Result<u64, Failure> {
        let removal = self.table.removal();
        let mut removed = 0;
        for name in names {
            let name: &str = name;
            removed += in_time(ANSWER, self.client.execute(&removal, &[&name])).await?;
        }
        Ok(removed)
    }

    async fn of_user(&mut self, user: &str) -> Result<Sessions, Failure> {
        let (listing, owner) = self.table.listing()?;
        let rows = match owner {
            Owner::Column => in_time(ANSWER, self.client.query(&listing, &[&user])).await?,
            Owner::Django => in_time(ANSWER, self.client.query(&listing, &[])).await?,
        };
        let odd = |_| Failure::Refused(Reason::Unexpected.into());
        let mut names = Vec::new();
        for row in &rows {
            let name = Name::new(row.try_get(0).map_err(odd)?);
            let mine = owner.is(user, || row.try_get(1).map_err(odd))?;
            names.extend(mine.then_some(name));
        }
        Ok(Sessions { names, complete: rows.len() <= MOST })
    }
}

async fn in_time<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    super::in_time(limit, step, failure).await
}

/// The server's own code for an error; its text quotes what was sent.
fn failure(error: &Error) -> Failure {
    let Some(code) = error.code() else {
        let reason = if error.is_closed() { Reason::Reset } else { Reason::Unexpected };
        return Failure::Lost(reason.into());
    };
    let why = |reason| Why { reason, status: None, word: Some(code.code().to_owned()) };
    match code {
        &SqlState::INVALID_PASSWORD
        | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | &SqlState::INSUFFICIENT_PRIVILEGE => Failure::Refused(why(Reason::ActorRefused)),
        // Not now, says the server, or its operator: 57P01 and 57P02 are what a connection hears
        // that is ended from outside, in place of an answer. A removal by name may be repeated.
        &SqlState::TOO_MANY_CONNECTIONS
        | &SqlState::CANNOT_CONNECT_NOW
        | &SqlState::ADMIN_SHUTDOWN
        | &SqlState::CRASH_SHUTDOWN
        | &SqlState::T_R_DEADLOCK_DETECTED
        | &SqlState::T_R_SERIALIZATION_FAILURE => Fault::Throttled(None).into(),
        _ => Failure::Refused(why(Reason::Refused)),
    }
}
