//! Terminal front end.
fn main() {}
