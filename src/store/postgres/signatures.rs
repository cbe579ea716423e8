//! Alerts -> the ids of their rows in `signature`, which are made where there are none.

#![forbid(unsafe_code)]

use super::super::signatures::{Cache, Signature, distinct};
use super::super::{Batch, Settings};
use super::client::{Client, Error, Transaction};
use super::{Failure, Session};
use ::postgres::Statement;
use std::collections::HashMap;

/// Held while a row in `signature` or `sig_class` is made ("flop", "sign").
const SIGNATURE_LOCK: i64 = 0x666c_6f70_7369_676e;

pub(super) const FIND_SIGNATURE: &str = "SELECT sig_id::int8 FROM signature
    WHERE sig_name = $1::text AND sig_sid = $2::int8 AND coalesce(sig_gid, 1) = $3::int8
      AND coalesce(sig_rev, 0) = $4::int8 AND coalesce(sig_priority, 0) = $5::int8
      AND ($6::text = ''
           OR sig_class_id IN (SELECT sig_class_id FROM sig_class WHERE sig_class_name = $6::text))
    ORDER BY sig_id LIMIT 1";

pub(super) const COUNT_SIGNATURES: &str =
    "SELECT count(DISTINCT sig_id) FROM signature WHERE sig_id = ANY($1::int8[])";

const MAKE_SIGNATURE: &str = "INSERT INTO signature
    (sig_name, sig_sid, sig_gid, sig_rev, sig_priority, sig_class_id)
    VALUES ($1::text, $2::int8, $3::int8, $4::int8, $5::int8, $6::int8) RETURNING sig_id::int8";

/// The ids of a batch's signatures.
pub(super) struct Ids {
    /// One for each alert.
    pub(super) ids: Vec<i64>,
    /// Those of which the cache alone says that their rows are there, each once; none where it is trusted.
    pub(super) cached: Vec<i64>,
}

impl Session {
    pub(super) fn signature_ids(
        &self,
        cache: &mut Cache,
        settings: &Settings,
        batch: &Batch<'_>,
    ) -> Result<Ids, Failure> {
        let (signatures, numbers) = distinct(batch, self.message_limits);
        let mut ids: Vec<Option<i64>> = signatures
            .iter()
            .map(|signature| cache.get(signature))
            .collect();
        let mut cached = Vec::new();
        if !settings.trust {
            cached.extend(ids.iter().flatten());
            cached.sort_unstable();
            cached.dedup();
        }
        if ids.contains(&None) {
            let missing = signatures.iter().zip(&ids).filter(|(_, id)| id.is_none());
            let found = self.find_or_make(missing.map(|(signature, _)| signature))?;
            for (id, signature) in ids.iter_mut().zip(&signatures) {
                *id = id.or_else(|| found.get(signature).copied());
            }
            for (signature, id) in found {
                cache.put(signature.into_owned(), id);
            }
        }
        let ids = numbers
            .into_iter()
            .map(|number| ids[number].expect("each missing one was found or made"))
            .collect();
        Ok(Ids { ids, cached })
    }

    /// The ids of signatures which the cache does not know. What this makes is committed when it returns.
    fn find_or_make<'s, 'a: 's>(
        &self,
        signatures: impl Iterator<Item = &'s Signature<'a>>,
    ) -> Result<HashMap<Signature<'a>, i64>, Failure> {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        for signature in signatures {
            if found.contains_key(signature) {
                continue;
            }
            match find_signature(&self.client, &self.statements.find_signature, signature)? {
                Some(id) => {
                    found.insert(signature.clone(), id);
                }
                None => unknown.push(signature),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let transaction = self.client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SIGNATURE_LOCK])?;
        for signature in unknown {
            let known = find_signature(&transaction, &self.statements.find_signature, signature)?;
            let id = match known {
                Some(id) => id,
                None => make_signature(&transaction, signature)?,
            };
            found.insert(signature.clone(), id);
        }
        transaction.commit()?;
        Ok(found)
    }
}

fn find_signature(
    client: &Client,
    statement: &Statement,
    wanted: &Signature<'_>,
) -> Result<Option<i64>, Error> {
    let row = client.query_opt(
        statement,
        &[
            &wanted.message,
            &i64::from(wanted.sid),
            &i64::from(wanted.gid),
            &i64::from(wanted.rev),
            &i64::from(wanted.priority),
            &wanted.class,
        ],
    )?;
    Ok(row.map(|row| row.get(0)))
}

fn make_signature(transaction: &Transaction<'_>, wanted: &Signature<'_>) -> Result<i64, Error> {
    let class = if wanted.class.is_empty() {
        0
    } else {
        class_row(transaction, &wanted.class)?
    };
    let row = transaction.query_one(
        MAKE_SIGNATURE,
        &[
            &wanted.message,
            &i64::from(wanted.sid),
            &i64::from(wanted.gid),
            &i64::from(wanted.rev),
            &i64::from(wanted.priority),
            &class,
        ],
    )?;
    Ok(row.get(0))
}

fn class_row(transaction: &Transaction<'_>, name: &str) -> Result<i64, Error> {
    let found: Option<i64> = transaction
        .query_one(
            "SELECT min(sig_class_id)::int8 FROM sig_class WHERE sig_class_name = $1::text",
            &[&name],
        )?
        .get(0);
    match found {
        Some(id) => Ok(id),
        None => transaction
            .query_one(
                "INSERT INTO sig_class (sig_class_name) VALUES ($1::text) RETURNING sig_class_id::int8",
                &[&name],
            )
            .map(|row| row.get(0)),
    }
}
