//! How COPY data is written.

/// The format and its delimiters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// CSV rather than text
    pub csv: bool,
    /// PostgreSQL's binary format rather than either; all that is about characters does not matter then
    pub binary: bool,
    /// Between columns
    pub delimiter: u8,
    /// What stands for NULL
    pub null: Vec<u8>,
    /// Whether the first line names the columns
    pub header: bool,
    /// Around a CSV value
    pub quote: u8,
    /// In front of a quote within a CSV value
    pub escape: u8,
    /// FREEZE was given: the caller may load a table of its own transaction without keeping old versions
    pub freeze: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            csv: false,
            binary: false,
            delimiter: b'\t',
            null: b"\\N".to_vec(),
            header: false,
            quote: b'"',
            escape: b'"',
            freeze: false,
        }
    }
}

impl CopyOptions {
    /// The options that CSV begins with.
    pub fn csv() -> Self {
        Self { csv: true, delimiter: b',', null: Vec::new(), ..Self::default() }
    }
}
