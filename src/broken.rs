//! Promises that are broken on purpose, so that a test can show that it finds it: only in builds with the feature
//! `broken-promises`, which is never on by itself, and only where the environment's FLOP_BREAK names one.

#![forbid(unsafe_code)]

/// servsock acknowledges what is not committed yet.
pub(crate) const ACKNOWLEDGE_BEFORE_COMMIT: &str = "acknowledge-before-commit";

/// sockserv forgets what is not acknowledged yet.
pub(crate) const FORGET_BEFORE_ACKNOWLEDGEMENT: &str = "forget-before-acknowledgement";

/// Whether this promise is to be broken.
pub(crate) fn breaks(promise: &str) -> bool {
    std::env::var_os("FLOP_BREAK").is_some_and(|wanted| wanted == promise)
}
