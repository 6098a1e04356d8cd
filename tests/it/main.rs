//! Scenarios with the real binary. One file per theme.
