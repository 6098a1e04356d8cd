//! The patterns from outside: only public paths.
