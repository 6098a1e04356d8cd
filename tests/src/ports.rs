//! Ports for servers that have to be told one.
//!
//! This file is also a module of the tests of `oneiric-builtins`.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that systems give to whoever does not care which: none of those takes one of these in the moment
/// between its choice and its use.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port on 127.0.0.1 that nobody listens on, another one each time. Test programs that run at the same time begin at
/// different places.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id() % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = begin * 97 + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = offset % u32::from(COUNT);
        let port = u16::try_from(offset).map_or(FIRST, |offset| FIRST + offset);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
