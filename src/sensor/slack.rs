//! How much the kernel queues before the IDS waits or drops: told at start, with the two sysctls that raise it.

#![forbid(unsafe_code)]

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockname, sendto, socket,
};
use std::os::fd::AsRawFd;

/// Bytes of an alert at most on the socket of Snort, and of a usual EVE record: for the line about the kernel's slack.
const SNORT_DATAGRAM_BYTES: usize = 65_864;
const EVE_DATAGRAM_BYTES: usize = 1_500;
/// More is plenty, whatever the sysctls say.
const SLACK_MAX: usize = 10_000;
/// The line for the operator.
pub(super) fn tell() {
    match (slack(SNORT_DATAGRAM_BYTES), slack(EVE_DATAGRAM_BYTES)) {
        (Ok(snort), Ok(eve)) => crate::info!(
            "the kernel queues {snort} alerts of Snort (the next one waits) or {eve} EVE records of Suricata (the \
             next one is dropped); for more: sysctl net.unix.max_dgram_qlen=512 (now {}) before sockserv starts, \
             net.core.wmem_default=8388608 (now {}) before the IDS starts",
            sysctl("net/unix/max_dgram_qlen"),
            sysctl("net/core/wmem_default")
        ),
        (Err(error), _) | (_, Err(error)) => {
            crate::info!("how much the kernel queues cannot be found out: {error}");
        }
    }
}

fn sysctl(name: &str) -> String {
    let value = std::fs::read_to_string(format!("/proc/sys/{name}"));
    value.map_or_else(|error| error.to_string(), |value| value.trim().to_owned())
}

/// How many datagrams of this length the kernel takes before their sender has to wait. Tried out rather than computed:
/// two sysctls and the kernel's allocator decide together.
fn slack(bytes: usize) -> std::io::Result<usize> {
    let socket = || {
        socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
    };
    let (receiver, sender) = (socket()?, socket()?);
    bind(receiver.as_raw_fd(), &UnixAddr::new_unnamed())?; // The kernel chooses a name outside of the file system.
    let name: UnixAddr = getsockname(receiver.as_raw_fd())?;
    let datagram = vec![0; bytes];
    let flags = MsgFlags::MSG_DONTWAIT;
    let sent =
        (0..SLACK_MAX).find(|_| sendto(sender.as_raw_fd(), &datagram, &name, flags).is_err());
    Ok(sent.unwrap_or(SLACK_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_is_what_the_kernel_takes() {
        let (snort, eve) = (
            slack(SNORT_DATAGRAM_BYTES).unwrap(),
            slack(EVE_DATAGRAM_BYTES).unwrap(),
        );
        let queue: usize = sysctl("net/unix/max_dgram_qlen").parse().unwrap();
        // One more than its length always gets into the queue, if the sender's memory allows.
        assert!((1..=queue + 1).contains(&snort) && snort <= eve && eve <= queue + 1);
        if sysctl("net/core/wmem_default") == "212992" {
            assert_eq!(
                snort,
                4.min(queue + 1),
                "four times 64 KiB fill the usual 208 KiB"
            );
        }
    }
}
