//! A digest -> the bytes of a mail.

#![forbid(unsafe_code)]

use super::super::digest::Digest;
use super::super::options::MailConfig;
use lettre::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// RFC 3834: no vacation program shall answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn StdError + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The mail. Beyond addresses it is ASCII in short lines.
///
/// # Errors
///
/// It cannot be written, as lettre says.
pub(super) fn write(
    config: &MailConfig,
    recipients: &[&Address],
    digest: &Digest,
) -> Result<Vec<u8>, String> {
    let mut mail = Message::builder()
        .from(Mailbox::new(None, config.sender.clone()))
        .subject(digest.subject.as_str())
        .message_id(Some(message_id(&config.domain)))
        .date_now()
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for recipient in recipients {
        mail = mail.to(Mailbox::new(None, (*recipient).clone()));
    }
    let mail = mail.body(digest.body.clone());
    Ok(mail
        .map_err(|error| format!("cannot write the mail: {error}"))?
        .formatted())
}

/// Unlike any other mail's: time, process, number.
fn message_id(domain: &str) -> String {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    format!(
        "<{}.{}.{number}@{domain}>",
        now.as_micros(),
        std::process::id()
    )
}
