//! CRC-32C (Castagnoli), as records and pg_control carry it.

/// A checksum under way. "123456789" gives 0xE3069283.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crc(u32);

impl Crc {
    /// A checksum under way, from what [`Crc::value`] told about the bytes so far.
    pub const fn resume(value: u32) -> Self {
        Self(value)
    }

    /// The checksum with `bytes` appended.
    #[inline]
    #[must_use]
    pub fn append(self, bytes: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.0, bytes))
    }

    /// The checksum of all bytes appended.
    pub const fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_in_pieces_is_the_same_as_at_once() {
        let digits = b"123456789";
        assert_eq!(Crc::default().append(digits).value(), 0xE306_9283);
        for cut in 0..=digits.len() {
            let (head, tail) = digits.split_at(cut);
            assert_eq!(Crc::default().append(head).append(tail).value(), 0xE306_9283);
        }
    }
}
