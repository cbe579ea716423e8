//! The built programs `drop` and `alert`, run as an operator runs them, with a real SMTP server and with bad ones.

mod bad_server;
mod delivery;
mod hostile_server;
mod operator;
mod program;
mod restart;
mod server;
