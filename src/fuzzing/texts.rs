//! Short texts from outside: answers of mail servers and of daemons, records for `drop` and `alert`, addresses of databases
//! and their passwords.

#![forbid(unsafe_code)]

use super::{Input, check_sentence};
use crate::config;
use crate::dropped::{self, Told};
use crate::mail::batch::Batch;
use crate::mail::digest;
use crate::mail::smtp::answer::{self, Answer};
use crate::options::pgpass;
use crate::status::Report;
use crate::store::{Login, Url};
use crate::wire::StreamId;

/// Lines of one digest: a table of a hundred rules, and some for each.
const DIGEST_BYTES_MAX: usize = 1 << 20;

/// Which of them, then its bytes.
pub fn texts(bytes: &[u8]) {
    let mut input = Input(bytes);
    let check = [
        check_answer,
        check_records,
        check_report,
        check_url,
        check_passwords,
        check_words,
    ];
    check[usize::from(input.byte()) % check.len()](input.0);
}

/// A mail server's answer, line by line.
fn check_answer(bytes: &[u8]) {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let read = Answer::read(|| {
        let line = lines.next().ok_or_else(|| "closed".to_owned())?;
        answer::Line::read(line).ok_or_else(|| "no SMTP".to_owned())
    });
    match read {
        Ok(answer) => {
            assert!((200..600).contains(&answer.code));
            assert!((2..=5).contains(&answer.class()));
            assert!((1..=answer::LINES_MAX).contains(&answer.texts.len()));
            assert!(answer.texts.iter().all(|text| !text.ends_with('\n')));
        }
        Err(reason) => check_sentence(&reason),
    }
}

/// Datagrams for `drop`, one in each line, and the mail that they become.
fn check_records(bytes: &[u8]) {
    let mut batch = Batch::new(2);
    for datagram in bytes.split(|byte| *byte == b'\n') {
        match dropped::read(datagram) {
            Ok(told) => {
                let json = match &told {
                    Told::Alert(record) => record.json(),
                    Told::Summary(summary) => summary.json(),
                };
                assert_eq!(dropped::read(json.as_bytes()).as_ref(), Ok(&told));
                batch.add(told);
            }
            // It may quote a text of the record.
            Err(unreadable) => {
                let reason = unreadable.to_string();
                assert!(!reason.is_empty() && !reason.contains(char::is_control));
            }
        }
    }
    let alerts = batch.alerts();
    check_digest(&batch);
    assert_eq!(Batch::restore(2, batch.save()).alerts(), alerts);
}

/// A mail has no line or header that a record put there.
pub(super) fn check_digest(batch: &Batch) {
    let digest = digest::write(batch, "drop", "host", 2, &mut |name| name.to_owned());
    check_sentence(&digest.subject);
    assert!(digest.body.len() <= DIGEST_BYTES_MAX);
    let mut lines = digest.body.lines();
    assert!(lines.all(|line| !line.contains(char::is_control)));
}

/// What a daemon answers to `--status`.
fn check_report(bytes: &[u8]) {
    let Ok(report) = serde_json::from_slice::<Report>(bytes) else {
        return;
    };
    for table in [report.table(), report.sensors_table()] {
        assert_eq!(table.lines().count(), report.sensors.len() + 1);
        assert!(table.lines().all(|line| !line.contains(char::is_control)));
    }
    report.attention().iter().for_each(|it| check_sentence(it));
    let mut again: Report = serde_json::from_str(&report.json()).expect("it was just written");
    // A fraction may lose its last bit.
    for (sensor, before) in again.sensors.iter_mut().zip(&report.sensors) {
        sensor.rate = before.rate;
    }
    assert_eq!(again, report);
}

/// A database's address; it goes to the workers as text.
fn check_url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return; // No argument, and no file, is anything else.
    };
    match Url::parse(text) {
        Ok(mut url) => {
            assert_eq!(Url::parse(&url.with_password()).as_ref(), Ok(&url));
            if url.has_password() {
                let shown = url.to_string();
                url.set_password("another".to_owned());
                assert_eq!(url.to_string(), shown, "the password is shown");
            }
        }
        Err(reason) => check_sentence(&reason),
    }
}

/// A file of passwords: one is found in its line, or none.
fn check_passwords(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let login = Login {
        host: "db",
        port: 5432,
        dbname: "snort",
        user: "s:n".to_owned(),
    };
    if let Some(password) = pgpass::password(&text, &login) {
        assert!(!password.is_empty() && !password.contains('\n'));
        let again = format!("db:5432:snort:s\\:n:{}", password.replace('\\', "\\\\"));
        assert_eq!(pgpass::password(&again, &login), Some(password));
    }
}

/// Single words of command lines and file names.
fn check_words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(stream) = StreamId::parse(&text) {
        assert_eq!(stream.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(port) = config::port(&text) {
        assert_ne!(port, 0);
    }
    if let Ok(size) = config::size(&text, 1, 1 << 40) {
        assert!((1..=1 << 40).contains(&size));
    }
}
