//! Text or binary.

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Format {
    /// As people write it.
    #[default]
    Text = 0,
    /// As the type's send function writes it.
    Binary = 1,
}

impl Format {
    /// The format with this code on the wire.
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// The formats that a Bind asks for in the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultFormats {
    /// One for all columns.
    All(Format),
    /// One for each column; as many as there are columns.
    Each(Box<[Format]>),
}

impl ResultFormats {
    /// Everything as text, which is what a Query gets.
    pub const TEXT: Self = Self::All(Format::Text);

    /// The format of a column, counted from 0.
    pub fn of(&self, column: usize) -> Format {
        match self {
            Self::All(format) => *format,
            Self::Each(formats) => formats.get(column).copied().unwrap_or_default(),
        }
    }
}
