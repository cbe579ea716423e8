//! A look at a server that changes nothing there: for `servsock -T`.

#![forbid(unsafe_code)]

use super::super::url::Server;
use super::answer;
use super::connect::{Connector, NoConnection};

/// Whether there are tables for alerts, or this user may make them.
const IS_USABLE: &str = "SELECT to_regclass('flop_stream') IS NOT NULL
    OR coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// See `store::probe`.
pub(in super::super) fn probe(server: &Server) -> Result<(), String> {
    let cannot = |what: &str, why: &str| format!("cannot {what} {server}: {why}");
    let connected = Connector::new(server).connect();
    let client = connected.map_err(|error| match error {
        NoConnection::Refused(error) => cannot("connect to", &answer(&error)),
        NoConnection::Silence => cannot("connect to", "no answer within 10 s"),
        NoConnection::Runtime(error) => cannot("begin to connect to", &error.to_string()),
    })?;
    let row = client.query_one(IS_USABLE, &[]);
    let is_usable = row.and_then(|row| Ok(row.try_get(0)?));
    match is_usable.map_err(|error| cannot("look into", &answer(&error)))? {
        true => Ok(()),
        false => Err(format!(
            "{server} has no tables for alerts, and this user may not make them; GRANT CREATE ON SCHEMA lets it"
        )),
    }
}
