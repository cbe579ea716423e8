//! Sentences of FLoP's manual about sockserv that no other test shows. `tests/manual.md` maps each sentence that promises
//! something to its test; the first test here reads that table.

use crate::database::Kind;
use crate::program::{Program, ends, eventually, pid_in, signal_to};
use crate::site::Site;
use crate::syslog::Syslog;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Standard paths of the table's tests: `it` and `mail` are binaries, `unit` is the library.
const TABLE: &str = include_str!("../manual.md");

#[test]
fn each_test_in_the_table_of_the_manual_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = 0;
    for line in TABLE.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, tests] = cells[..] else {
            panic!("no sentence and test: {line}");
        };
        for test in tests.split(", ") {
            let (file, name) = test
                .trim_matches('`')
                .split_once(' ')
                .unwrap_or_else(|| panic!("no file and name: {line}"));
            let source = fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            let function = format!("fn {name}(");
            let place = source
                .find(&function)
                .unwrap_or_else(|| panic!("{name} is not in {file}"));
            let before = &source[..place];
            let attribute = before
                .trim_end()
                .rsplit_once("#[")
                .map(|(_, attribute)| attribute);
            assert!(
                attribute.is_some_and(|text| text.starts_with("test]")),
                "{name} is no test"
            );
            names += 1;
        }
    }
    assert!(names > 40, "the table was read");
}

/// The names of a process' threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let mut names: Vec<String> = tasks.flatten().filter_map(name).collect();
    names
        .iter_mut()
        .for_each(|name| name.truncate(name.trim_end().len()));
    names
}

#[test]
fn one_thread_receives_one_sends_and_a_third_listens_on_the_named_pipe() {
    let mut site = Site::new(Kind::Sqlite);
    let pid = site.sockserv().pid();
    for thread in ["sensor-recv", "sensor-send", "sensor-ctrl"] {
        // A thread gives itself its name.
        eventually(thread, || {
            let names = threads(pid);
            let is_there = names.iter().any(|name| name == thread);
            is_there.then_some(()).ok_or_else(|| format!("{names:?}"))
        });
    }
}

#[test]
fn servsock_has_a_process_for_each_connection_and_two_threads_in_it() {
    let mut site = Site::new(Kind::Sqlite);
    let _other = site.another_sockserv("other", &[]);
    site.ids_sends_alerts(1..=1);
    site.ids_sends_to("other", crate::serial::alerts(2..=2));
    site.database.has_alerts(2);
    let workers = site.servsock().children();
    assert_eq!(workers.len(), 2, "a worker for each sensor");
    for worker in workers {
        let names = threads(worker);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().any(|name| name == "worker-write"), "{names:?}");
    }
}

#[test]
fn sigint_and_sigterm_print_final_statistics_and_remove_socket_and_pid_file() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut site = Site::empty(Kind::Sqlite);
        site.start_servsock();
        site.start_sockserv_with(&["-P", "sockserv.pid"]);
        site.ids_sends_alerts(1..=10);
        site.database_gets(1..=10);
        assert!(site.path("sockserv").exists() && site.path("sockserv.pid").exists());
        let sockserv = site.sockserv();
        sockserv.signal(signal);
        assert_eq!(sockserv.exits().code(), Some(0), "a clean exit");
        sockserv.says("stopped: received 10 [10], sent 10 [10], dropped 0 [0], buffered 0");
        for file in ["sockserv", "sockserv.pid", "sockserv.ctrl"] {
            assert!(!site.path(file).exists(), "{signal}: {file} is removed");
        }
    }
}

#[test]
fn sigpipe_is_ignored() {
    let mut site = Site::new(Kind::Sqlite);
    for pid in [site.sockserv().pid(), site.servsock().pid()] {
        signal_to(pid, Signal::SIGPIPE);
    }
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    let workers = site.servsock().children();
    workers
        .iter()
        .for_each(|pid| signal_to(*pid, Signal::SIGPIPE));
    site.ids_sends_alerts(11..=20);
    site.database_gets(1..=20);
    assert_eq!(site.servsock().children(), workers, "the worker lives on");
}

/// sockserv in the background of `site`'s folder; its process.
fn daemon(site: &Site, more: &[&str]) -> u32 {
    let daemon = [
        "-b",
        "--syslog-socket",
        "log",
        "-P",
        "daemon.pid",
        "-N",
        "s",
    ];
    let mut program = site.run("sockserv", "daemon", &[&daemon[..], more].concat());
    assert_eq!(program.exits().code(), Some(0), "{}", program.log());
    pid_in(&site.path("daemon.pid"))
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn the_mode_is_the_umask_of_socket_and_pid_file_decimal_octal_or_hexadecimal() {
    // 23 is 027 is 0x17.
    for form in ["23", "027", "0x17"] {
        let site = Site::empty(Kind::Sqlite);
        let _syslog = Syslog::at(&site);
        let pid = daemon(&site, &["-m", form, "-s", "alerts"]);
        assert_eq!(mode(&site.path("alerts")), 0o750, "{form}");
        assert_eq!(mode(&site.path("daemon.pid")), 0o640, "{form}");
        signal_to(pid, Signal::SIGTERM);
        ends(pid);
    }
}

#[test]
fn the_daemon_works_in_the_current_directory_or_in_that_of_w() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let works_in = |pid: u32| fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives");
    let here = site.folder().canonicalize().expect("a folder");
    let pid = daemon(&site, &["-s", "alerts"]);
    assert_eq!(works_in(pid), here);
    signal_to(pid, Signal::SIGTERM);
    ends(pid);
    let place = |name: &str| here.join(name).display().to_string();
    let (alerts, log, pid_file) = (place("alerts"), place("log"), place("daemon.pid"));
    let args = [
        "-b",
        "-N",
        "s",
        "-w",
        "/",
        "-s",
        &alerts,
        "--syslog-socket",
        &log,
        "-P",
        &pid_file,
    ];
    assert_eq!(site.run("sockserv", "root", &args).exits().code(), Some(0));
    let pid = pid_in(&site.path("daemon.pid"));
    assert_eq!(works_in(pid), Path::new("/"));
    // SIGHUP finds its program and its files again from there.
    signal_to(pid, Signal::SIGHUP);
    syslog.gets_times("]: ready", 3);
    signal_to(pid, Signal::SIGTERM);
    ends(pid);
}

#[test]
fn dropped_alerts_and_statistics_go_to_syslog_with_l() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let options = "-s alerts -N s -l --syslog-socket log -A 1 -H 4 -L 2";
    let args: Vec<&str> = options.split(' ').collect();
    let mut sockserv: Program = site.run("sockserv", "sockserv", &args);
    syslog.gets("]: ready");
    site.ids_sends_to("alerts", crate::serial::alerts(1..=5));
    let dropped = syslog.gets("dropped {\"sensor\":\"s\"");
    let statistics = syslog.gets(": received 5 [5], sent 0 [0], dropped 3 [3], buffered 2");
    for line in [dropped, statistics] {
        // LOCAL0 is 16, INFO is 6.
        assert!(line.starts_with("<134>"), "{line}");
    }
    sockserv.signal(Signal::SIGTERM);
    assert_eq!(sockserv.exits().code(), Some(0));
    assert_eq!(
        sockserv.lines_with("received"),
        0,
        "nothing of it on the terminal"
    );
}

#[test]
fn the_server_is_a_name_or_an_address() {
    for server in ["127.0.0.1", "localhost"] {
        let mut site = Site::empty(Kind::Sqlite);
        site.start_servsock();
        site.start_sockserv_with(&["-S", server]);
        site.ids_sends_alerts(1..=3);
        site.database_gets(1..=3);
    }
}

#[test]
fn several_instances_share_a_sensor_each_with_its_own_socket_and_interface() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let port = site.address().port().to_string();
    for interface in ["eth0", "eth1"] {
        let args = ["-s", interface, "-p", &port, "-N", "host", "-I", interface];
        let mut sockserv = site.run("sockserv", interface, &args);
        sockserv.says(": ready");
        site.ids_sends_to(interface, crate::serial::alerts(1..=2));
        let count = format!(
            "SELECT count(*) FROM alerts WHERE sensor = 'host' AND interface = '{interface}'"
        );
        site.database.reaches(&count, 2);
    }
    assert_eq!(site.database.number("SELECT count(*) FROM sensor"), 2);
}
