//! What is in a spool, without changing it: `check` counts it, `export` writes it as lines of JSON.
//!
//! Both work on a directory that another process uses: they take no lock and see the files of one moment. What that
//! process removes meanwhile is acknowledged, and what it is writing at the end is no damage.

#![forbid(unsafe_code)]

use super::directory::Directory;
use super::lock;
use super::reader::Lost;
use super::scan::Scanner;
use super::{Stream, Torn, newest_header};
use crate::alert::{Alert, Transport};
use crate::calendar::iso8601;
use crate::error::Error;
use crate::wire::{Gap, Item, StreamId, item};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

/// Damages that are told one by one.
const DAMAGES_MAX: usize = 100;

/// What `check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The process that uses it.
    pub owner: Option<String>,
    /// The stream; `None` where no header can be read.
    pub stream: Option<Stream>,
    /// Last number that was acknowledged when the newest segment was begun.
    pub acknowledged: u64,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Alerts that can be read, acknowledged ones among them.
    pub alerts: u64,
    /// Loss records that can be read.
    pub loss_records: u64,
    /// Items that are sound, but not understood here.
    pub unknown: u64,
    /// Items that cannot be read.
    pub lost: u64,
    /// When the oldest alert happened, microseconds since 1970.
    pub oldest_us: Option<i64>,
    /// When the newest did.
    pub newest_us: Option<i64>,
    /// Where items cannot be read: the first hundred places.
    pub damage: Vec<Lost>,
    /// The torn tail.
    pub torn: Option<Torn>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => writeln!(
                f,
                "in use:       {} has it open",
                owner.trim_end_matches(',')
            )?,
            None => writeln!(f, "in use:       no")?,
        }
        match self.stream {
            Some(stream) => writeln!(f, "stream:       {}", stream.id)?,
            None => writeln!(f, "stream:       none")?,
        }
        writeln!(
            f,
            "on disk:      {} bytes in {} files",
            self.bytes, self.segments
        )?;
        writeln!(f, "alerts:       {}", self.alerts)?;
        writeln!(f, "loss records: {}", self.loss_records)?;
        if let (Some(oldest), Some(newest)) = (self.oldest_us, self.newest_us) {
            writeln!(f, "from, to:     {}, {}", iso8601(oldest), iso8601(newest))?;
        }
        writeln!(f, "not known:    {}", self.unknown)?;
        writeln!(f, "damaged:      {} items", self.lost)?;
        for lost in &self.damage {
            let offset = lost
                .offset
                .map_or("missing".to_owned(), |at| format!("offset {at}"));
            let Lost {
                first, count, file, ..
            } = lost;
            writeln!(
                f,
                "  {count} from number {first} on: {}, {offset}",
                file.display()
            )?;
        }
        if let Some(Torn {
            file,
            offset,
            bytes,
        }) = &self.torn
        {
            let file = file.display();
            writeln!(
                f,
                "torn tail:    {bytes} bytes of {file} from offset {offset} on"
            )?;
        }
        Ok(())
    }
}

/// Counts what is in the spool in `dir`.
///
/// # Errors
///
/// The directory cannot be read, or a newer program wrote what is in it.
pub fn check(dir: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut damage = Vec::new();
    let outline = walk(dir, &mut |seen| {
        match seen {
            Seen::Item(_, bytes) => found.count(bytes),
            Seen::Lost(lost) => {
                found.lost += lost.count;
                if damage.len() < DAMAGES_MAX {
                    damage.push(lost);
                }
            }
        }
        Ok(())
    })?;
    Ok(Found {
        damage,
        owner: outline.owner,
        stream: outline.stream,
        acknowledged: outline.acknowledged,
        segments: outline.segments,
        bytes: outline.bytes,
        torn: outline.torn,
        ..found
    })
}

impl Found {
    fn count(&mut self, bytes: &[u8]) {
        match item::decode(bytes) {
            Ok(Item::Alert(alert)) => {
                let time_us = alert.time_us;
                self.alerts += 1;
                self.oldest_us = Some(self.oldest_us.map_or(time_us, |oldest| oldest.min(time_us)));
                self.newest_us = Some(self.newest_us.map_or(time_us, |newest| newest.max(time_us)));
            }
            Ok(Item::Loss(_) | Item::Gap(_)) => self.loss_records += 1,
            Err(_) => self.unknown += 1,
        }
    }
}

/// What `export` wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines with an alert.
    pub alerts: u64,
    /// Other lines.
    pub others: u64,
}

/// Writes a line of JSON for each item of the spool in `dir`: an alert with the names of a `dropped::Record` and more,
/// a loss record, or what cannot be read.
///
/// # Errors
///
/// As for `check`, or `out` cannot be written.
pub fn export(dir: &Path, out: &mut dyn Write) -> Result<Exported, Error> {
    let mut exported = Exported::default();
    walk(dir, &mut |seen| {
        let line = match &seen {
            Seen::Item(number, bytes) => match item::decode(bytes) {
                Ok(Item::Alert(alert)) => {
                    exported.alerts += 1;
                    return write_line(out, &AlertLine::new(*number, &alert));
                }
                Ok(Item::Loss(loss) | Item::Gap(Gap { loss, .. })) => serde_json::json!({
                    "number": number, "lost": loss.count, "from": iso8601(loss.from_us),
                    "to": iso8601(loss.to_us), "reason": loss.reason,
                }),
                Err(error) => serde_json::json!({
                    "number": number, "unknown": error.0, "item": STANDARD.encode(bytes),
                }),
            },
            Seen::Lost(lost) => serde_json::json!({
                "number": lost.first, "lost": lost.count, "reason": "damaged on disk",
                "file": lost.file.to_string_lossy(), "offset": lost.offset,
            }),
        };
        exported.others += 1;
        write_line(out, &line)
    })?;
    out.flush().map_err(cannot_write)?;
    Ok(exported)
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(cannot_write)
}

fn cannot_write(error: io::Error) -> Error {
    Error::start("cannot write the exported alerts", error, "")
}

/// An alert, whole. `null` where the IDS does not tell.
#[derive(Serialize)]
struct AlertLine<'a> {
    number: u64,
    time: String,
    ids: &'static str,
    gid: u32,
    sid: u32,
    rev: u32,
    class_id: Option<u32>,
    class_name: &'a str,
    priority: u32,
    event_id: Option<u32>,
    event_reference: Option<u32>,
    message: Cow<'a, str>,
    interface: &'a str,
    action: &'a str,
    app_proto: &'a str,
    src: Option<String>,
    sport: Option<u16>,
    dst: Option<String>,
    dport: Option<u16>,
    proto: Option<u8>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    packet: Option<PacketLine>,
    /// Base64.
    payload: Option<String>,
    /// The EVE record, as text.
    record: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct PacketLine {
    time: String,
    link: u32,
    wire_bytes: u32,
    /// Base64.
    bytes: String,
}

impl<'a> AlertLine<'a> {
    fn new(number: u64, alert: &'a Alert<'_>) -> AlertLine<'a> {
        let transport = alert.flow.map(|flow| flow.transport);
        let (sport, dport) = match transport {
            Some(Transport::Ports {
                source,
                destination,
            }) => (Some(source), Some(destination)),
            _ => (None, None),
        };
        let (icmp_type, icmp_code) = match transport {
            Some(Transport::Icmp { kind, code }) => (Some(kind), Some(code)),
            _ => (None, None),
        };
        AlertLine {
            number,
            time: iso8601(alert.time_us),
            ids: alert.ids.name(),
            gid: alert.gid,
            sid: alert.sid,
            rev: alert.rev,
            class_id: alert.class_id,
            class_name: &alert.class_name,
            priority: alert.priority,
            event_id: alert.event_id,
            event_reference: alert.event_reference,
            message: alert.message_text(),
            interface: &alert.interface,
            action: &alert.action,
            app_proto: &alert.app_proto,
            src: alert.flow.map(|flow| flow.src.to_string()),
            sport,
            dst: alert.flow.map(|flow| flow.dst.to_string()),
            dport,
            proto: alert.flow.map(|flow| flow.proto),
            icmp_type,
            icmp_code,
            packet: alert.packet.map(|packet| PacketLine {
                time: iso8601(packet.time_us),
                link: packet.link,
                wire_bytes: packet.wire_bytes,
                bytes: STANDARD.encode(packet.bytes),
            }),
            payload: alert.payload().map(|payload| STANDARD.encode(payload)),
            record: (!alert.record.is_empty()).then(|| String::from_utf8_lossy(alert.record)),
        }
    }
}

/// What is met on a walk.
enum Seen<'a> {
    Item(u64, &'a [u8]),
    Lost(Lost),
}

/// What a walk tells of the whole.
struct Outline {
    owner: Option<String>,
    stream: Option<Stream>,
    acknowledged: u64,
    segments: u64,
    bytes: u64,
    torn: Option<Torn>,
}

/// Goes through all segments, in order.
fn walk(
    dir: &Path,
    visit: &mut dyn FnMut(Seen<'_>) -> Result<(), Error>,
) -> Result<Outline, Error> {
    let directory = Directory::open(dir)?;
    let owner = lock::find_owner(&directory);
    let segments = directory.segments().map_err(|answer| {
        Error::start(
            format!("cannot read spool directory {}", dir.display()),
            answer,
            "",
        )
    })?;
    let header = newest_header(&directory, &segments)?.header;
    let mut outline = Outline {
        owner,
        stream: header.map(|header| header.stream),
        acknowledged: header.map_or(0, |header| header.acknowledged),
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        torn: None,
    };
    let stream = header.map_or(StreamId([0; 16]), |header| header.stream.id);
    for (at, segment) in segments.iter().enumerate() {
        let limit = segments.get(at + 1).map(|next| next.first);
        match Scanner::open(&directory, segment.first, stream) {
            Ok(mut scanner) => {
                scanner.set_end(segment.bytes);
                walk_segment(&directory, &mut scanner, limit, visit)?;
                if limit.is_none() && scanner.sound_end() < segment.bytes {
                    outline.torn = Some(Torn {
                        file: directory.path_of(segment.first),
                        offset: scanner.sound_end(),
                        bytes: segment.bytes - scanner.sound_end(),
                    });
                }
            }
            // Its owner removed it, for all in it is acknowledged.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => {
                let until = limit.unwrap_or(segment.first);
                visit_lost(&directory, segment.first, segment.first..until, None, visit)?;
            }
        }
    }
    // What its owner writes at this moment ends somewhere.
    outline.torn = outline.torn.filter(|_| outline.owner.is_none());
    Ok(outline)
}

/// Goes through one segment, whose numbers end before `limit`.
fn walk_segment(
    directory: &Directory,
    scanner: &mut Scanner,
    limit: Option<u64>,
    visit: &mut dyn FnMut(Seen<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let first = scanner.first();
    let mut next = first;
    loop {
        let number = match scanner.next_readable(next, limit.unwrap_or(u64::MAX)) {
            None => break,
            Some((number, item)) if number == next => {
                visit(Seen::Item(number, item))?;
                next += 1;
                continue;
            }
            Some((number, _)) => number,
        };
        scanner.put_back();
        visit_lost(directory, first, next..number, scanner.take_damage(), visit)?;
        next = number;
    }
    let until = limit.unwrap_or(scanner.next_number());
    visit_lost(directory, first, next..until, scanner.take_damage(), visit)
}

fn visit_lost(
    directory: &Directory,
    segment: u64,
    numbers: std::ops::Range<u64>,
    offset: Option<u64>,
    visit: &mut dyn FnMut(Seen<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if numbers.is_empty() {
        return Ok(());
    }
    visit(Seen::Lost(Lost {
        first: numbers.start,
        count: numbers.end - numbers.start,
        file: directory.path_of(segment),
        offset,
    }))
}
