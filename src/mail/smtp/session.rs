//! The conversation with a mail server (RFC 5321), command by command.

#![forbid(unsafe_code)]

use super::answer::Answer;
use super::connection::{Connection, Failure};
use super::tls::Tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// The mail is taken or refused by then: who does not answer a farewell is left alone.
const FAREWELL: Duration = Duration::from_secs(2);

/// A user and his password. Never to be printed, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// A server that has greeted us.
pub(super) struct Session {
    connection: Connection,
    /// Lines of the answer to EHLO, in capitals.
    offers: Vec<String>,
}

impl Session {
    /// Takes the greeting, and greets.
    ///
    /// # Errors
    ///
    /// As `Failure`.
    pub(super) fn begin(mut connection: Connection, domain: &str) -> Result<Session, Failure> {
        expect(2, connection.hear()?)?;
        Session::greet(connection, domain)
    }

    fn greet(mut connection: Connection, domain: &str) -> Result<Session, Failure> {
        let answer = expect(2, connection.ask(&format!("EHLO {domain}"))?)?;
        let offers = answer.texts.iter().skip(1); // The first is the server's name.
        Ok(Session {
            offers: offers.map(|line| line.to_ascii_uppercase()).collect(),
            connection,
        })
    }

    /// Encrypts the connection. What the server said in clear is forgotten, for anybody may have said it.
    ///
    /// # Errors
    ///
    /// The server does not offer it, or as `Failure`.
    pub(super) fn starttls(mut self, tls: &Tls, domain: &str) -> Result<Session, Failure> {
        if !self.offers("STARTTLS") {
            return Err(Failure::Refused(
                "it does not offer STARTTLS, and nothing is to be sent in clear".to_owned(),
            ));
        }
        self.ask("STARTTLS")?;
        Session::greet(self.connection.encrypt(tls)?, domain)
    }

    /// Whether the server knows an extension.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.words_of(extension).is_some()
    }

    fn words_of(&self, extension: &str) -> Option<impl Iterator<Item = &str>> {
        self.offers.iter().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some(extension)).then_some(words)
        })
    }

    /// Logs in, in a way that the server offers.
    ///
    /// # Errors
    ///
    /// As `Failure`; without the password, should the server repeat it.
    pub(super) fn log_in(&mut self, who: &Credentials) -> Result<(), Failure> {
        let offered: Vec<&str> = self.words_of("AUTH").into_iter().flatten().collect();
        let (plain, login) = (offered.contains(&"PLAIN"), offered.contains(&"LOGIN"));
        let result = match (plain, login) {
            (true, _) => self.log_in_plain(who),
            (false, true) => self.log_in_login(who),
            (false, false) => Err(Failure::Refused(
                "it offers no login by PLAIN or LOGIN".to_owned(),
            )),
        };
        result.map_err(|failure| who.hidden_in(failure))
    }

    /// RFC 4616.
    fn log_in_plain(&mut self, who: &Credentials) -> Result<(), Failure> {
        self.ask(&format!("AUTH PLAIN {}", who.plain()))
    }

    /// Never a standard, but what some servers have.
    fn log_in_login(&mut self, who: &Credentials) -> Result<(), Failure> {
        expect(3, self.connection.ask("AUTH LOGIN")?)?;
        expect(3, self.connection.ask(&STANDARD.encode(&who.user))?)?;
        self.ask(&STANDARD.encode(&who.password))
    }

    /// Begins a mail. `utf8`: addresses are not all ASCII (RFC 6531).
    ///
    /// # Errors
    ///
    /// As `Failure`.
    pub(super) fn mail_from(&mut self, sender: &str, utf8: bool) -> Result<(), Failure> {
        let more = if utf8 { " SMTPUTF8" } else { "" };
        self.ask(&format!("MAIL FROM:<{sender}>{more}"))
    }

    /// Names a recipient; refused, the others are not.
    ///
    /// # Errors
    ///
    /// As `Failure`.
    pub(super) fn recipient(&mut self, address: &str) -> Result<(), Failure> {
        self.ask(&format!("RCPT TO:<{address}>"))
    }

    /// Sends the mail.
    ///
    /// # Errors
    ///
    /// As `Failure`.
    pub(super) fn data(&mut self, mail: &[u8]) -> Result<(), Failure> {
        expect(3, self.connection.ask("DATA")?)?;
        self.connection.send(&dotted(mail))?;
        expect(2, self.connection.hear()?).map(drop)
    }

    /// Ends the conversation.
    pub(super) fn quit(self) {
        self.connection.quit(FAREWELL);
    }

    fn ask(&mut self, command: &str) -> Result<(), Failure> {
        expect(2, self.connection.ask(command)?).map(drop)
    }
}

impl Credentials {
    fn plain(&self) -> String {
        STANDARD.encode(format!("\0{}\0{}", self.user, self.password))
    }

    /// The failure in words that show no password.
    fn hidden_in(&self, failure: Failure) -> Failure {
        let secrets = [
            self.plain(),
            STANDARD.encode(&self.password),
            self.password.clone(),
        ];
        let hidden = |text: String| {
            let hide = |text: String, secret: &String| text.replace(secret, "(password)");
            secrets.iter().fold(text, hide)
        };
        match failure {
            Failure::Refused(text) => Failure::Refused(hidden(text)),
            Failure::Broken(text) => Failure::Broken(hidden(text)),
        }
    }
}

fn expect(class: u16, answer: Answer) -> Result<Answer, Failure> {
    match answer.class() == class {
        true => Ok(answer),
        false => Err(Failure::Refused(answer.text())),
    }
}

/// The mail as it goes over the line, with its end: each line ends with CR LF, and one that begins with a dot has another
/// before it, so that no line of the mail is taken for its end.
fn dotted(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 32 + 5);
    let mut rest = mail;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = match behind {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] | rest => rest,
        };
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_mail_is_its_end() {
        for (mail, sent) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("..\r\n\r\n", "...\r\n\r\n.\r\n"),
            ("a\n\r.\r\r\n", "a\r\n\r\n..\r\n\r\n.\r\n"),
        ] {
            let out = String::from_utf8(dotted(mail.as_bytes())).unwrap();
            assert_eq!(out, sent, "{mail:?}");
        }
    }

    #[test]
    fn a_password_that_the_server_repeats_is_hidden() {
        let who = Credentials {
            user: "user".to_owned(),
            password: "sesame".to_owned(),
        };
        for repeated in ["sesame".to_owned(), STANDARD.encode("sesame"), who.plain()] {
            let answer = Failure::Refused(format!("answered 535 no {repeated} here"));
            let shown = Failure::Refused("answered 535 no (password) here".to_owned());
            assert_eq!(who.hidden_in(answer), shown);
        }
    }
}
