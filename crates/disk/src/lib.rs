//! Files behind a narrow seam.
