//! Support for the scenarios in `tests/it`.
