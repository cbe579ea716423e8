//! What `sockserv -T` looks at.

#![forbid(unsafe_code)]

use super::{Finding, paths, remote};
use crate::options::SensorConfig;

/// Looks at all that sockserv's configuration names.
pub fn sockserv(config: &SensorConfig, offline: bool) -> Vec<Finding> {
    const PROGRAM: &str = "sockserv";
    let mut findings = paths::daemon(PROGRAM, &config.daemon);
    for socket in &config.sockets {
        let socket = config.daemon.from_here(socket);
        findings.push(paths::served_socket(PROGRAM, "alert socket", &socket));
    }
    findings.extend(paths::fifo(
        PROGRAM,
        &config.daemon.from_here(&config.control),
    ));
    if let Some(spool) = &config.spool {
        let dir = config.daemon.from_here(&spool.dir);
        findings.push(paths::own_directory("spool directory", &dir));
    }
    if !offline {
        if let Some(socket) = &config.drop_socket {
            let socket = config.daemon.from_here(socket);
            findings.push(paths::read_socket("drop socket", &socket));
        }
        findings.push(remote::server(&config.server));
    }
    findings
}
