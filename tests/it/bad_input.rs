//! What should never come, and does: at the IDS's sockets, at the TCP port, in the places of files.

mod connections;
mod datagrams;
mod files;

/// Noise that is the same in each run.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}
