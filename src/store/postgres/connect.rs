//! A connection to the server, with a deadline.
//!
//! The crate's own `connect_timeout` ends with the TCP handshake: a server that accepts and says nothing would keep
//! `connect` for ever. So a helper thread connects and this one waits. At most one helper exists per database: while
//! it hangs, the next try waits for its answer rather than starting another one.

#![forbid(unsafe_code)]

use super::super::url::Server;
use ::postgres::{Client, Config, Error, NoTls};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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

/// Makes connections to one server.
pub(super) struct Connector {
    config: Config,
    pending: Option<Receiver<Result<Client, Error>>>,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    /// Nothing was answered within the deadline.
    Silence,
    /// The server or the network refused.
    Refused(Error),
    /// No thread could be started.
    Thread(std::io::Error),
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
        Connector {
            config,
            pending: None,
        }
    }

    pub(super) fn connect(&mut self) -> Result<Client, NoConnection> {
        let answer = match self.pending.take() {
            Some(answer) => answer,
            None => self.start().map_err(NoConnection::Thread)?,
        };
        match answer.recv_timeout(CONNECT_DEADLINE) {
            Ok(result) => result.map_err(NoConnection::Refused),
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(answer);
                Err(NoConnection::Silence)
            }
            Err(RecvTimeoutError::Disconnected) => Err(NoConnection::Silence),
        }
    }

    fn start(&self) -> std::io::Result<Receiver<Result<Client, Error>>> {
        let (sender, answer) = channel();
        let config = self.config.clone();
        thread::Builder::new()
            .name("db-connect".into())
            .spawn(move || {
                let result = config.connect(NoTls).and_then(|mut client| {
                    client.batch_execute(SESSION)?;
                    Ok(client)
                });
                // Nobody listens any more when the store is gone: so is the connection, then.
                let _ = sender.send(result);
            })?;
        Ok(answer)
    }
}
