//! The reference for whoever sends alerts over TCP: the same bytes in big writes, and a reader that throws them away
//! and says at the end that it had them.

use crate::Result;
use crate::site::listener;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

const WRITE_BYTES: usize = 64 << 10;

/// Pumps them over loopback; returns the seconds that it took.
pub(crate) fn pump(bytes: &[u8]) -> Result<f64> {
    let listener = listener()?;
    let address = listener.local_addr()?;
    let reader = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; 4 * WRITE_BYTES];
        while stream.read(&mut buffer)? > 0 {}
        stream.write_all(&[1])
    });
    let mut stream = TcpStream::connect(address)?;
    let start = Instant::now();
    for part in bytes.chunks(WRITE_BYTES) {
        stream.write_all(part)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_exact(&mut [0])?;
    let took = start.elapsed();
    reader.join().map_err(|_| "the reader panicked")??;
    Ok(took.as_secs_f64())
}
