//! How much there is to a text, before memory is spent on its tokens.
//!
//! Looks at the bytes alone, and takes a quoted string or a comment for one thing, as the tokenizer does.

/// What a token is counted as: a blank is gone before the parser sees it, everything else takes several times as much.
const TOKEN: usize = 4;

/// Whether a text has more than `most` tokens; four blanks count as one. Texts of fewer bytes are not looked at.
pub(super) fn exceeds(text: &str, most: usize) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() <= most {
        return false;
    }
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        count += if bytes.get(at).is_some_and(u8::is_ascii_whitespace) { 1 } else { TOKEN };
        at = skip(bytes, at);
        if count > TOKEN * most {
            return true;
        }
    }
    false
}

/// Where the token that begins at `at` ends.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let length = match rest {
        [b'e' | b'E', b'\'', text @ ..] => 2 + string(text, true),
        [b'\'', text @ ..] => 1 + string(text, false),
        [b'"', text @ ..] => 1 + until(text, b"\""),
        [b'-', b'-', text @ ..] => 2 + until(text, b"\n"),
        [b'/', b'*', text @ ..] => 2 + comment(text),
        [b'$', text @ ..] => dollars(text).unwrap_or(1),
        [first, ..] if is_word(*first) => rest.iter().take_while(|byte| is_word(**byte)).count(),
        _ => 1,
    };
    at + length
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Up to and with the first `end`, or all of it.
fn until(text: &[u8], end: &[u8]) -> usize {
    text.windows(end.len()).position(|part| part == end).map_or(text.len(), |at| at + end.len())
}

/// Up to and with the quote that ends a string. A doubled quote ends it too, and another begins.
fn string(text: &[u8], escapes: bool) -> usize {
    if !escapes {
        return until(text, b"'");
    }
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += if byte == b'\\' { 2 } else { 1 };
        if byte == b'\'' {
            break;
        }
    }
    at.min(text.len())
}

/// Up to the end of a comment, in which others may be.
fn comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 1);
    while depth > 0 {
        at += match text.get(at..) {
            Some([b'*', b'/', ..]) => {
                depth -= 1;
                2
            }
            Some([b'/', b'*', ..]) => {
                depth += 1;
                2
            }
            Some([_, ..]) => 1,
            _ => return text.len(),
        };
    }
    at
}

/// The length of a string between `$tag$` and its like; nothing if the first dollar is something else.
fn dollars(text: &[u8]) -> Option<usize> {
    let tag = text.iter().take_while(|byte| is_word(**byte)).count();
    let (tag, rest) = text.split_at_checked(tag + 1).filter(|(tag, _)| tag.ends_with(b"$"))?;
    if tag.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let end = [b"$", tag].concat();
    Some(1 + tag.len() + until(rest, &end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_one_thing_however_long() {
        let long = "a b, c ".repeat(1000);
        for text in [
            format!("select '{long}'"),
            format!("select e'{long}\\' {long}'"),
            format!("select \"{long}\""),
            format!("select $a${long} $b$ {long}$a$"),
            format!("select $${long}$$"),
            format!("select 1 -- {long}"),
            format!("select /* {long} /* */ {long} */ 1"),
        ] {
            assert!(!exceeds(&text, 10), "{}", &text[..20]);
        }
        assert!(exceeds(&long, 4749));
        assert!(!exceeds(&long, 4750));
        assert!(exceeds(&"$1,".repeat(100), 299));
    }
}
