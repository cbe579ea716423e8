//! States of a PostgreSQL server.

use super::tmpfs::SmallDisk;
use super::{BEFORE, BOTH_WAYS, DURING, Waiting, begin, holds, is_over, site_in, start_servsock};
use crate::database::{Database, Kind};
use crate::postgres_server::{Cluster, Stop};
use crate::site::Site;
use std::path::Path;

/// Ends all other sessions in the database, so that what was changed for new ones holds.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Runs SQL in which `{}` is the name of this database.
fn alter(database: &Database, sql: &str) {
    let name = database.lines("SELECT current_database()").remove(0);
    database.execute(&sql.replace("{}", &name));
}

/// The same database, for a user who is no superuser.
fn as_user(database: &Database) -> Database {
    let Database::Postgres(url) = database else {
        panic!("asked for PostgreSQL")
    };
    let name = database.lines("SELECT current_database()").remove(0);
    Database::Postgres(url.replace("postgres@", &format!("user_{name}@")))
}

/// The tables belong to the superuser; servsock comes as a user who has been granted what it needs.
fn begin_as_user(site: &mut Site, waiting: Waiting) {
    alter(
        &site.database,
        "CREATE ROLE user_{} LOGIN; CREATE SCHEMA alerts_of_{}; ALTER DATABASE {} SET search_path = alerts_of_{}",
    );
    site.start_servsock();
    site.servsock().kill();
    alter(
        &site.database,
        "GRANT USAGE ON SCHEMA alerts_of_{} TO user_{};
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA alerts_of_{} TO user_{};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA alerts_of_{} TO user_{}",
    );
    start_servsock_as_user(site, waiting);
    site.start_sockserv();
    site.ids_sends_alerts(1..=BEFORE);
    site.database_gets(1..=BEFORE);
}

fn start_servsock_as_user(site: &mut Site, waiting: Waiting) {
    let owner = site.database.clone();
    site.database = as_user(&owner);
    start_servsock(site, waiting);
    site.database = owner;
}

#[test]
fn a_server_that_is_stopped_in_a_flood_and_started_again() {
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        for waiting in BOTH_WAYS {
            let mut cluster = Cluster::start();
            let mut site = site_in(&cluster);
            begin(&mut site, waiting);
            cluster.stop(how);
            holds(&mut site, waiting, "sensor \"sensor\": cannot ");
            cluster.start_again();
            is_over(&mut site, waiting);
        }
    }
}

#[test]
fn a_database_that_is_made_read_only_is_named_as_the_cause_not_the_session_that_ended_before() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        begin(&mut site, waiting);
        alter(
            &site.database,
            "ALTER DATABASE {} SET default_transaction_read_only = on",
        );
        site.database.execute(END_SESSIONS);
        holds(&mut site, waiting, "[25006]; is this a standby server");
        alter(
            &site.database,
            "SET transaction_read_only = off; ALTER DATABASE {} RESET default_transaction_read_only",
        );
        is_over(&mut site, waiting);
    }
}

#[test]
fn a_server_without_a_connection_for_this_user() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        begin_as_user(&mut site, waiting);
        alter(&site.database, "ALTER ROLE user_{} CONNECTION LIMIT 0");
        site.database.execute(END_SESSIONS);
        holds(&mut site, waiting, "too many connections for role");
        site.servsock()
            .says("[53300]; see to memory, disk and max_connections of the server");
        alter(&site.database, "ALTER ROLE user_{} CONNECTION LIMIT -1");
        is_over(&mut site, waiting);
    }
}

#[test]
fn rights_that_are_taken_away_turn_no_alert_into_a_loss() {
    let cases = [
        (
            "REVOKE INSERT ON TABLE event FROM user_{}",
            "GRANT INSERT ON TABLE event TO user_{}",
            "permission denied for table event [42501]; grant this user what it needs",
        ),
        (
            "REVOKE UPDATE ON TABLE flop_stream FROM user_{}",
            "GRANT UPDATE ON TABLE flop_stream TO user_{}",
            "permission denied for table flop_stream [42501]; grant this user what it needs",
        ),
        (
            "REVOKE USAGE ON SCHEMA alerts_of_{} FROM user_{}",
            "GRANT USAGE ON SCHEMA alerts_of_{} TO user_{}",
            "GRANT USAGE ON SCHEMA",
        ),
    ];
    for (revoke, grant, cause) in cases {
        for waiting in BOTH_WAYS {
            let mut site = Site::empty(Kind::Postgres);
            begin_as_user(&mut site, waiting);
            alter(&site.database, revoke);
            holds(&mut site, waiting, cause);
            alter(&site.database, grant);
            is_over(&mut site, waiting);
        }
    }
}

#[test]
fn rights_that_are_missing_at_the_start() {
    // A table: seen with the first alert.
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        begin_as_user(&mut site, waiting);
        site.servsock().kill();
        alter(&site.database, "REVOKE INSERT ON TABLE event FROM user_{}");
        start_servsock_as_user(&mut site, waiting);
        site.ids_sends_alerts(BEFORE + 1..=BEFORE + 1);
        site.servsock().says("permission denied for table event");
        alter(&site.database, "GRANT INSERT ON TABLE event TO user_{}");
        site.ids_sends_alerts(BEFORE + 2..=DURING);
        site.database_gets(1..=DURING);
        assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
    }
    // The schema: seen at once.
    let mut site = Site::empty(Kind::Postgres);
    begin_as_user(&mut site, Waiting::AtTheSensor);
    site.servsock().kill();
    alter(
        &site.database,
        "REVOKE USAGE ON SCHEMA alerts_of_{} FROM user_{}",
    );
    let url = as_user(&site.database).url();
    let mut servsock = site.run("servsock", "refused", &["-p", "0", "--db", &url]);
    assert_eq!(servsock.exits().code(), Some(1));
    servsock.says("GRANT USAGE ON SCHEMA");
}

#[test]
fn a_server_whose_disk_is_full() {
    for waiting in BOTH_WAYS {
        let cluster = Cluster::start();
        let mut site = site_in(&cluster);
        let Some(disk) = SmallDisk::new(&cluster.folder().join("small"), 16, cluster.folder())
        else {
            return;
        };
        begin(&mut site, waiting);
        let place = cluster.folder().join("small");
        move_tables(&site.database, &place);
        let ballast = disk.is_filled();
        holds(&mut site, waiting, "No space left on device [53100]");
        site.servsock()
            .says("see to memory, disk and max_connections of the server");
        drop(ballast);
        is_over(&mut site, waiting);
        drop(site);
        drop(cluster);
    }
}

/// The tables and indexes of alerts move to a tablespace in this folder.
fn move_tables(database: &Database, place: &Path) {
    database.execute(&format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        place.display()
    ));
    for table in [
        "event",
        "iphdr",
        "tcphdr",
        "data",
        "flop_event",
        "event_pkey",
        "iphdr_pkey",
    ] {
        let kind = if table.ends_with("pkey") {
            "INDEX"
        } else {
            "TABLE"
        };
        database.execute(&format!("ALTER {kind} {table} SET TABLESPACE small"));
    }
}
