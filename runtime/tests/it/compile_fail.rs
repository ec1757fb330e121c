//! What the compiler says of a function that cannot be called: it is part of the API.
//!
//! The words around ours are the compiler's. Where a newer one says them differently,
//! `TRYBUILD=overwrite cargo test -p natsfn --test it compile_fail` writes them anew.

#[test]
fn wrong_handlers_are_readable_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
