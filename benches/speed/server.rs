//! A PostgreSQL server of the benchmark's own, as its package configures it but for the number of connections:
//! durability is on. Gone with this process.

use crate::Result;
use crate::cluster::Cluster;
use crate::site::{Site, eventually};
use postgres::{Client, NoTls};
use std::cell::Cell;

/// A database in which servsock made its tables, from which others are made. Its payloads are stored as in a stock
/// database, whatever servsock chooses for its own.
const STOCK: &str = "stock";

pub(crate) struct Server {
    cluster: Cluster,
    made: Cell<u32>,
}

/// A database; `url` is for programs and clients alike. It is removed when this is dropped.
pub(crate) struct Database<'a> {
    server: &'a Server,
    name: String,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Result<Server> {
        let server = Server {
            cluster: Cluster::start_with(&["max_connections=300"]),
            made: Cell::new(0),
        };
        server
            .admin()?
            .batch_execute(&format!("CREATE DATABASE {STOCK}"))?;
        let site = Site::new()?;
        site.servsock(&server.cluster.url(STOCK), &[])?
            .program
            .stop()?;
        let mut client = Client::connect(&server.cluster.url(STOCK), NoTls)?;
        client.batch_execute(
            "ALTER TABLE data ALTER data_payload SET STORAGE EXTENDED, ALTER data_payload SET COMPRESSION default;
             ALTER TABLE flop_event ALTER record SET COMPRESSION default;
             ALTER TABLE data RESET (toast_tuple_target)",
        )?;
        Ok(server)
    }

    /// An empty database with the stock schema, and our tables beside it.
    pub(crate) fn stock(&self) -> Result<Database<'_>> {
        self.create(&format!("TEMPLATE {STOCK}"))
    }

    /// A database without tables, in which servsock makes its own.
    pub(crate) fn empty(&self) -> Result<Database<'_>> {
        self.create("")
    }

    fn create(&self, how: &str) -> Result<Database<'_>> {
        self.made.set(self.made.get() + 1);
        let name = format!("bench{}", self.made.get());
        let mut admin = self.admin()?;
        admin.batch_execute(&format!("CREATE DATABASE {name} {how}"))?;
        // Nobody's measurement pays for what was written before it.
        admin.batch_execute("CHECKPOINT")?;
        Ok(Database {
            server: self,
            url: self.cluster.url(&name),
            name,
        })
    }

    /// Its version.
    pub(crate) fn version(&self) -> Result<String> {
        let row = self.admin()?.query_one("SHOW server_version", &[])?;
        Ok(row.get(0))
    }

    /// The process of which all others of the server are children.
    pub(crate) fn pid(&self) -> Result<u32> {
        let sql = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)";
        Ok(self
            .admin()?
            .query_one(sql, &[])?
            .get::<_, String>(0)
            .trim()
            .parse()?)
    }

    fn admin(&self) -> Result<Client> {
        Ok(Client::connect(&self.cluster.url("postgres"), NoTls)?)
    }
}

impl Database<'_> {
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.url, NoTls)?)
    }

    /// Waits until the streams of all sensors together have so many items.
    pub(crate) fn has(&self, count: usize) -> Result<()> {
        let mut client = self.client()?;
        let stored = client.prepare("SELECT coalesce(sum(last_seq), 0)::int8 FROM flop_stream")?;
        eventually(&format!("{count} alerts are in the database"), || {
            Ok(client.query_one(&stored, &[])?.get::<_, i64>(0) >= count as i64)
        })
    }

    /// Alerts that are there.
    pub(crate) fn alerts(&self) -> Result<usize> {
        self.count("event")
    }

    /// That so many alerts are there, and that none was lost.
    pub(crate) fn is_whole(&self, count: usize) -> Result<()> {
        match (self.alerts()?, self.count("flop_loss")?) {
            (alerts, 0) if alerts == count => Ok(()),
            (alerts, losses) => Err(format!(
                "{alerts} alerts and {losses} losses are in the database, there should be {count} alerts"
            )
            .into()),
        }
    }

    /// Leaves the server nothing to do later for what was written until now.
    pub(crate) fn settle(&self) -> Result<()> {
        let mut client = self.client()?;
        client.batch_execute("VACUUM ANALYZE")?;
        Ok(client.batch_execute("CHECKPOINT")?)
    }

    fn count(&self, table: &str) -> Result<usize> {
        let row = self
            .client()?
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])?;
        Ok(usize::try_from(row.get::<_, i64>(0))?)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // Errors: it goes with the server, at the latest.
        if let Ok(mut admin) = self.server.admin() {
            let _ = admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
