//! Prints the OpenAPI document of the admin API: what `cargo xtask docs` writes down.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

fn main() {
    println!("{:#}", oneiric_runtime::openapi());
}
