//! PostgreSQL's own compression, of which full-page images carry the bare stream.
//!
//! A control byte announces eight items, lowest bit first. 0 is a literal byte. 1 is a tag: the low nibble of its
//! first byte is the length less 3, the high nibble and the second byte are the distance back; a length nibble of
//! 15 is followed by a byte that adds to it. So matches are 3 to 273 bytes long, at most 4095 bytes back.
//! Source: `common/pg_lzcompress.c`.

const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 273;
const MAX_DISTANCE: usize = 4095;
/// The length nibble that announces a third byte.
const LONG_MATCH: usize = 18;

/// Decompresses `input` into `output`, and only if it fills `output` exactly, as a restored image must.
/// Returns the bytes written.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut input = input.iter().copied();
    let mut at = 0;
    while at < output.len() {
        let mut control = input.next()?;
        for _ in 0..8 {
            if at == output.len() {
                break;
            }
            if control & 1 == 0 {
                *output.get_mut(at)? = input.next()?;
                at += 1;
            } else {
                let (first, second) = (input.next()?, input.next()?);
                let mut length = usize::from(first & 0x0F) + MIN_MATCH;
                let distance = usize::from(first & 0xF0) << 4 | usize::from(second);
                if length == LONG_MATCH {
                    length += usize::from(input.next()?);
                }
                at = copy_match(output, at, distance, length)?;
            }
            control >>= 1;
        }
    }
    if input.next().is_none() { Some(at) } else { None }
}

/// Copies what was written `distance` bytes ago, which may overlap what is being written. As in PostgreSQL, a match
/// that would go past the end of the output stops there.
fn copy_match(output: &mut [u8], at: usize, distance: usize, length: usize) -> Option<usize> {
    if distance == 0 || distance > at {
        return None;
    }
    let end = output.len().min(at + length);
    for to in at..end {
        *output.get_mut(to)? = *output.get(to - distance)?;
    }
    Some(end)
}

/// Compresses `input` greedily; `None` if that does not make it shorter.
pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    const BITS: u32 = 12;
    // The position after the latest one with the same hash of three bytes; 0 is none.
    let mut latest = vec![0_u32; 1 << BITS];
    let mut out = Vec::with_capacity(input.len());
    let mut control_at = 0;
    let mut at = 0;
    let mut items = 0;
    while at < input.len() {
        if items % 8 == 0 {
            control_at = out.len();
            out.push(0);
        }
        let found = input.get(at..at + MIN_MATCH).and_then(|key| {
            let word = key.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
            let slot = latest.get_mut((word.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize)?;
            let candidate = std::mem::replace(slot, at as u32 + 1).checked_sub(1)? as usize;
            best_match(input, candidate, at)
        });
        match found {
            Some((distance, length)) => {
                *out.get_mut(control_at)? |= 1 << (items % 8);
                push_tag(&mut out, distance, length);
                at += length;
            }
            None => {
                out.push(*input.get(at)?);
                at += 1;
            }
        }
        items += 1;
        if out.len() >= input.len() {
            return None;
        }
    }
    Some(out)
}

fn best_match(input: &[u8], candidate: usize, at: usize) -> Option<(usize, usize)> {
    let distance = at - candidate;
    let (earlier, later) = (input.get(candidate..)?, input.get(at..)?);
    let length = earlier.iter().zip(later).take(MAX_MATCH).take_while(|(a, b)| a == b).count();
    if length >= MIN_MATCH && distance <= MAX_DISTANCE { Some((distance, length)) } else { None }
}

fn push_tag(out: &mut Vec<u8>, distance: usize, length: usize) {
    let high = (distance >> 4) as u8 & 0xF0;
    if length < LONG_MATCH {
        out.extend_from_slice(&[high | (length - MIN_MATCH) as u8, distance as u8]);
    } else {
        out.extend_from_slice(&[high | 0x0F, distance as u8, (length - LONG_MATCH) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let mut text = b"the quick brown fox ".repeat(300);
        text.extend((0..2000_u32).map(|n| ((n * n) >> 3) as u8));
        let packed = compress(&text).unwrap();
        assert!(packed.len() < text.len() / 2);
        let mut output = vec![0; text.len()];
        assert_eq!(decompress(&packed, &mut output), Some(text.len()));
        assert_eq!(output, text);
    }

    #[test]
    fn a_match_reaches_back_only_into_what_was_written() {
        let mut output = [0; 8];
        assert_eq!(decompress(&[0x01, 0x00, 0x01], &mut output), None, "nothing written yet");
        assert_eq!(decompress(&[0x02, b'a', 0x04, 0x01], &mut output), Some(8), "overlapping");
        assert_eq!(output, *b"aaaaaaaa");
        assert_eq!(decompress(&[0x02, b'a', 0x04, 0x00], &mut output), None, "distance 0");
    }

    #[test]
    fn the_output_must_be_filled_exactly() {
        let mut output = [0; 2];
        assert_eq!(decompress(&[0x00, b'a'], &mut output), None, "too little");
        assert_eq!(decompress(&[0x00, b'a', b'b', b'c'], &mut output), None, "too much");
        assert_eq!(decompress(&[0x00, b'a', b'b'], &mut output), Some(2));
    }
}
