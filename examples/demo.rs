//! `make demo`: real alerts of four IDS programs through sockserv and servsock into a new SQLite database.
//!
//! It starts the two programs as an operator does, plays the IDS with the captures of `tests/fixtures`, and counts in
//! the database what came out. It leaves the folder `demo` behind, to look around in.

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use flop::alert::Ids;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is sent, and how it is called here.
const CAPTURES: [(&str, &str); 4] = [
    ("Snort 2.9", "snort29-unixsock-own"),
    ("Snort 3", "snort3-unixsock-own"),
    ("barnyard2", "barnyard2-unixsock-own-from-snort29"),
    ("Suricata", "suricata7-eve-dgram-own"),
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
/// A program that does not do its work within this is given up.
const DEADLINE: Duration = Duration::from_secs(30);
const MESSAGE_CHARS_SHOWN: usize = 40;

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
    let mut servsock = Program::start(
        "servsock",
        &[
            "-p",
            "0",
            "--db",
            "sqlite:alerts.db",
            "--control",
            "servsock.ctrl",
        ],
    )?;
    let listening = servsock.says("listening for sensors on ")?;
    let (_, port) = listening.rsplit_once(':').ok_or("no port was told")?;
    println!("  servsock  listens on 127.0.0.1:{port} and stores in {FOLDER}/alerts.db");
    let mut sockserv = Program::start(
        "sockserv",
        &[
            "-s",
            "snort",
            "-p",
            port,
            "-N",
            "demo-sensor",
            "--drain",
            "30",
        ],
    )?;
    sockserv.says("ready")?;
    println!("  sockserv  takes alerts on the socket {FOLDER}/snort\n");

    let mut sent = 0;
    let start = Instant::now();
    for (ids, capture) in CAPTURES {
        let alerts = send(capture)?;
        println!("  {ids:9} sent {alerts:3} alerts");
        sent += alerts;
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

fn clean(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
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

/// An alert as it is shown.
struct Alert {
    ids: &'static str,
    ip_version: Option<u8>,
    proto: Option<u8>,
    message: String,
    cells: [String; 6],
}

/// What the ten alerts should be: of each IDS, old and new IP, with and without ports.
const WISHES: [(&str, u8, u8); 10] = [
    ("Snort 2.9", 4, 6),
    ("Snort 2.9", 4, 1),
    ("Snort 3", 4, 17),
    ("Snort 3", 6, 6),
    ("Snort 3", 6, 58),
    ("barnyard2", 4, 6),
    ("barnyard2", 4, 17),
    ("Suricata", 4, 6),
    ("Suricata", 4, 17),
    ("Suricata", 6, 58),
];

fn show_alerts(database: &rusqlite::Connection) -> Result<()> {
    let alerts = read_alerts(database)?;
    let mut shown: Vec<&Alert> = Vec::new();
    for wish in WISHES {
        let is_new = |alert: &&Alert| shown.iter().all(|other| other.message != alert.message);
        let fulfils = |alert: &&Alert| {
            (alert.ids, alert.ip_version, alert.proto) == (wish.0, Some(wish.1), Some(wish.2))
        };
        shown.extend(alerts.iter().filter(fulfils).find(is_new));
    }
    let head = ["time", "IDS", "rule", "protocol", "from and to", "message"].map(String::from);
    let lines: Vec<&[String; 6]> = std::iter::once(&head)
        .chain(shown.iter().map(|alert| &alert.cells))
        .collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
    Ok(())
}

fn read_alerts(database: &rusqlite::Connection) -> Result<Vec<Alert>> {
    let mut statement = database.prepare(
        "SELECT x.ids, a.ip_version, a.proto, a.message, a.timestamp, a.gid, a.sig_sid, a.rev, \
         a.src, a.sport, a.dst, a.dport \
         FROM alerts a JOIN flop_event x ON x.sid = a.sid AND x.cid = a.cid ORDER BY a.cid",
    )?;
    let alerts = statement.query_map([], |row| {
        let ids = Ids::from_number(row.get(0)?).map_or("?", Ids::name);
        let (proto, message): (Option<u8>, String) = (row.get(2)?, row.get(3)?);
        let timestamp: String = row.get(4)?;
        let [gid, sid, rev]: [u32; 3] = [row.get(5)?, row.get(6)?, row.get(7)?];
        let ends = [
            end(row.get(8)?, row.get(9)?),
            end(row.get(10)?, row.get(11)?),
        ];
        Ok(Alert {
            ids,
            ip_version: row.get(1)?,
            proto,
            cells: [
                timestamp.chars().take(19).collect(),
                ids.to_owned(),
                format!("{gid}:{sid}:{rev}"),
                proto.map_or(String::new(), protocol),
                ends.join(" -> "),
                message.chars().take(MESSAGE_CHARS_SHOWN).collect(),
            ],
            message,
        })
    })?;
    Ok(alerts.collect::<rusqlite::Result<_>>()?)
}

fn end(address: Option<String>, port: Option<u16>) -> String {
    match (address, port) {
        (None, _) => String::from("?"),
        (Some(address), None) => address,
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 => String::from("ICMP"),
        6 => String::from("TCP"),
        17 => String::from("UDP"),
        58 => String::from("ICMPv6"),
        other => other.to_string(),
    }
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

/// The folder of the built programs: this one lies in `examples` below it.
fn programs() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder.ok_or("this program has no folder")?.to_owned())
}

/// A running program. It is killed when this is dropped before it was stopped.
struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(name: &'static str, args: &[&str]) -> Result<Program> {
        let (path, log) = (
            programs()?.join(name),
            Path::new(FOLDER).join(format!("{name}.log")),
        );
        let file = File::create(&log)?;
        let child = Command::new(&path)
            .args(args)
            .current_dir(FOLDER)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| {
                format!(
                    "cannot start {}: {error}; `make demo` builds it",
                    path.display()
                )
            })?;
        Ok(Program { name, child, log })
    }

    /// Waits until its log says this; returns the line.
    fn says(&mut self, text: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(&self.log)?;
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if ended.is_some() || start.elapsed() > DEADLINE {
                return Err(format!("{} does not say {text:?} but:\n{log}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and waits for its end.
    fn stop(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status: ExitStatus = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} ended with {status}", self.name).into()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors: it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
