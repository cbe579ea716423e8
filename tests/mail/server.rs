//! The real SMTP server: aiosmtpd (Debian's python3-aiosmtpd).

use crate::program::wait_for;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running server, gone with its folder.
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

/// A mail as the server got it.
pub(crate) struct Mail {
    /// What SMTP said about it.
    pub(crate) envelope: serde_json::Value,
    /// Header lines, unfolded.
    pub(crate) header: Vec<String>,
    /// As it came, before any decoding.
    pub(crate) raw: String,
    /// Decoded.
    pub(crate) body: String,
}

/// Debian's own python has Debian's packages, also where another one comes first.
fn python() -> &'static str {
    let has_it = |python: &&&str| {
        let mut command = Command::new(python);
        command
            .args(["-c", "import aiosmtpd"])
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let known = ["/usr/bin/python3", "python3"];
    known
        .iter()
        .find(has_it)
        .expect("the mail tests want an SMTP server: apt-get install python3-aiosmtpd")
}

impl Server {
    /// Starts one; `how` of `tls`, `starttls`, `login`.
    pub(crate) fn start(how: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(
            folder.path().join("key.pem"),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/smtpd.py");
        let child = Command::new(python())
            .args(["-W", "ignore", program])
            .arg(folder.path())
            .args(how)
            .stderr(Stdio::null()) // It tells each refused handshake at length.
            .spawn()
            .unwrap();
        let port = wait_for("port of the SMTP server", || {
            fs::read_to_string(folder.path().join("port")).ok()
        });
        Server {
            child,
            port: port.parse().unwrap(),
            folder,
        }
    }

    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// How many mails came.
    pub(crate) fn mails(&self) -> usize {
        let is_there = |n: &usize| self.folder.path().join(format!("mail-{n}")).exists();
        (0..).take_while(is_there).count()
    }

    /// The mail of this number, once it is there.
    pub(crate) fn mail(&self, number: usize) -> Mail {
        let path = self.folder.path().join(format!("mail-{number}"));
        let bytes = wait_for("mail", || fs::read(&path).ok());
        let text = String::from_utf8(bytes).unwrap();
        let (envelope, raw) = text.split_once("\n\n").unwrap();
        let (header, body) = raw.split_once("\r\n\r\n").unwrap();
        let header = header.replace("\r\n ", " ");
        let header: Vec<String> = header.split("\r\n").map(str::to_owned).collect();
        Mail {
            envelope: serde_json::from_str(envelope).unwrap(),
            body: decoded(&header, body),
            header,
            raw: raw.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mail {
    /// A header line's value; it must be there once.
    pub(crate) fn field(&self, name: &str) -> &str {
        let fields = self.header.iter().filter_map(|line| line.split_once(": "));
        let values: Vec<&str> = fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        assert_eq!(values.len(), 1, "{name} in {:?}", self.header);
        values[0]
    }
}

fn decoded(header: &[String], body: &str) -> String {
    use base64::Engine;
    let encoding = header
        .iter()
        .find_map(|line| line.strip_prefix("Content-Transfer-Encoding: "));
    let text = match encoding {
        Some("base64") => {
            let digits = body.replace("\r\n", "");
            let bytes = base64::engine::general_purpose::STANDARD.decode(digits);
            String::from_utf8(bytes.unwrap()).unwrap()
        }
        Some("quoted-printable") => {
            let mut bytes = Vec::new();
            let joined = body.replace("=\r\n", "");
            let mut rest = joined.as_bytes();
            while let Some((byte, behind)) = rest.split_first() {
                rest = behind;
                if *byte == b'=' {
                    let (digits, behind) = rest.split_at(2);
                    let digits = std::str::from_utf8(digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = behind;
                } else {
                    bytes.push(*byte);
                }
            }
            String::from_utf8(bytes).unwrap()
        }
        _ => body.to_owned(),
    };
    text.replace("\r\n", "\n")
}
