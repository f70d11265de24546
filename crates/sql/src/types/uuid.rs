//! `uuid` in text.

use crate::error::{SqlError, sqlstate};

/// Reads the forms PostgreSQL reads: 32 hexadecimal digits, hyphens after any group of four, braces around it all.
///
/// # Errors
/// 22P02.
pub fn parse(text: &str) -> Result<[u8; 16], SqlError> {
    let invalid = || {
        let message = format!("invalid input syntax for type uuid: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    };
    let bytes = text.as_bytes();
    let body = match bytes {
        [b'{', inner @ .., b'}'] => inner,
        [b'{', ..] => return Err(invalid()),
        _ => bytes,
    };
    let mut out = [0u8; 16];
    let mut at = 0;
    for (i, slot) in out.iter_mut().enumerate() {
        let pair = body.get(at..at + 2).ok_or_else(invalid)?;
        let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(invalid);
        *slot = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        at += 2;
        if i % 2 == 1 && i < 15 && body.get(at) == Some(&b'-') {
            at += 1;
        }
    }
    if at == body.len() { Ok(out) } else { Err(invalid()) }
}

/// Writes the canonical form with four hyphens.
pub fn write(uuid: &[u8; 16], out: &mut Vec<u8>) {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        super::bytea::push_hex(*byte, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_writes_one() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for form in [
            canonical,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            let mut out = Vec::new();
            write(&parse(form).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), canonical);
        }
    }

    #[test]
    fn refuses_other_text() {
        for form in [
            "",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1",
            "a0eebc999c0b4ef8bb6d6bb9bd380a111",
            "é0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(parse(form).unwrap_err().sqlstate(), "22P02");
        }
    }
}
