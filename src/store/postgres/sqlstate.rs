//! What PostgreSQL's five characters mean for a batch.
//!
//! | class | what it is                         | a batch                                            |
//! |-------|------------------------------------|----------------------------------------------------|
//! | 21    | more rows than one, in a trigger   | content                                            |
//! | 22    | a value that does not fit          | content                                            |
//! | 23    | a constraint                       | content; but 23505 and a missing partition: away   |
//! | 38 39 | a trigger in another language      | content                                            |
//! | 44    | a view's CHECK OPTION              | content                                            |
//! | 54    | a limit: an index row too long     | content                                            |
//! | P0    | RAISE in a trigger                 | content                                            |
//! | 25    | read-only, or aborted              | away                                               |
//! | 28 3D 3F 42 | user, database, schema, table, rights | away; at the start, final                  |
//! | 40    | a deadlock                         | away                                               |
//! | 53    | disk, memory, connections          | away                                               |
//! | 55    | a lock                             | away                                               |
//! | 57    | stopping, starting, cancelled      | away                                               |
//! | 58 XX | a broken disk or database          | away                                               |
//! | other, and none | the connection           | away                                               |
//!
//! "Content" is a suspicion: an alert becomes a loss only while the database takes others. What concerns a table or its
//! rights is never content, for the alerts that are stored meanwhile may have no row in that table.

#![forbid(unsafe_code)]

use super::client::Error;
use ::postgres::error::DbError;

/// A key that is there already is not the alert's fault: somebody else gives cids to this sensor, and the stream, opened
/// again, goes on behind them.
const UNIQUE_VIOLATION: &str = "23505";
/// Of a constraint, which is named; of a trigger, which names nothing; or of a table without a partition for this row, and
/// then the table is named alone.
const CHECK_VIOLATION: &str = "23514";
/// Or another value that a function does not take; but no alert is in a view's definition.
const UNKNOWN_TIME_ZONE: &str = "22023";

/// Whether an alert of the batch may be to blame.
pub(super) fn is_content(error: &Error) -> bool {
    let Some(error) = error.as_db_error() else {
        return false;
    };
    match error.code().code() {
        UNIQUE_VIOLATION => false,
        CHECK_VIOLATION => !is_partition_missing(error),
        code => matches!(
            class(code),
            "21" | "22" | "23" | "38" | "39" | "44" | "54" | "P0"
        ),
    }
}

fn is_partition_missing(error: &DbError) -> bool {
    error.table().is_some() && error.constraint().is_none()
}

/// Whether a server that answers so at the start will do so until somebody changes something there: no such user,
/// database, schema or permission; tables that are not what their names say; a time zone that it does not know.
pub(super) fn is_final(code: &str) -> bool {
    matches!(class(code), "28" | "3D" | "3F" | "42") || code == UNKNOWN_TIME_ZONE
}

/// What to do about it.
pub(super) fn hint(error: &DbError) -> &'static str {
    let code = error.code().code();
    match class(code) {
        "28" => "; check user and password, and pg_hba.conf on the server",
        "3D" => "; create the database with createdb",
        "3F" => "; GRANT USAGE ON SCHEMA lets this user in, if search_path names the right one",
        "53" => "; see to memory, disk and max_connections of the server",
        "58" | "XX" => "; is its disk failing, or the database damaged? the server's log has more",
        _ => match code {
            "42501" => "; grant this user what it needs, or let the owner make the tables once",
            "42P01" => {
                "; GRANT USAGE ON SCHEMA lets this user see it, if search_path names the right one"
            }
            "25006" => "; is this a standby server, or default_transaction_read_only on?",
            UNKNOWN_TIME_ZONE => "; the server's table pg_timezone_names has those it knows",
            "55P03" => "; another session has kept a lock for more than 5 s",
            UNIQUE_VIOLATION => "; another program writes for this sensor",
            CHECK_VIOLATION if is_partition_missing(error) => {
                "; make the partition that is missing"
            }
            _ => "",
        },
    }
}

fn class(code: &str) -> &str {
    code.get(..2).unwrap_or_default()
}
