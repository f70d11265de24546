//! PostgreSQL's data checksum (`pg_checksum_page` in checksum_impl.h): 32 interleaved FNV-1a sums, folded to 16 bits.

use super::{PAGE_SIZE, Page};

const LANES: usize = 32;
const ROW: usize = LANES * 4;
const PRIME: u32 = 16_777_619;

/// Where each lane starts (`checksumBaseOffsets`).
#[rustfmt::skip]
const START: [u32; LANES] = [
    0x5B1F_36E9, 0xB852_5960, 0x02AB_50AA, 0x1DE6_6D2A, 0x79FF_467A, 0x9BB9_F8A3, 0x217E_7CD2, 0x83E1_3D2C,
    0xF8D4_474F, 0xE39E_B970, 0x42C6_AE16, 0x9932_16FA, 0x7B09_3B5D, 0x98DA_FF3C, 0xF718_902A, 0x0B1C_9CDB,
    0xE58F_764B, 0x1876_36BC, 0x5D7B_3BB1, 0xE73D_E7DE, 0x92BE_C979, 0xCCA6_C0B2, 0x304A_0979, 0x85AA_43D4,
    0x7831_25BB, 0x6CA8_EAA2, 0xE407_EAC6, 0x4B5C_FC3E, 0x9FBF_8C76, 0x15CA_20BE, 0xF2CA_9FD3, 0x959B_D756,
];

impl Page {
    /// The checksum that belongs on this page as block `block` of its relation (not of one file of it). The field that
    /// holds the checksum counts as zero, so whether it is set makes no difference.
    pub fn checksum(&self, block: u32) -> u16 {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { self.checksum_avx2(block) };
        }
        self.checksum_anywhere(block)
    }

    /// The same code for processors with twice the lanes in a register and an instruction that multiplies them, which not
    /// every x86-64 has: in half the time.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn checksum_avx2(&self, block: u32) -> u16 {
        self.checksum_anywhere(block)
    }

    #[inline(always)]
    fn checksum_anywhere(&self, block: u32) -> u16 {
        let mut sums = START;
        let (rows, _) = self.bytes().as_chunks::<ROW>();
        let mut first = rows[0];
        first[8..10].fill(0);
        add_row(&mut sums, &first);
        for row in &rows[1..PAGE_SIZE / ROW] {
            add_row(&mut sums, row);
        }
        add_row(&mut sums, &[0; ROW]);
        add_row(&mut sums, &[0; ROW]);
        let folded = sums.iter().fold(block, |folded, sum| folded ^ sum);
        (folded % 65535 + 1) as u16
    }
}

/// One step of every lane; the loop has no dependency between lanes, so that it becomes vector instructions.
#[inline(always)]
fn add_row(sums: &mut [u32; LANES], row: &[u8; ROW]) {
    let (words, _) = row.as_chunks::<4>();
    for (sum, word) in sums.iter_mut().zip(words) {
        let mixed = *sum ^ u32::from_le_bytes(*word);
        *sum = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}
