//! `make demo`: real alerts of four IDS programs through sockserv and servsock into a new SQLite database.
//!
//! It starts the two programs as an operator does, plays the IDS with the captures of `tests/fixtures`, kills a worker
//! and sockserv, cuts the line, and counts in the database what came out. It leaves the folder `demo` behind, to look
//! around in.

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;
mod line;
mod program;
mod table;

use line::Line;
use program::{Program, kill_worker};
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use table::show_alerts;

/// What is sent, and how it is called here.
const CAPTURES: [(&str, &str); 4] = [
    ("Snort 2.9", "snort29-unixsock-own"),
    ("Snort 3", "snort3-unixsock-own"),
    ("barnyard2", "barnyard2-unixsock-own-from-snort29"),
    ("Suricata", "suricata7-eve-dgram-own"),
];
/// What happens when each of them was sent; all of it is to arrive all the same, once.
const ACCIDENTS: [&str; 4] = [
    "; servsock's worker is killed",
    "; sockserv is killed",
    "; the line is cut",
    "",
];
const FOLDER: &str = "demo";
/// Of an earlier run; nothing else in the folder is touched.
const LEFT_OVER: [&str; 5] = [
    "alerts.db",
    "alerts.db-wal",
    "alerts.db-shm",
    "servsock.log",
    "sockserv.log",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(Counts {
            sent,
            stored,
            dropped,
        }) if sent == stored + dropped => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("demo: alerts are missing; the logs are in {FOLDER}/");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}; the logs are in {FOLDER}/");
            ExitCode::FAILURE
        }
    }
}

/// Alerts.
struct Counts {
    sent: u64,
    stored: u64,
    dropped: u64,
}

fn run() -> Result<Counts> {
    println!("FLoP takes the alerts of every IDS of every sensor into one database.\n");
    clean(Path::new(FOLDER))?;
    let mut servsock = Program::start("servsock", &["-p", "0", "--db", "sqlite:alerts.db"])?;
    let listening = servsock.says("listening for sensors on ")?;
    let (_, port) = listening.rsplit_once(':').ok_or("no port was told")?;
    println!("  servsock  listens on 127.0.0.1:{port} and stores in {FOLDER}/alerts.db");
    let line = Line::to(port.parse()?)?;
    let mut sockserv = start_sockserv(&line)?;
    println!(
        "  sockserv  takes alerts on the socket {FOLDER}/snort, which wait in {FOLDER}/spool\n"
    );

    let start = Instant::now();
    let mut sent = 0;
    for (number, (ids, capture)) in CAPTURES.into_iter().enumerate() {
        let alerts = send(capture)?;
        sent += alerts;
        let accident = ACCIDENTS[number];
        println!("  {ids:9} sent {alerts:3} alerts{accident}");
        match number {
            0 => kill_worker(&servsock.says(" came from ")?)?,
            1 => {
                // What the kernel queues for a socket is gone with the process, before anybody has received it.
                sockserv.reports("received", sent)?;
                sockserv.reports("buffered", 0)?;
                sockserv.kill()?;
                sockserv = start_sockserv(&line)?;
            }
            2 => line.cut(),
            _ => {}
        }
    }
    // Each sends or stores what it has before it ends: then everything there will be is in the database.
    sockserv.stop()?;
    servsock.stop()?;
    println!(
        "  all of it stored after {} ms\n",
        start.elapsed().as_millis()
    );

    let database = rusqlite::Connection::open(Path::new(FOLDER).join("alerts.db"))?;
    show_alerts(&database)?;
    let counts = count(&database, sent)?;
    println!(
        "\nsent {} = stored {} + dropped {}\n",
        counts.sent, counts.stored, counts.dropped
    );
    show_next_steps();
    Ok(counts)
}

fn start_sockserv(line: &Line) -> Result<Program> {
    let port = line.port().to_string();
    let mut sockserv = Program::start(
        "sockserv",
        &[
            "-s",
            "snort",
            "-p",
            &port,
            "-N",
            "demo-sensor",
            "--spool",
            "spool",
            "--drain",
            "30",
            "--control",
            "sockserv.ctrl",
        ],
    )?;
    sockserv.says("ready")?;
    Ok(sockserv)
}

fn clean(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match fs::remove_dir_all(folder.join("spool")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for file in LEFT_OVER {
        match fs::remove_file(folder.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Plays the IDS; returns how many alerts were among the datagrams. Suricata sends other records as well.
fn send(capture: &str) -> Result<u64> {
    let (ids, socket) = (UnixDatagram::unbound()?, Path::new(FOLDER).join("snort"));
    let mut alerts = 0;
    for datagram in fixtures::datagrams(capture) {
        ids.send_to(&datagram, &socket)?;
        alerts += u64::from(!is_other_record(&datagram));
    }
    Ok(alerts)
}

fn is_other_record(datagram: &[u8]) -> bool {
    const ALERT: &[u8] = b"\"event_type\":\"alert\"";
    datagram.starts_with(b"{") && !datagram.windows(ALERT.len()).any(|part| part == ALERT)
}

fn count(database: &rusqlite::Connection, sent: u64) -> Result<Counts> {
    let number = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok(Counts {
        sent,
        stored: number("SELECT count(*) FROM event")?.try_into()?,
        dropped: number("SELECT coalesce(sum(count), 0) FROM flop_loss")?.try_into()?,
    })
}

fn show_next_steps() {
    println!(
        "Next, look around in what it left:\n\
         \x20 sqlite3 {FOLDER}/alerts.db 'SELECT timestamp, src, dst, message FROM alerts ORDER BY cid DESC LIMIT 10'\n\
         or let Snort 3 fill a database, with `alert_unixsock = {{ }}` in snort.lua:\n\
         \x20 make build\n\
         \x20 target/release/servsock --db sqlite:flop.db &\n\
         \x20 target/release/sockserv -s /var/log/snort/snort_alert &\n\
         \x20 snort -c snort.lua -i eth0 -l /var/log/snort\n\
         README.md has the first steps with Snort 2.9, Suricata and PostgreSQL."
    );
}
