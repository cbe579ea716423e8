//! Texts with marks in them: `@NAME@` becomes what that name stands for.

#![forbid(unsafe_code)]

/// Fills all marks.
///
/// # Panics
///
/// A mark has no value: a page with it must not be installed.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    let mut parts = filled.split('@').skip(1);
    let left = parts.find(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase()));
    assert!(left.is_none(), "the mark @{}@ has no value", left.unwrap());
    filled
}
