//! Reads the wanted values of any JSON, and says what is wrong with what is none.
//!
//! One visitor goes through objects and lists; which key it stands at decides what becomes of a value. What is not
//! wanted is skipped, but its depth is counted. A record whose `event_type` is neither `alert` nor `stats` is only
//! checked for being JSON from there on.

#![forbid(unsafe_code)]

use super::fields::{Fields, Key, Keys, Value};
use crate::ids::Refusal;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use std::borrow::Cow;
use std::fmt;

/// EVE's own records go five or six levels deep. Below the 128 at which `serde_json` gives up.
const DEPTH_MAX: u8 = 100;

/// Reads a whole record.
pub(super) fn read(record: &str) -> Result<Fields<'_>, Refusal> {
    let mut fields = Fields::default();
    let mut json = serde_json::Deserializer::from_str(record);
    Walk::over(&mut fields)
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| refusal(&error, record.len()))?;
    Ok(fields)
}

/// The visitor below has one error of its own: depth.
fn refusal(error: &serde_json::Error, bytes: usize) -> Refusal {
    match error.classify() {
        Category::Data => Refusal::TooDeep,
        Category::Eof => Refusal::Unfinished(bytes),
        Category::Syntax | Category::Io => Refusal::NotJson(error.column()),
    }
}

/// Where a value stands.
struct Walk<'f, 'a> {
    fields: &'f mut Fields<'a>,
    /// The wanted key in front of it.
    key: Option<Key>,
    /// What the keys are if it is an object.
    keys: Keys,
    depth: u8,
}

impl<'f, 'a> Walk<'f, 'a> {
    fn over(fields: &'f mut Fields<'a>) -> Walk<'f, 'a> {
        Walk {
            fields,
            key: None,
            keys: Key::of_record,
            depth: 0,
        }
    }

    fn inside<E: Error>(&mut self, key: Option<Key>) -> Result<Walk<'_, 'a>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("nested too deep"));
        }
        Ok(Walk {
            key,
            keys: Key::inside(key),
            depth: self.depth + 1,
            fields: self.fields,
        })
    }

    fn set<E>(self, value: Value<'a>) -> Result<(), E> {
        self.fields.set(self.key, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.set(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.key {
            Some(_) => self.set(Value::Text(Cow::Owned(text.to_owned()))),
            None => Ok(()),
        }
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.set(Value::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.set(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let key = Key::of_elements(self.key);
        while list.next_element_seed(self.inside(key)?)?.is_some() {}
        self.set(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key_seed(Name(self.keys))? {
            match name {
                Named::Wanted(key) => object.next_value_seed(self.inside(Some(key))?)?,
                Named::Text => drop(object.next_value::<IgnoredAny>()?),
                Named::Unwanted => object.next_value_seed(self.inside(None)?)?,
            }
            if self.depth == 0 && self.fields.is_other_record() {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        self.set(Value::Object)
    }
}

/// What a key's name means where it stands.
enum Named {
    Wanted(Key),
    /// Long, full of escapes, and the same as `payload`: not worth unescaping.
    Text,
    Unwanted,
}

struct Name(Keys);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        Ok(match (self.0)(name) {
            Some(key) => Named::Wanted(key),
            None if name == "payload_printable" => Named::Text,
            None => Named::Unwanted,
        })
    }
}
