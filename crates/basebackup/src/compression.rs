//! Compression of archives, on either side of the connection.
//!
//! [`Specification`] is what `-Z` says (PostgreSQL's `common/compression.c`), [`Encoder`] compresses what this side
//! writes, [`Decoder`] unpacks what a server compressed or what lies in a directory. File formats and suffixes are
//! PostgreSQL's: gzip `.gz`, LZ4 frames `.lz4`, Zstandard frames `.zst`.

mod decoder;
mod encoder;
mod specification;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use specification::{InvalidSpecification, Location, Specification};

/// How bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// gzip.
    Gzip,
    /// LZ4 in its frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Lz4, Self::Zstd];

    /// The name in `-Z` and in BASE_BACKUP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// What it appends to a file's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Lz4 => ".lz4",
            Self::Zstd => ".zst",
        }
    }

    /// Splits a file name into what it is without compression, and the method its suffix stands for.
    pub fn split_suffix(name: &str) -> (&str, Option<Self>) {
        Self::ALL
            .into_iter()
            .find_map(|method| Some((name.strip_suffix(method.suffix())?, Some(method))))
            .unwrap_or((name, None))
    }
}

/// How to compress here: a method with its settings checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The method.
    pub method: Method,
    /// `None` is the method's default. gzip has 1 to 9, LZ4 0 to 12, Zstandard about -131072 to 22.
    pub level: Option<i32>,
    /// Threads that compress; 0 is the calling one. Zstandard only.
    pub workers: u32,
    /// Whether matches are looked for over long distances. Zstandard only.
    pub long: bool,
}

#[cfg(test)]
mod tests;
