//! B+trees of variable-length keys and values on pages.
