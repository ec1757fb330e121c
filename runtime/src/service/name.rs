//! The names that services, their functions and their streams may have.

/// What a name must be, for the sentence about one that is not.
pub(crate) const NAME_RULE: &str = "must be one or more of A-Z, a-z, 0-9, _ and -";

/// Whether a name keeps [`NAME_RULE`].
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
