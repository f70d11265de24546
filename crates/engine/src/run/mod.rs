//! The one writer of pages: a run of changes that ends in a commit.
