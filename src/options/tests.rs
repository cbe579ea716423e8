use super::*;
use crate::config::CommandLine;
use clap::{CommandFactory, FromArgMatches};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// The options of a command line and of a configuration file in `folder`, which may be empty.
fn in_force<P: CommandFactory + FromArgMatches>(
    folder: &TempDir,
    args: &[&str],
    file: &str,
    keywords: &'static [Keyword],
) -> Result<InForce<P>, Error> {
    let path = folder.path().join("x.conf");
    fs::write(&path, file).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let args = ["program", "-c", path]
        .into_iter()
        .chain(args.iter().copied());
    let line = CommandLine::parse(P::command(), args.map(Into::into).collect());
    line.map_err(|error| Error::Usage(error.to_string()))?
        .with_file(keywords)
}

fn sockserv_with(args: &[&str], file: &str) -> Result<SensorConfig, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let in_force = in_force(&folder, args, file, SOCKSERV_KEYWORDS)?;
    let surroundings = Surroundings {
        host_name: || Ok("host".to_owned()),
        state_directory: None,
    };
    Sockserv::validate(&in_force, surroundings)
}

fn servsock(args: &[&str], file: &str) -> Result<CentralConfig, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    Servsock::validate(&in_force(&folder, args, file, SERVSOCK_KEYWORDS)?)
}

fn sockserv(args: &[&str]) -> Result<SensorConfig, Error> {
    sockserv_with(args, "")
}

#[test]
fn the_option_structs_are_sound() {
    Sockserv::command().debug_assert();
    Servsock::command().debug_assert();
}

#[test]
fn each_option_has_a_long_name_and_one_keyword() {
    let without = [
        "config",
        "dump",
        "test",
        "offline",
        "status",
        "json",
        "version",
        "help",
        "worker",
        "spool_check",
        "spool_export",
    ];
    for (command, keywords) in [
        (Sockserv::command(), SOCKSERV_KEYWORDS),
        (Servsock::command(), SERVSOCK_KEYWORDS),
    ] {
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let known = keywords
                .iter()
                .filter(|keyword| keyword.option == id)
                .count();
            assert_eq!(known, usize::from(!without.contains(&id)), "{id}");
            assert!(arg.get_long().is_some(), "{id}");
        }
    }
}

#[test]
fn defaults_are_flops() {
    let config = sockserv(&["-N", "s"]).unwrap();
    assert_eq!(config.sockets, [PathBuf::from("/tmp/snort")]);
    assert_eq!(config.server.to_string(), "127.0.0.1:5765");
    assert_eq!((config.water.high(), config.water.low()), (10_000, 9_900));
    assert_eq!(config.control, PathBuf::from("/tmp/snort.ctrl"));
    assert_eq!(config.stats_every, None);
    assert_eq!((config.quiet, config.drop_socket), (false, None));
    let config = servsock(&[], "").unwrap();
    assert_eq!(config.db.to_string(), "sqlite:flop.db");
    assert_eq!(
        (config.quiet, config.drop_socket, config.priority),
        (false, None, 1)
    );
}

#[test]
fn wrong_values_are_refused_with_a_sentence() {
    let long = format!("/{}", "x".repeat(107));
    for (args, sentence) in [
        (vec!["-H", "100"], "HighWater 100 is below LowWater 9900"),
        (
            vec!["-H", "9900"],
            "HighWater 9900 is not above LowWater 9900",
        ),
        (
            vec!["-H", "abc"],
            "abc is not a number of alerts (0 to 1000000000)",
        ),
        (vec!["-s", &long], "has 108 bytes"),
        (
            vec!["-s", "/a", "-s", "/b", "-s", "/a"],
            "-s /a is given twice",
        ),
        (vec!["-N", ""], "sensor name (-N) of 0 bytes"),
        (vec!["-N", "a\nb"], "control character"),
        (vec!["-p", "70000"], "70000 is not a port (1 to 65535)"),
        (vec!["-p", "0"], "0 is not a port (1 to 65535)"),
        (vec!["-A", "0"], "0 is not a number of seconds (1 to 86400)"),
        (vec!["-M", "no"], "no is not a number of tries"),
        (vec!["-m", "rwx"], "rwx is not a umask (0 to 0777"),
    ] {
        let error = sockserv(&args).unwrap_err().to_string();
        assert!(error.contains(sentence), "{args:?}: {error}");
    }
    let longest = format!("/{}", "x".repeat(106));
    assert!(sockserv(&["-N", "s", "-s", &longest]).is_ok());
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    for (file, sentence) in [
        (
            "# marks\nHighWater: 100",
            "x.conf:2: HighWater 100 is below LowWater 9900",
        ),
        (
            "LowWater = 20000",
            "x.conf:1: HighWater 10000 is below LowWater 20000",
        ),
        (
            "\nSensorName: \"\"",
            "x.conf:2: refused: a sensor name (-N) of 0 bytes",
        ),
        (
            "SnortSocket: a\nSnortSocket: a",
            "x.conf:2: -s a is given twice",
        ),
        (
            "HighWatr: 1",
            "x.conf:1: HighWatr is no keyword; did you mean HighWater?",
        ),
    ] {
        let error = sockserv_with(&["-N", "s"][..0], file)
            .unwrap_err()
            .to_string();
        assert!(error.contains(sentence), "{file}: {error}");
    }
    let error = servsock(&[], "DBtype: MySQL").unwrap_err().to_string();
    assert!(error.ends_with("x.conf:1: DBtype MySQL is not supported any more: postgres and sqlite are, in the same schema"), "{error}");
}

#[test]
fn a_database_is_named_by_a_url_or_by_flops_parts() {
    for (args, file, shown) in [
        (
            vec![],
            "DBtype: Postgres",
            "postgresql://snort@/snort?host=/var/run/postgresql",
        ),
        (
            vec![],
            "DBuser = a\nDBname = b\nDBserver = db.example.org\nDBport = 99",
            "postgresql://a@db.example.org:99/b",
        ),
        (
            vec![],
            "DBpassword: sesame",
            "postgresql://snort:***@/snort?host=/var/run/postgresql",
        ),
        (vec!["-S", "::1"], "", "postgresql://snort@[::1]:5432/snort"),
        (
            vec!["-s", "/run/pg"],
            "",
            "postgresql://snort@/snort?host=/run/pg",
        ),
        (
            vec!["-s", "/run/pg/.s.PGSQL.5433"],
            "",
            "postgresql://snort@/snort?host=/run/pg&port=5433",
        ),
        (
            vec![],
            "DBtype: SQLite\nDBname: /var/lib/x.db",
            "sqlite:/var/lib/x.db",
        ),
        (vec![], "DBtype: SQLite", "sqlite:flop.db"),
        // The command line wins, whichever way it names the database.
        (
            vec!["--db", "sqlite:y.db"],
            "DBtype: Postgres",
            "sqlite:y.db",
        ),
        (
            vec!["-S", "h"],
            "DB: sqlite:y.db",
            "postgresql://snort@h:5432/snort",
        ),
    ] {
        let config = servsock(&args, file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(config.db.to_string(), shown, "{args:?} {file}");
    }
    for (args, file, sentence) in [
        (vec!["--db", "sqlite:y", "-S", "h"], "", "named as a whole"),
        (
            vec![],
            "DB: sqlite:y\nDBname: x",
            "x.conf:2: the database is named as a whole",
        ),
        (vec!["-S", "h", "-s", "/x"], "", "not by both"),
        (
            vec!["--db", "mysql://h/d"],
            "",
            "--db: a database's address begins with",
        ),
    ] {
        let error = servsock(&args, file).unwrap_err().to_string();
        assert!(error.contains(sentence), "{args:?} {file}: {error}");
    }
}

#[test]
fn the_short_help_fits_one_screen() {
    let mailer = crate::mail::options::command(crate::mail::Kind::Drop);
    for command in [Sockserv::command(), Servsock::command(), mailer] {
        let help = crate::config::short_help(command);
        assert!(help.lines().count() <= 24, "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 80),
            "{help}"
        );
    }
}

#[test]
fn what_flop_calls_full_payload_reference_encoding_trust_and_time_zone() {
    let file =
        "DBencoding = base64\nDBTrust: yes\nFullPayload: 1\nReference: on\nTimeZone: Europe/Berlin";
    let settings = servsock(&[], file).unwrap().settings;
    assert_eq!(settings.encoding.name(), "base64");
    assert!(settings.trust && settings.full_payload && settings.reference);
    assert_eq!(settings.time_zone.name(), "Europe/Berlin");
    let settings = servsock(&["-f", "-r", "-u"], "").unwrap().settings;
    assert!(settings.full_payload && settings.reference && settings.time_zone.is_utc());
    for (args, file, sentence) in [
        (
            vec![],
            "DBencoding: utf8",
            "x.conf:1: DBencoding utf8 is no encoding: hex, base64 or ascii",
        ),
        (
            vec!["-Z", "CET"],
            "",
            "CET is no time zone of this machine (as in Europe/Berlin)",
        ),
        (vec!["-u"], "TimeZone: Europe/Berlin", "exclude each other"),
    ] {
        let error = servsock(&args, file).unwrap_err().to_string();
        assert!(error.contains(sentence), "{args:?} {file}: {error}");
    }
}

/// After the keywords that FLoP's manual page lists.
#[test]
fn an_old_servsock_conf_runs_as_it_is() {
    let file = "# servsock.conf\nDBuser = snort\nDBpassword = ''\nDBname: \"snort\"\nDBtype: Postgres\n\
                DBencoding = hex\nDBTrust = 1\nUnixPriority = 2 # and 1\nFullPayload = 1\nReference = 1\n\
                TimeZone = UTC\nDaemonMode = 0\nDaemonDir = /\nUmask = 027\nSyslog = 1\nHighWater = 20000\n\
                LowWater = 19900\nPort = 1234\nAlertSocket = /tmp/alert\nSwapDir = /tmp";
    let config = servsock(&[], file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        config.db.to_string(),
        "postgresql://snort@/snort?host=/var/run/postgresql"
    );
    assert!(!config.db.has_password(), "an empty one is none");
    assert_eq!((config.priority, config.listen.port), (2, 1234));
    assert!(config.settings.full_payload && config.settings.reference && config.settings.trust);
    assert_eq!((config.water.high(), config.water.low()), (20_000, 19_900));
}

#[test]
fn a_dump_is_a_file_that_gives_the_same_dump_and_never_shows_a_password() {
    for file in [
        "",
        "DB: sqlite:/tmp/x.db\nHighWater: 20000",
        "DBname: b\nDBserver: h\nDBTrust: yes\nTimeZone: Europe/Berlin",
    ] {
        let dump = servsock(&[], file).unwrap().dump;
        assert_eq!(servsock(&[], &dump).unwrap().dump, dump, "{file}");
    }
    let dump = sockserv_with(&["-N", "s"], "").unwrap().dump;
    assert!(
        dump.contains("SensorName: s\n") && dump.contains("Control: /tmp/snort.ctrl\n"),
        "{dump}"
    );
    assert_eq!(sockserv_with(&[], &dump).unwrap().dump, dump);
    for args in [
        ["--db", "postgresql://u:sesame@h/d"],
        ["--db-password", "sesame"],
    ] {
        let dump = servsock(&args, "").unwrap().dump;
        assert!(!dump.contains("sesame"), "{dump}");
    }
}

#[test]
fn a_spool_is_wherever_it_is_wished_else_where_systemd_has_a_place_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = |args: &[&str], state: Option<&str>| {
        let in_force = in_force::<Sockserv>(&folder, args, "", SOCKSERV_KEYWORDS).unwrap();
        let surroundings = Surroundings {
            host_name: || Ok("host".to_owned()),
            state_directory: state.map(Into::into),
        };
        let config = Sockserv::validate(&in_force, surroundings).unwrap();
        config.spool.map(|spool| spool.dir.display().to_string())
    };
    assert_eq!(dir(&[], None), None);
    assert_eq!(dir(&[], Some("")), None);
    assert_eq!(
        dir(&[], Some("/var/lib/flop")).as_deref(),
        Some("/var/lib/flop/spool")
    );
    assert_eq!(dir(&[], Some("/a:/b")).as_deref(), Some("/a/spool"));
    assert_eq!(dir(&["--spool", "/c"], Some("/a")).as_deref(), Some("/c"));
    assert_eq!(dir(&["--spool", "off"], Some("/a")), None);
}

#[test]
fn compression_is_off_unless_the_line_or_the_file_wants_it() {
    for (args, file, wanted) in [
        (vec![], "", false),
        (vec!["--compress"], "", true),
        (vec![], "Compress: on", true),
        (vec![], "Compress = no", false),
        (vec!["--compress"], "Compress: off", true),
    ] {
        let config = sockserv_with(&args, file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.compress, wanted, "{args:?} {file}");
        let dumped = if wanted {
            "Compress: yes"
        } else {
            "Compress: no"
        };
        assert!(config.dump.contains(dumped), "{}", config.dump);
    }
}
