//! A PostgreSQL server of the tests' own: it lives in a temporary folder, listens on a socket there and nowhere else,
//! and dies with the test process, however that ends.
//!
//! A guardian (a shell) starts the server and reads a pipe whose other end the test process has: a word there, or its
//! end, makes it stop the server. At the pipe's end it removes the folder as well.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// Arguments: the server's folder, its program, and the program's arguments.
const GUARDIAN: &str = r#"
dir=$1; shift
exec 2>>"$dir/log"
"$@" >>"$dir/log" 2>&1 &
server=$!
word=gone
read -r word || word=gone
case $word in
    fast) kill -INT $server;;
    kill)
        # A process's name, in parentheses, may have spaces; behind it stand its state and its parent.
        sessions=
        for stat in /proc/[0-9]*/stat; do
            read -r line <"$stat" || continue
            set -- ${line##*) }
            pid=${stat#/proc/}
            [ "$2" = "$server" ] && sessions="$sessions ${pid%/stat}"
        done
        kill -KILL $server $sessions;;
    *) kill -QUIT $server;;
esac
wait $server
[ "$word" = gone ] && { cd /; rm -rf "$dir"; }
exit 0
"#;

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "not every test binary stops a server in each way")]
pub enum Stop {
    /// Sessions are ended, transactions rolled back, the data written.
    Fast,
    /// As after a crash of the server: it recovers at the next start.
    Immediate,
    /// kill -9 to the server and all of its sessions.
    Kill,
}

/// A server; gone when this is dropped.
pub struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
    /// Of `postgresql.conf`, as `fsync=off`.
    settings: &'static [&'static str],
    guardian: Option<Child>,
    databases: AtomicUsize,
}

/// The server that all tests of this process share.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

impl Cluster {
    /// Makes a new server and waits until it answers. A power loss is nothing that a test could make.
    pub fn start() -> Cluster {
        Cluster::start_with(&["fsync=off", "max_connections=60"])
    }

    /// The same with these settings in place of the tests' own.
    pub fn start_with(settings: &'static [&'static str]) -> Cluster {
        let programs = programs();
        let dir = tempfile::Builder::new()
            .prefix("flop-pg")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
            .expect("chmod of a new folder");
        if let Some((uid, gid)) = server_user() {
            chown(&dir, Some(uid), Some(gid)).expect("chown of a new folder");
        }
        let made = command(&programs.join("initdb"), &dir)
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["-D", "data"])
            .output()
            .expect("initdb can be run");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut cluster = Cluster {
            dir,
            programs,
            settings,
            guardian: None,
            databases: AtomicUsize::new(0),
        };
        cluster.start_again();
        cluster
    }

    /// Starts the server after `stop`.
    pub fn start_again(&mut self) {
        assert!(self.guardian.is_none(), "the server is running");
        let guardian = command(Path::new("/bin/sh"), &self.dir)
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&self.dir)
            .arg(self.programs.join("postgres"))
            .args(["-D", "data", "-c", "listen_addresses="])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.dir.display()))
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("/bin/sh can be run");
        self.guardian = Some(guardian);
        let deadline = Instant::now() + START_DEADLINE;
        while let Err(error) = postgres::Client::connect(&self.url("postgres"), postgres::NoTls) {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "PostgreSQL does not start: {error}\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server, and returns once it is gone.
    #[allow(dead_code, reason = "not every test binary stops a server")]
    pub fn stop(&mut self, how: Stop) {
        let word = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
            Stop::Kill => "kill",
        };
        let mut guardian = self.guardian.take().expect("the server is running");
        let mut pipe = guardian.stdin.take().expect("it was made with a pipe");
        writeln!(pipe, "{word}").expect("the guardian reads");
        guardian.wait().expect("the guardian ends");
    }

    /// Where the server's files are.
    #[allow(dead_code, reason = "not every test binary looks there")]
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The server's main process, as its PID file says.
    #[allow(dead_code, reason = "not every test binary stops a server's processes")]
    pub fn pid(&self) -> u32 {
        let file = fs::read_to_string(self.dir.join("data/postmaster.pid")).expect("it runs");
        let pid = file.lines().next().and_then(|line| line.parse().ok());
        pid.expect("a number in the first line")
    }

    /// The address of a database in this server.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://postgres@/{database}?host={}",
            self.dir.display()
        )
    }

    /// Makes an empty database and returns its address.
    pub fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The same, in a folder outside of the server's own, which becomes the server's.
    #[allow(
        dead_code,
        reason = "not every test binary gives a database a disk of its own"
    )]
    pub fn create_database_at(&self, folder: &Path) -> String {
        if let Some((uid, gid)) = server_user() {
            chown(folder, Some(uid), Some(gid)).expect("chown of a new folder");
        }
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let location = folder.display();
        self.execute(&format!("CREATE TABLESPACE {name} LOCATION '{location}'"));
        self.execute(&format!("CREATE DATABASE {name} TABLESPACE {name}"));
        self.url(&name)
    }

    /// Removes a database, whoever uses it.
    #[allow(dead_code, reason = "where few are made, they go with the server")]
    pub fn drop_database(&self, url: &str) {
        let name = url.rsplit_once("@/").map_or("", |(_, behind)| behind);
        let name = name.split_once('?').map_or(name, |(name, _)| name);
        self.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        self.execute(&format!("DROP TABLESPACE IF EXISTS {name}"));
    }

    fn execute(&self, sql: &str) {
        let client = postgres::Client::connect(&self.url("postgres"), postgres::NoTls);
        let mut client = client.expect("the server runs");
        client.batch_execute(sql).expect(sql);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.guardian.take() {
            Some(mut guardian) => {
                drop(guardian.stdin.take());
                let _ = guardian.wait();
            }
            None => {
                let _ = fs::remove_dir_all(&self.dir);
            }
        }
    }
}

/// A command in a folder, as the user who may run the server: PostgreSQL refuses root.
fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Root's substitute; `None` for everybody else.
fn server_user() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres")
        .ok()
        .flatten()
        .expect("as root these tests need the user `postgres`: `make test` installs PostgreSQL");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// The folder with the newest server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
                .unwrap_or(0)
        })
        .map(|path| path.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .or_else(|| std::env::split_paths(&path).find(|dir| dir.join("initdb").exists()))
        .expect("no PostgreSQL server programs in /usr/lib/postgresql or PATH: `make test` installs them")
}
