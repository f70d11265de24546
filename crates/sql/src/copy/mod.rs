//! COPY data: text and CSV, from bytes to rows and back.

mod options;

pub use options::CopyOptions;
