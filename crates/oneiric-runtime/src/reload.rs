//! Settings that change while the process runs.

mod current;

pub(crate) use self::current::Current;
