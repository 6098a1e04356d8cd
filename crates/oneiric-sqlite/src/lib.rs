//! The embedded stores of a state directory: one SQLite file behind the narrow store traits of the layers above.
