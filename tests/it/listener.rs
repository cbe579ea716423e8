//! What sockserv does about a port where no servsock answers, or one that goes: the listener is the test itself.

use crate::client::Client;
use crate::database::Kind;
use crate::program::eventually;
use crate::site::Site;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

/// Where servsock would listen.
pub(crate) fn listener(site: &Site) -> TcpListener {
    let listener = TcpListener::bind(site.address()).expect("no servsock listens");
    listener.set_nonblocking(true).expect("a listener");
    listener
}

/// The next connection, if there is one already.
fn next(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((stream, _)) => Some(stream),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("accept: {error}"),
    }
}

pub(crate) fn next_within_the_deadline(listener: &TcpListener) -> Client {
    eventually("a connection comes", || {
        next(listener)
            .map(Client::accepted)
            .ok_or_else(|| String::from("there is none"))
    })
}

#[test]
fn a_server_that_speaks_http_is_no_servsock() {
    alerts_wait_for_a_servsock(
        Some(HTTP),
        &["protocol error: a frame of protocol version 47"],
    );
}

#[test]
fn a_server_that_speaks_noise_is_no_servsock() {
    let noise = [0x9e; 1_000];
    alerts_wait_for_a_servsock(
        Some(&noise),
        &["protocol error: a frame of protocol version 158"],
    );
}

/// Which of the two comes first is the kernel's affair.
#[test]
fn a_server_that_hangs_up_at_once_is_no_servsock() {
    let reasons = [
        "the other side closed the connection",
        "Connection reset by peer",
    ];
    alerts_wait_for_a_servsock(None, &reasons);
}

/// It says `answer` to whatever comes first, or nothing at all, and hangs up.
fn alerts_wait_for_a_servsock(answer: Option<&[u8]>, reasons: &[&str]) {
    let mut site = Site::empty(Kind::Sqlite);
    let listener = listener(&site);
    let (ending, connections) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ending.load(Ordering::SeqCst) {
                match next(&listener) {
                    Some(stream) => {
                        answers(stream, answer);
                        connections.fetch_add(1, Ordering::SeqCst);
                    }
                    None => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        site.start_sockserv();
        site.ids_sends_alerts(1..=10);
        let line = site.sockserv().says("no connection to servsock at");
        eventually("it tries again and again", || {
            match connections.load(Ordering::SeqCst) {
                3.. => Ok(()),
                seen => Err(format!("{seen} connections")),
            }
        });
        ending.store(true, Ordering::SeqCst);
        let why = format!(
            "sockserv: no connection to servsock at {}: ",
            site.address()
        );
        assert!(line.starts_with(&why), "{line}");
        assert!(reasons.iter().any(|reason| line.contains(reason)), "{line}");
        // It connects at its start once, to tell the operator: with alerts or without.
        let again = [
            "it is made again when the next alert comes",
            " alerts wait, trying again",
        ];
        assert!(again.iter().any(|again| line.ends_with(again)), "{line}");
    });
    drop(listener);
    // Until servsock is there nobody answers at all, which is another line.
    let lines = site.sockserv().log();
    let lines = lines.lines().filter(|line| line.contains("no connection"));
    let said = lines.filter(|line| reasons.iter().any(|reason| line.contains(reason)));
    let said = said.count();
    // Each reason once, and once more when alerts begin to wait.
    assert!((1..=2 * reasons.len()).contains(&said), "{said} lines");
    site.start_servsock();
    site.database_gets(1..=10);
    site.sockserv()
        .says(" s without; 0 alerts were dropped since start");
    site.stop();
    site.sockserv()
        .says("stopped: received 10 [10], sent 10 [10], dropped 0 [0], buffered 0");
}

/// Errors are the other side's hanging up first.
fn answers(mut stream: TcpStream, answer: Option<&[u8]>) {
    let Some(answer) = answer else { return };
    let _ = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(10))));
    let _ = stream.read(&mut [0; 4_096]);
    let _ = stream.write_all(answer);
}

/// FLoP's rule.
#[test]
fn with_an_empty_buffer_a_lost_connection_is_made_again_for_the_next_alert_only() {
    let mut site = Site::empty(Kind::Sqlite);
    let listener = listener(&site);
    site.start_sockserv_with(&["-A", "1"]);
    let mut first = {
        site.ids_sends_alerts(1..=1);
        next_within_the_deadline(&listener)
    };
    let hello = first.welcomes(0);
    first.gets_items(1);
    first.acknowledges(1);
    site.sockserv().says("sent 1 [");
    drop(first);
    let line = site.sockserv().says("no connection to servsock at");
    assert!(
        line.ends_with("it is made again when the next alert comes"),
        "{line}"
    );
    // A line of statistics a second: longer than sockserv waits before a second try, and the third, if it makes one.
    let told = site.sockserv().lines_with(": received ");
    eventually("four more lines of statistics come", || {
        match site.sockserv().lines_with(": received ") {
            lines if lines >= told + 4 => Ok(()),
            lines => Err(format!("{lines} lines")),
        }
    });
    assert!(next(&listener).is_none(), "a connection without an alert");
    site.ids_sends_alerts(2..=2);
    let mut second = next_within_the_deadline(&listener);
    assert_eq!(second.welcomes(1).stream, hello.stream);
    second.gets_items(2);
    second.acknowledges(2);
    site.sockserv().says("sent 2 [");
    assert!(next(&listener).is_none(), "exactly one more");
    // The other side of the rule: what is not acknowledged is reason enough.
    site.ids_sends_alerts(3..=3);
    second.gets_items(3);
    drop(second);
    let mut third = next_within_the_deadline(&listener);
    third.welcomes(2);
    third.gets_items(3);
}

#[test]
fn heartbeats_come_while_items_flow_and_tell_since_when_the_oldest_waits() {
    let mut site = Site::empty(Kind::Sqlite);
    let listener = listener(&site);
    site.start_sockserv_with(&["-H", "1000000", "-L", "900000"]);
    let mut client = next_within_the_deadline(&listener);
    client.welcomes(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (site, done) = (&site, &done);
        scope.spawn(move || {
            for _ in 0..20_000 {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                site.ids_sends_alerts(1..=10);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        client.gets_items(1);
        let start = std::time::Instant::now();
        let [first, second] = [(); 2].map(|()| client.gets_heartbeat());
        done.store(true, Ordering::SeqCst);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(15), "two in {took:?}");
        assert!(first.oldest_us > 0 && first.received < second.received);
        let moved = (second.oldest_us - first.oldest_us).abs();
        assert!(
            moved < 100_000,
            "nothing is acknowledged: it is the same alert, {moved} us"
        );
        assert!(
            second.now_us - second.oldest_us > 4_000_000,
            "and waits for long"
        );
        client.acknowledges(1);
    });
}
