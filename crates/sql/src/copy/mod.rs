//! COPY data: text and CSV, from bytes to rows and back.

mod binary;
mod decode;
mod encode;
mod fields;
mod lines;
mod options;
mod rows;
#[cfg(test)]
mod tests;

pub use decode::{CopyDecoder, CopyRecord};
pub use encode::CopyEncoder;
pub use options::CopyOptions;
