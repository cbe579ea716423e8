//! FLoP: the alerts of every IDS of every sensor, in one database.

pub mod alert;
pub mod ids;
pub mod store;
pub mod wire;
