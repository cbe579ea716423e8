//! A sensor that is the test itself, or a servsock: speaks the protocol, or not.

use crate::serial;
use crate::site::Site;
use flop::alert::SensorName;
use flop::ids::{Decoded, LinkType, Scratch};
use flop::wire::frame::{self, Ack, Frame, HEADER_BYTES, Header, Heartbeat, Hello, Welcome};
use flop::wire::{StreamId, item};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The one stream of all clients of a test.
const STREAM: StreamId = StreamId([7; 16]);
/// Longer than the handshake may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(site: &Site) -> Client {
        let stream = TcpStream::connect(site.address()).expect("servsock listens");
        stream
            .set_read_timeout(Some(READ_TIMEOUT))
            .expect("a timeout");
        Client { stream }
    }

    /// The other side: what connected to a listener of the test's own.
    pub(crate) fn accepted(stream: TcpStream) -> Client {
        stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(READ_TIMEOUT)))
            .expect("a timeout");
        Client { stream }
    }

    /// Answers the HELLO of a sensor, whose items up to number `stored` are durable.
    pub(crate) fn welcomes(&mut self, stored: u64) -> Hello {
        let hello = self.gets_hello();
        self.sends_frame(&Frame::Welcome(Welcome {
            stored,
            sid: 1,
            packs: false,
        }));
        hello
    }

    /// Waits for the HELLO of a sensor.
    pub(crate) fn gets_hello(&mut self) -> Hello {
        self.reads_until(|frame| match frame {
            Frame::Hello(hello) => Some(hello.clone()),
            _ => None,
        })
    }

    /// Waits for items up to this number, and acknowledges none.
    pub(crate) fn gets_items(&mut self, number: u64) {
        self.reads_until(|frame| match frame {
            Frame::Items { first, count, .. } => (first + u64::from(*count) > number).then_some(()),
            _ => None,
        });
    }

    /// Waits for the next HEARTBEAT of a sensor.
    pub(crate) fn gets_heartbeat(&mut self) -> Heartbeat {
        self.reads_until(|frame| match frame {
            Frame::Heartbeat(heartbeat) => Some(*heartbeat),
            _ => None,
        })
    }

    /// Acknowledges items up to this number.
    pub(crate) fn acknowledges(&mut self, number: u64) {
        self.sends_frame(&Frame::Ack(Ack {
            stored: number,
            first_cid: 1,
            last_cid: i64::try_from(number).expect("a small number"),
        }));
    }

    /// The bytes of a HELLO.
    pub(crate) fn hello_bytes(name: &str) -> Vec<u8> {
        Client::frame_bytes(&Frame::Hello(hello(name)))
    }

    /// The bytes of an ITEMS with these alerts, numbered from `first` on.
    pub(crate) fn items_bytes(first: u64, serials: RangeInclusive<u32>) -> Vec<u8> {
        let (count, bytes) = Client::items(serials);
        Client::frame_bytes(&Frame::Items {
            first,
            count,
            bytes: &bytes,
        })
    }

    /// These alerts as items, and how many they are.
    pub(crate) fn items(serials: RangeInclusive<u32>) -> (u32, Vec<u8>) {
        let (mut bytes, mut scratch) = (Vec::new(), Scratch::default());
        let count = u32::try_from(serials.clone().count()).expect("a small number");
        for datagram in serial::alerts(serials) {
            match flop::ids::decode(&datagram, LinkType::Auto, &mut scratch) {
                Ok(Decoded::Alert(alert)) => item::put_alert(&mut bytes, &alert),
                other => panic!("{other:?}"),
            }
        }
        (count, bytes)
    }

    pub(crate) fn frame_bytes(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, frame);
        bytes
    }

    pub(crate) fn sends_frame(&mut self, frame: &Frame<'_>) {
        self.sends(&Client::frame_bytes(frame));
    }

    /// Sends these bytes. That the other side has hung up meanwhile is for the next read to see.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The handshake.
    pub(crate) fn greets(&mut self, name: &str) -> Welcome {
        self.greets_as(hello(name))
    }

    /// The same, with the offer to compress.
    pub(crate) fn greets_packing(&mut self, name: &str) -> Welcome {
        let welcome = self.greets_as(Hello {
            packs: true,
            ..hello(name)
        });
        assert!(welcome.packs, "the offer is taken");
        welcome
    }

    fn greets_as(&mut self, hello: Hello) -> Welcome {
        self.sends_frame(&Frame::Hello(hello));
        self.reads_until(|frame| match frame {
            Frame::Welcome(welcome) => Some(*welcome),
            _ => None,
        })
    }

    /// Waits for the acknowledgement of this number, and of none behind it.
    pub(crate) fn gets_acknowledged(&mut self, number: u64) {
        self.reads_until(|frame| match frame {
            Frame::Ack(Ack { stored, .. }) => {
                assert!(*stored <= number, "{stored} was never sent");
                (*stored == number).then_some(())
            }
            _ => None,
        });
    }

    /// Waits for REFUSE; returns the reason.
    pub(crate) fn is_refused(&mut self) -> String {
        self.reads_until(|frame| match frame {
            Frame::Refuse(reason) => Some(String::from(*reason)),
            _ => None,
        })
    }

    /// Waits for the connection's end, whatever comes before it.
    pub(crate) fn is_closed(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it is not closed: {error}"),
        }
    }

    /// Reads frames until one is what the caller wants; BYE and the end are never that.
    fn reads_until<T>(&mut self, mut wanted: impl FnMut(&Frame<'_>) -> Option<T>) -> T {
        loop {
            let mut header = [0; HEADER_BYTES];
            self.stream
                .read_exact(&mut header)
                .expect("a frame's header");
            let header = Header::decode(&header).expect("a header");
            let mut body = vec![0; header.body_bytes];
            self.stream.read_exact(&mut body).expect("a frame's body");
            let frame = frame::decode(header.kind, &body).expect("a frame");
            if let Some(found) = wanted(&frame) {
                return found;
            }
            assert!(
                !matches!(frame, Frame::Bye(_) | Frame::Refuse(_)),
                "{frame:?}"
            );
        }
    }
}

fn hello(name: &str) -> Hello {
    Hello {
        stream: STREAM,
        forgotten: 0,
        packs: false,
        sensor: SensorName {
            name: name.to_owned(),
            interface: String::new(),
        },
        program: String::from("test"),
    }
}
