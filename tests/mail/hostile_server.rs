//! Servers that want to keep the alerts to themselves, or to bring the program down: they lie before TLS begins, and
//! never end what they say.

use crate::program::{Program, record, wait_for};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A server that deals with each connection as `serve` does. An error there: the client is gone.
fn start(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A certificate of localhost, and the server's side of TLS with it.
struct Certificate {
    folder: tempfile::TempDir,
    config: Arc<ServerConfig>,
}

impl Certificate {
    fn new() -> Certificate {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key));
        Certificate {
            folder,
            config: Arc::new(config.unwrap()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }
}

fn args<'a>(port: &'a str, more: &'a str) -> Vec<&'a str> {
    let args = "-S localhost -r root -d x -L 1 -M 1 --mail-timeout 1 --drain 1";
    let all = args.split(' ').chain(more.split_ascii_whitespace());
    all.chain(["-p", port]).collect()
}

#[test]
fn answers_in_clear_behind_starttls_are_no_answers() {
    let certificate = Certificate::new();
    let config = Arc::clone(&certificate.config);
    let inside: Arc<Mutex<Vec<u8>>> = Arc::default();
    let heard = Arc::clone(&inside);
    let port = start(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 hi\r\n").ok()?;
        lines.next()?.ok()?;
        stream.write_all(b"250-x\r\n250 STARTTLS\r\n").ok()?;
        lines.next()?.ok()?;
        let answers = "220 go\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n";
        stream.write_all(answers.as_bytes()).ok()?;
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = StreamOwned::new(session, stream);
        let mut buffer = [0; 1000];
        while let Ok(bytes @ 1..) = tls.read(&mut buffer) {
            heard.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        }
        None
    });
    let more = format!("--tls starttls --ca-file {}", certificate.path().display());
    let mut drop = Program::start("drop", &args(&port, &more));
    drop.send(&record(7, 1, "first"));
    let said = drop.wait_until_it_says("\"message\":\"first\"");
    assert!(
        said.contains("it sent more behind its answer to STARTTLS"),
        "{said}"
    );
    assert_eq!(drop.stop(), 0);
    assert!(!drop.said().contains("told 1 alert"), "{}", drop.said());
    assert!(inside.lock().unwrap().is_empty());
}

#[test]
fn a_server_without_starttls_gets_nothing_in_clear() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let port = start(move |mut stream| {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 hi\r\n").ok()?;
        for line in lines {
            hears.lock().unwrap().push(line.ok()?);
            stream.write_all(b"250-x\r\n250 AUTH PLAIN\r\n").ok()?;
        }
        None
    });
    let mut alert = Program::start("alert", &args(&port, "--tls starttls"));
    alert.send(&record(7, 1, "first"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    alert.wait_until_it_says("it does not offer STARTTLS, and nothing is to be sent in clear");
    assert_eq!(*heard.lock().unwrap(), ["EHLO x"]);
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let port = start(|mut stream| {
        let bytes = vec![b'2'; 1 << 20];
        loop {
            stream.write_all(&bytes).ok()?;
        }
    });
    let mut drop = Program::start("drop", &args(&port, ""));
    drop.send(&record(7, 1, "first"));
    let said = wait_for("end of the try", || {
        let kib = drop.memory_kib();
        assert!(kib < 100 << 10, "{kib} KiB");
        Some(drop.said()).filter(|said| said.contains("\"message\":\"first\""))
    });
    assert!(
        said.contains("a line of its answer has more than 1000 bytes"),
        "{said}"
    );
    assert_eq!(drop.stop(), 0);
}

#[test]
fn lines_without_an_end_are_no_answer() {
    let port = start(|mut stream| {
        loop {
            stream.write_all(b"220-go on\r\n").ok()?;
        }
    });
    let drop = Program::start("drop", &args(&port, ""));
    drop.send(&record(7, 1, "first"));
    drop.wait_until_it_says("its answer has more than 100 lines");
    drop.wait_until_it_says("\"message\":\"first\"");
}

#[test]
fn an_answer_that_trickles_in_is_none() {
    let port = start(|mut stream| {
        loop {
            stream.write_all(b"2").ok()?;
            thread::sleep(Duration::from_millis(300));
        }
    });
    let mut alert = Program::start("alert", &args(&port, ""));
    let begun = Instant::now();
    alert.send(&record(7, 1, "first"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(20));
    alert.wait_until_it_says("no answer within 1 s");
}

#[test]
fn a_handshake_that_trickles_in_is_none() {
    let certificate = Certificate::new();
    let port = start(|mut stream| {
        // A TLS record of 16384 bytes, a handshake message.
        for byte in [22, 3, 3, 64, 0].into_iter().chain(std::iter::repeat(0)) {
            stream.write_all(&[byte]).ok()?;
            thread::sleep(Duration::from_millis(300));
        }
        None
    });
    let more = format!("--tls tls --ca-file {}", certificate.path().display());
    let mut alert = Program::start("alert", &args(&port, &more));
    alert.send(&record(7, 1, "first"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    alert.wait_until_it_says("no answer within 1 s");
}

#[test]
fn a_try_ends_also_when_each_answer_comes_in_time() {
    let port = start(|mut stream| {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 hi\r\n").ok()?;
        for line in lines {
            line.ok()?;
            thread::sleep(Duration::from_millis(600));
            stream.write_all(b"250 ok\r\n").ok()?;
        }
        None
    });
    let recipients = "-r a ".repeat(100);
    let mut alert = Program::start("alert", &args(&port, &recipients));
    let begun = Instant::now();
    alert.send(&record(7, 1, "first"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(25));
    alert.wait_until_it_says("the try took longer than 10 s, 10 times --mail-timeout");
}

#[test]
fn a_server_that_does_not_read_the_mail_ends_the_try() {
    let port = start(|mut stream| {
        socket2::SockRef::from(&stream)
            .set_recv_buffer_size(4096)
            .ok()?;
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"220 hi\r\n").ok()?;
        while lines.next()?.ok()? != "DATA" {
            stream.write_all(b"250 ok\r\n").ok()?;
        }
        stream.write_all(b"354 go on\r\n").ok()?;
        thread::park(); // While the kernel takes some megabytes for it.
        None
    });
    let args = "-S localhost -r root -d x -L 12000 -M 1 --mail-timeout 1 --listed 12000 --max-waiting 12000 --drain 1 -p";
    let args: Vec<&str> = args.split(' ').chain([port.as_str()]).collect();
    let mut alert = Program::start("alert", &args);
    (0..12000).for_each(|n| alert.send(&record(n, 1, &"\u{fc}".repeat(160))));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    alert.wait_until_it_says("no answer within 1 s");
}

#[test]
fn what_is_no_smtp_is_shown_in_harmless_letters() {
    let port = start(|mut stream| stream.write_all(b"SSH-2.0-\x1b[2J\r\n").ok());
    let drop = Program::start("drop", &args(&port, ""));
    drop.send(&record(7, 1, "first"));
    let said = drop.wait_until_it_says("its answer is no SMTP: SSH-2.0-");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_login_is_made_as_the_server_offers_it_and_its_password_never_told() {
    for (offer, way) in [
        ("AUTH LOGIN CRAM-MD5", "AUTH LOGIN"),
        ("auth plain login", "AUTH PLAIN"),
    ] {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let port = start(move |mut stream| {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 hi\r\n").ok()?;
            for line in lines {
                let line = line.ok()?;
                let answer = match line.as_str() {
                    "EHLO x" => format!("250-x\r\n250 {offer}"),
                    "AUTH LOGIN" | "dXNlcg==" => "334 VXNlcm5hbWU6".to_owned(),
                    // The password as it came, and in clear.
                    _ => format!("535 not {line}, not sesame"),
                };
                hears.lock().unwrap().push(line);
                stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
            }
            None
        });
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "sesame\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let more = format!(
            "--user user -V all,9 --password-file {}",
            password.display()
        );
        let mut alert = Program::start("alert", &args(&port, &more));
        alert.send(&record(7, 1, "first"));
        assert_eq!(alert.wait_until_it_ends().code(), Some(1));
        let said = alert.wait_until_it_says("(password), not (password)");
        for secret in ["sesame", "c2VzYW1l", "AHVzZXIAc2VzYW1l"] {
            assert!(!said.contains(secret), "{said}");
        }
        assert!(heard.lock().unwrap()[1].starts_with(way), "{heard:?}");
    }
}

#[test]
fn a_server_without_a_login_that_we_know_is_told() {
    let port = start(|mut stream| {
        stream.write_all(b"220 hi\r\n250 AUTH CRAM-MD5\r\n").ok()?;
        BufReader::new(stream).lines().for_each(|_| {});
        None
    });
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "sesame\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!("--user user --password-file {}", password.display());
    let alert = Program::start("alert", &args(&port, &more));
    alert.send(&record(7, 1, "first"));
    alert.wait_until_it_says("it offers no login by PLAIN or LOGIN");
}

#[test]
fn an_address_beyond_ascii_goes_where_the_server_offers_it() {
    for (offer, refused) in [("SMTPUTF8", false), ("SIZE", true)] {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let port = start(move |mut stream| {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 hi\r\n").ok()?;
            let mut in_mail = false;
            for line in lines {
                let line = line.ok()?;
                let answer = match (line.as_str(), in_mail) {
                    ("EHLO x", _) => format!("250-x\r\n250 {offer}\r\n"),
                    ("DATA", _) => "354 go on\r\n".to_owned(),
                    (".", _) | (_, false) => "250 ok\r\n".to_owned(),
                    (_, true) => String::new(),
                };
                in_mail = line != "." && (in_mail || line == "DATA");
                hears.lock().unwrap().push(line);
                stream.write_all(answer.as_bytes()).ok()?;
            }
            None
        });
        let drop = Program::start("drop", &args(&port, "-r j\u{f6}rg@x"));
        drop.send(&record(7, 1, "first"));
        drop.wait_until_it_says("told 1 alert");
        let heard = heard.lock().unwrap();
        let utf8 = if refused { "" } else { " SMTPUTF8" };
        assert!(
            heard.contains(&format!("MAIL FROM:<drop@x>{utf8}")),
            "{heard:?}"
        );
        assert_eq!(
            heard.contains(&"RCPT TO:<j\u{f6}rg@x>".to_owned()),
            !refused
        );
        assert_eq!(
            heard.iter().all(|line| line.is_ascii()),
            refused,
            "{heard:?}"
        );
        let said = drop.said();
        assert_eq!(said.contains("does not offer SMTPUTF8"), refused, "{said}");
    }
}
