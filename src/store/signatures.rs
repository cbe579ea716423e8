//! Which row of `signature` an alert belongs to, and a cache of these answers.
//!
//! Invariants: the cache holds at most `2 * GENERATION_ENTRIES` answers with `2 * GENERATION_TEXT_BYTES` of text, so an
//! attacker with ever new messages cannot fill the memory; an answer gets in only after the transaction that made
//! the row was committed.

#![forbid(unsafe_code)]

use super::Batch;
use super::rows::text;
use crate::alert::Alert;
use std::borrow::Cow;
use std::collections::HashMap;

/// What makes a signature that one and no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Signature<'a> {
    pub(super) gid: u32,
    pub(super) sid: u32,
    pub(super) rev: u32,
    pub(super) priority: u32,
    /// As it is stored.
    pub(super) message: Cow<'a, str>,
    /// The class's name; empty where the IDS does not tell it, and then any class will do.
    pub(super) class: Cow<'a, str>,
}

impl<'a> Signature<'a> {
    /// As a database with these limits would store it.
    pub(super) fn of(alert: &'a Alert<'_>, limits: Limits) -> Self {
        let message = match alert.message_text() {
            Cow::Borrowed(message) => text(message),
            Cow::Owned(message) => text(&message).into_owned().into(),
        };
        Signature {
            gid: alert.gid,
            sid: alert.sid,
            rev: alert.rev,
            priority: alert.priority,
            message: limits.fit(message),
            class: limits.fit(text(&alert.class_name)),
        }
    }

    pub(super) fn into_owned(self) -> Signature<'static> {
        Signature {
            message: self.message.into_owned().into(),
            class: self.class.into_owned().into(),
            ..self
        }
    }
}

/// Places for alerts that are looked at again; alerts of more signatures share them.
pub(super) const SLOTS: usize = 256;

/// The signatures of a batch, of a flood each once, and for each alert which of them it has. Alerts are compared as they
/// came, which is a tenth of the work of making a signature and looking it up.
pub(super) fn distinct<'b>(
    batch: &'b Batch<'_>,
    limits: Limits,
) -> (Vec<Signature<'b>>, Vec<usize>) {
    let (mut signatures, mut numbers) = (Vec::new(), Vec::with_capacity(batch.items.len()));
    let mut slots: [Option<(&Alert<'_>, usize)>; SLOTS] = [None; SLOTS];
    for alert in batch.alerts() {
        let slot = &mut slots[alert.sid as usize % SLOTS];
        let number = match *slot {
            Some((former, number)) if has_same_signature(former, alert) => number,
            _ => {
                signatures.push(Signature::of(alert, limits));
                signatures.len() - 1
            }
        };
        *slot = Some((alert, number));
        numbers.push(number);
    }
    (signatures, numbers)
}

fn has_same_signature(one: &Alert<'_>, other: &Alert<'_>) -> bool {
    (one.gid, one.sid, one.rev, one.priority) == (other.gid, other.sid, other.rev, other.priority)
        && one.message == other.message
        && one.class_name == other.class_name
}

/// What a database's text column can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// `n` of `varchar(n)`.
    pub(super) chars: Option<usize>,
    /// The database's encoding is an old one, which has no U+FFFD.
    pub(super) ascii_only: bool,
}

impl Limits {
    /// The text, as much of it as fits.
    pub(super) fn fit(self, mut text: Cow<'_, str>) -> Cow<'_, str> {
        if self.ascii_only && !text.is_ascii() {
            text = text.replace(|char: char| !char.is_ascii(), "?").into();
        }
        match self.chars.and_then(|chars| text.char_indices().nth(chars)) {
            None => text,
            Some((end, _)) => match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            },
        }
    }
}

const GENERATION_ENTRIES: usize = 32_768;
const GENERATION_TEXT_BYTES: usize = 4 << 20;

/// Signature -> `sig_id`. Two generations: when the young one is full it becomes the old one, and the old one, as far
/// as it was not asked for since, is forgotten.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<Signature<'static>, i64>,
    young_text_bytes: usize,
    old: HashMap<Signature<'static>, i64>,
}

impl Cache {
    pub(super) fn get(&mut self, signature: &Signature<'_>) -> Option<i64> {
        if let Some(&id) = lookup(&self.young, signature) {
            return Some(id);
        }
        let id = *lookup(&self.old, signature)?;
        self.put(signature.clone().into_owned(), id);
        Some(id)
    }

    pub(super) fn put(&mut self, signature: Signature<'static>, id: i64) {
        let text_bytes = signature.message.len() + signature.class.len();
        if self.young.len() >= GENERATION_ENTRIES
            || self.young_text_bytes + text_bytes > GENERATION_TEXT_BYTES
        {
            self.old = std::mem::take(&mut self.young);
            self.young_text_bytes = 0;
        }
        self.young_text_bytes += text_bytes;
        self.young.insert(signature, id);
    }

    pub(super) fn clear(&mut self) {
        *self = Cache::default();
    }
}

/// A map of owned keys is one of borrowed keys, too: so no key is copied for a question.
fn lookup<'m, 'a>(map: &'m HashMap<Signature<'a>, i64>, key: &Signature<'a>) -> Option<&'m i64> {
    map.get(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(sid: u32, message: &str) -> Signature<'_> {
        Signature {
            gid: 1,
            sid,
            rev: 1,
            priority: 1,
            message: message.into(),
            class: "".into(),
        }
    }

    #[test]
    fn a_flood_of_new_messages_does_not_grow_the_cache_and_what_is_asked_for_stays() {
        let mut cache = Cache::default();
        cache.put(signature(0, "hot").into_owned(), 7);
        let long = "x".repeat(2_400);
        for sid in 1..=200_000 {
            cache.put(
                signature(sid, if sid % 2 == 0 { &long } else { "" }).into_owned(),
                1,
            );
            assert_eq!(cache.get(&signature(0, "hot")), Some(7));
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION_ENTRIES);
        let bytes: usize = cache
            .young
            .keys()
            .chain(cache.old.keys())
            .map(|key| key.message.len())
            .sum();
        assert!(bytes <= 2 * GENERATION_TEXT_BYTES);
        assert_eq!(cache.get(&signature(1, "")), None);
    }

    #[test]
    fn a_text_is_cut_by_characters_not_bytes() {
        let limits = |chars| Limits {
            chars,
            ascii_only: false,
        };
        assert_eq!(limits(Some(2)).fit("äöü".into()), "äö");
        assert_eq!(limits(Some(3)).fit("äöü".into()), "äöü");
        assert_eq!(limits(Some(0)).fit(String::from("äöü").into()), "");
        assert_eq!(limits(None).fit("äöü".into()), "äöü");
        let ascii = Limits {
            chars: Some(4),
            ascii_only: true,
        };
        assert_eq!(ascii.fit("aä\u{fffd}bc".into()), "a??b");
    }
}
