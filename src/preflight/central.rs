//! What `servsock -T` looks at.

#![forbid(unsafe_code)]

use super::Finding::{self, Fine, Wrong};
use super::{paths, remote};
use crate::options::CentralConfig;
use crate::store;

/// Looks at all that servsock's configuration names.
pub fn servsock(config: &CentralConfig, offline: bool) -> Vec<Finding> {
    const PROGRAM: &str = "servsock";
    let control = config.daemon.from_here(&config.control);
    let mut findings = paths::daemon(PROGRAM, &config.daemon);
    findings.push(remote::listen(&config.listen, &control));
    findings.extend(paths::fifo(PROGRAM, &control));
    if let Some(directory) = &config.swap_dir {
        let directory = config.daemon.from_here(directory);
        findings.push(paths::directory("directory for alerts (-W)", &directory));
    }
    if !offline {
        if let Some(socket) = &config.drop_socket {
            let socket = config.daemon.from_here(socket);
            findings.push(paths::read_socket("drop socket", &socket));
        }
        if let Some(socket) = &config.alert_socket {
            let socket = config.daemon.from_here(socket);
            findings.push(paths::read_socket("alert socket", &socket));
        }
    }
    findings.extend(database(config, offline));
    findings
}

/// An SQLite database is a file, and no other process has to answer; it is not opened, for that could make files.
fn database(config: &CentralConfig, offline: bool) -> Option<Finding> {
    if let Some(path) = config.db.sqlite_path() {
        let path = config.daemon.from_here(path);
        return Some(paths::written_file("database", &path));
    }
    if offline {
        return None;
    }
    Some(match store::probe(&config.db) {
        Ok(()) => Fine(format!("database {} answers", config.db)),
        Err(error) => Wrong(format!("{error}; --offline leaves this out")),
    })
}
