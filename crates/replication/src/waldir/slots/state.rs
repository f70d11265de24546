//! A slot's file: four lines of text, the last one a CRC-32C of those before it, in hexadecimal.
//!
//! ```text
//! walship slot 1
//! restart_lsn 00000000/03000000
//! timeline 0000000001
//! crc 7a3e01bc
//! ```
//!
//! A slot that has reserved nothing yet has position `0/0` and timeline 0. Numbers are written with all their digits, so that
//! every slot's file has the same length and can be overwritten in its place; they are read with fewer, too.

use wal::{Lsn, TimelineId};

const FIRST_LINE: &str = "walship slot 1";
/// More than any slot file is long.
pub(super) const MAX_LEN: usize = 256;

/// Where the follower of a slot will go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotInfo {
    /// The oldest position the follower may ask for; `None` until it has told one, or reserved one. Moved by the
    /// follower's flush position, and possibly backwards (as in PostgreSQL).
    pub restart_lsn: Option<Lsn>,
    /// The timeline of `restart_lsn`; `None` exactly if that is.
    pub timeline: Option<TimelineId>,
}

impl SlotInfo {
    /// A slot that stands at `restart_lsn` of `timeline`.
    pub const fn at(restart_lsn: Lsn, timeline: TimelineId) -> Self {
        Self { restart_lsn: Some(restart_lsn), timeline: Some(timeline) }
    }

    pub(in crate::waldir) fn to_text(self) -> String {
        assert_eq!(self.restart_lsn.is_some(), self.timeline.is_some(), "a slot's position is on a timeline");
        let lsn = self.restart_lsn.unwrap_or(Lsn::INVALID).as_u64();
        let (high, low) = (lsn >> 32, lsn & 0xFFFF_FFFF);
        let timeline = self.timeline.map_or(0, TimelineId::as_u32);
        let body = format!("{FIRST_LINE}\nrestart_lsn {high:08X}/{low:08X}\ntimeline {timeline:010}\n");
        format!("{body}crc {:08x}\n", crc32c::crc32c(body.as_bytes()))
    }

    /// `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("\ncrc ")?;
        let mut lines = body.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let lsn: Lsn = lines.next()?.strip_prefix("restart_lsn ")?.parse().ok()?;
        let timeline: u32 = lines.next()?.strip_prefix("timeline ")?.parse().ok()?;
        let covered = bytes.get(..body.len() + 1)?;
        if lines.next().is_some() || crc != format!("{:08x}", crc32c::crc32c(covered)) {
            return None;
        }
        match (lsn.is_valid(), timeline) {
            (true, 1..) => Some(Self::at(lsn, TimelineId::new(timeline))),
            (false, 0) => Some(Self::default()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_gives_back_the_slot() {
        for info in [SlotInfo::default(), SlotInfo::at(Lsn::new(0x300_0000), TimelineId::new(2))] {
            assert_eq!(SlotInfo::parse(info.to_text().as_bytes()), Some(info));
        }
    }

    #[test]
    fn all_files_have_one_length_within_a_sector_and_those_of_fewer_digits_are_read() {
        let furthest = SlotInfo::at(Lsn::MAX, TimelineId::new(u32::MAX));
        assert_eq!(furthest.to_text().len(), SlotInfo::default().to_text().len());
        assert!(furthest.to_text().len() <= MAX_LEN && MAX_LEN <= 512);
        let body = format!("{FIRST_LINE}\nrestart_lsn 0/3000000\ntimeline 1\n");
        let text = format!("{body}crc {:08x}\n", crc32c::crc32c(body.as_bytes()));
        assert_eq!(
            SlotInfo::parse(text.as_bytes()),
            Some(SlotInfo::at(Lsn::new(0x300_0000), TimelineId::FIRST))
        );
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let text = SlotInfo::at(Lsn::new(0x300_0000), TimelineId::FIRST).to_text().into_bytes();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            assert_eq!(SlotInfo::parse(&damaged), None, "byte {at}");
            assert_eq!(SlotInfo::parse(&text[..at]), None, "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(SlotInfo::parse(&bytes), None);
        }
    }
}
