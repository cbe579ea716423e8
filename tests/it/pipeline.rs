//! Alerts go in at the IDS's socket and come out of the database.

use crate::database::BOTH;
use crate::site::Site;

#[test]
fn alerts_arrive_in_order_and_once() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        site.ids_sends_alerts(1..=100);
        site.database_gets(1..=100);
        site.stop();
        site.database_gets(1..=100);
    }
}

#[test]
fn alerts_sent_while_servsock_is_down_arrive_once_it_is_back() {
    for kind in BOTH {
        let mut site = Site::without_servsock(kind);
        site.ids_sends_alerts(1..=100);
        site.start_servsock();
        site.database_gets(1..=100);
    }
}
