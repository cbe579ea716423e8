//! A connection to the server, with a deadline for all of it: name, handshake, login, first settings.

#![forbid(unsafe_code)]

use super::super::url::Server;
use super::client::{Client, Error};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(10);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A lock that is not free within 5 s belongs to something that hangs. A batch takes some 30 ms. The server's
/// keepalives free the locks of a worker whose machine is gone. `synchronous_commit` stays what the server has.
const SESSION: &str = "SET statement_timeout = '60s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '30s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET default_transaction_isolation = 'read committed';
    SET TimeZone = 'UTC'";

/// Long payloads are compressed by lz4 where their column does not say how, as the classic one does not: pglz, the
/// server's default, takes a third of its time for an alert. Every server that can write it can read it.
const FAST_COMPRESSION: &str = "SET default_toast_compression = 'lz4'";

/// "15.18 (Debian 15.18-0+deb12u1)" -> 15.
fn major(version: &str) -> Option<u32> {
    version
        .split(|char: char| !char.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Makes connections to one server.
pub(super) struct Connector {
    config: Config,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    /// Nothing was answered within the deadline.
    Silence,
    /// The server or the network refused.
    Refused(Error),
    /// This process lacks something.
    Runtime(std::io::Error),
}

impl Connector {
    pub(super) fn new(server: &Server) -> Self {
        let mut config = Config::new();
        config
            .host(&server.host)
            .port(server.port)
            .dbname(&server.dbname)
            .application_name("servsock")
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE / 2)
            .keepalives_retries(3);
        if let Some(user) = &server.user {
            config.user(user);
        }
        if let Some(password) = &server.password {
            config.password(password);
        }
        Connector { config }
    }

    pub(super) fn connect(&self) -> Result<Client, NoConnection> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("db-names") // The resolver knows no deadline, and gets a thread of its own.
            .build()
            .map_err(NoConnection::Runtime)?;
        let connected = runtime.block_on(async { timeout(CONNECT_DEADLINE, self.session()).await });
        let refused = match connected {
            Ok(Ok((session, carrier))) => return Ok(Client::new(runtime, session, carrier)),
            Ok(Err(error)) => NoConnection::Refused(Error::Told(error)),
            Err(_) => NoConnection::Silence,
        };
        // Does not wait for the resolver.
        Runtime::shutdown_background(runtime);
        Err(refused)
    }

    async fn session(
        &self,
    ) -> Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error> {
        let (session, connection) = self.config.connect(NoTls).await?;
        let version = connection.parameter("server_version");
        let knows_lz4 = version.and_then(major).is_some_and(|major| major >= 14);
        let carrier = tokio::spawn(async move {
            let _ = connection.await; // Whoever waits for an answer hears of its end.
        });
        session.batch_execute(SESSION).await?;
        if knows_lz4 {
            // An error: the server was built without it.
            let _ = session.batch_execute(FAST_COMPRESSION).await;
        }
        Ok((session, carrier))
    }
}
