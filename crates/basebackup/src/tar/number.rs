//! Numbers in a header.

/// Octal digits between blanks, or with the top bit of the first byte set a big-endian binary number.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    match field.split_first()? {
        (0x80, rest) => {
            rest.iter().try_fold(0u64, |value, byte| Some(value.checked_mul(256)? + u64::from(*byte)))
        }
        _ => octal(field),
    }
}

pub(super) fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    if digits.is_empty() || rest.iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}

/// Octal with a blank at the end if it fits, else base-256 (`print_tar_number`).
pub(super) fn put_number(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    let octal = digits >= 22 || value < 1 << (3 * digits);
    if let Some(last) = field.last_mut()
        && octal
    {
        *last = b' ';
    }
    let end = if octal { digits } else { field.len() };
    let (base_bits, zero) = if octal { (3, b'0') } else { (8, 0) };
    for byte in field.iter_mut().take(end).rev() {
        *byte = zero + (value & ((1 << base_bits) - 1)) as u8;
        value >>= base_bits;
    }
    if let Some(first) = field.first_mut()
        && !octal
    {
        *first = 0x80;
    }
}
