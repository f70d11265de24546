//! Statements that differ in their literals alone, brought to one text.
//!
//! A client that sends `... where aid = 7` and then `... where aid = 8` asks for one plan twice. [`normalize`] replaces the
//! literals of a statement by parameters without parsing it, fast enough to be done for every text: the server keeps plans
//! by the normalised text and executes them with the literals as parameters. What it is not sure of it leaves alone: the
//! answer is false and the text takes the usual way. So does a normalised text that cannot be planned: the plain text is
//! planned then, for its result or for its error with the right position.

use crate::types::{Type, Value};

/// The most literals of one statement; more (bulk inserts) are better planned each time.
const MAX_LITERALS: usize = 64; // two digits, see `push_param`

/// A statement without its literals. Kept and reused by the caller, so that normalising allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Normalized {
    /// The statement with `$1`, `$2`, ... in place of its literals. Literals of different types give different texts (by
    /// the blank in front), so that plans can be kept by the text alone.
    pub text: String,
    /// The types to plan the text with: strings are `Unknown` and take the type of their context, as literals do.
    pub types: Vec<Type>,
    ranges: Vec<Literal>,
}

#[derive(Clone, Copy, Debug)]
enum Literal {
    Int4(i32),
    Int8(i64),
    /// Bytes of the original text between the quotes, without quotes within
    Text(usize, usize),
}

impl Normalized {
    /// How many literals there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The literal of a parameter, to be read as the type that the plan has for it.
    ///
    /// # Errors
    /// 22P02 and its kin when a string is no value of that type.
    pub fn value<'t>(&self, index: usize, original: &'t str, ty: Type) -> Result<Value<'t>, crate::SqlError> {
        match self.ranges.get(index) {
            Some(Literal::Int4(v)) => Ok(Value::Int4(*v)),
            Some(Literal::Int8(v)) => Ok(Value::Int8(*v)),
            Some(Literal::Text(start, end)) => {
                crate::types::text::parse(ty, original.get(*start..*end).unwrap_or_default())
            }
            None => Err(crate::SqlError::internal("literal without a value")),
        }
    }

    /// All literals as parameters of the plan's types.
    ///
    /// # Errors
    /// As [`Normalized::value`].
    pub fn values<'t>(
        &self,
        original: &'t str,
        types: &[Type],
        out: &mut Vec<Value<'t>>,
    ) -> Result<(), crate::SqlError> {
        for (index, ty) in types.iter().enumerate() {
            out.push(self.value(index, original, *ty)?);
        }
        Ok(())
    }
}

/// What stood in front of a literal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An operator, a parenthesis, a comma or a word that an operand follows: a literal is an operand
    Operand,
    /// Anything else
    Other,
}

/// Brings a statement to its normalised text; false when it is not one that is certainly understood.
///
/// Only a single SELECT, INSERT, UPDATE or DELETE of plain tokens is: no comments, no quotes of other kinds, no casts, no
/// parameters, no literals in ORDER BY and GROUP BY (where a number means a column), none that have a type in front.
pub fn normalize(text: &str, out: &mut Normalized) -> bool {
    out.text.clear();
    out.types.clear();
    out.ranges.clear();
    let trimmed = text.trim_ascii_end();
    let trimmed = trimmed.strip_suffix(';').unwrap_or(trimmed).trim_ascii_end();
    let bytes = trimmed.as_bytes();
    let (mut i, mut copied) = (0, 0);
    let mut before = Before::Other;
    let mut first = true;
    while let Some(&byte) = bytes.get(i) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                i += 1;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = word_end(bytes, i);
                let word = &bytes[i..end];
                if bytes.get(end) == Some(&b'\'') {
                    return false;
                }
                if std::mem::take(&mut first) {
                    if ![&b"select"[..], b"insert", b"update", b"delete"]
                        .iter()
                        .any(|k| word.eq_ignore_ascii_case(k))
                    {
                        return false;
                    }
                    before = Before::Operand;
                } else {
                    match class_of(word) {
                        None => return false,
                        Some(class) => before = class,
                    }
                }
                i = end;
            }
            b'0'..=b'9' | b'\'' | b'-' if before == Before::Operand => {
                let Some((literal, end)) = literal(trimmed, i) else { return false };
                if out.ranges.len() == MAX_LITERALS {
                    return false;
                }
                out.text.push_str(&trimmed[copied..i]);
                push_param(out, literal);
                (i, copied) = (end, end);
                before = Before::Other;
            }
            b'(' | b',' | b'=' | b'<' | b'>' | b'+' | b'*' | b'-' | b'/' | b'%' => {
                let comment = matches!((byte, bytes.get(i + 1)), (b'-', Some(b'-')) | (b'/', Some(b'*')));
                if comment {
                    return false;
                }
                before = Before::Operand;
                i += 1;
            }
            b')' | b'.' => {
                before = Before::Other;
                i += 1;
            }
            _ => return false,
        }
        if first {
            return false;
        }
    }
    out.text.push_str(&trimmed[copied..]);
    !first
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let more = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$';
    start + bytes[start..].iter().take_while(|b| more(b)).count()
}

/// What a word means for a literal behind it; `None` for words that make the text none of ours.
fn class_of(word: &[u8]) -> Option<Before> {
    if word.len() > 9 {
        return if word.eq_ignore_ascii_case(b"generate_series") { None } else { Some(Before::Other) };
    }
    let mut lower = [0u8; 9];
    lower[..word.len()].copy_from_slice(word);
    lower.make_ascii_lowercase();
    match &lower[..word.len()] {
        b"order" | b"group" | b"interval" | b"timestamp" | b"date" | b"time" | b"cast" | b"extract"
        | b"escape" | b"as" | b"union" | b"with" | b"like" | b"ilike" | b"round" | b"distinct" => None,
        b"and" | b"or" | b"where" | b"values" | b"not" | b"in" | b"between" | b"then" | b"else" | b"when"
        | b"limit" | b"offset" => Some(Before::Operand),
        _ => Some(Before::Other),
    }
}

/// Reads a literal at `start`: an integer, with its sign, or a plain string.
fn literal(text: &str, start: usize) -> Option<(Literal, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(start) == Some(&b'\'') {
        let length = bytes[start + 1..].iter().position(|b| *b == b'\'' || *b == b'\\' || *b == 0)?;
        let end = start + 1 + length;
        // A second quote is one quote of the text, or the text goes on in another literal.
        let ends = bytes[end] == b'\'' && bytes.get(end + 1) != Some(&b'\'');
        return ends
            .then_some((Literal::Text(start + 1, end), end + 1))
            .filter(|_| !continues(bytes, end + 1));
    }
    let sign = usize::from(bytes.get(start) == Some(&b'-'));
    let digits = bytes[start + sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let end = start + sign + digits;
    if digits == 0
        || bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'))
    {
        return None;
    }
    let number: i64 = text[start..end].parse().ok()?;
    let literal = i32::try_from(number).map_or(Literal::Int8(number), Literal::Int4);
    Some((literal, end))
}

fn continues(bytes: &[u8], from: usize) -> bool {
    bytes[from..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'\'')
}

fn push_param(out: &mut Normalized, literal: Literal) {
    let number = out.ranges.len() + 1;
    // The kind of blank tells types apart, so that the text alone is enough to find the plan.
    let (ty, blank) = match literal {
        Literal::Int4(_) => (Type::Int4, '\t'),
        Literal::Int8(_) => (Type::Int8, '\n'),
        Literal::Text(..) => (Type::Unknown, ' '),
    };
    out.text.push(blank);
    out.text.push('$');
    for digit in [number / 10, number % 10] {
        if digit > 0 || number >= 10 {
            out.text.push(char::from(b'0' + (digit % 10) as u8));
        }
    }
    out.types.push(ty);
    out.ranges.push(literal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(String, Vec<Type>)> {
        let mut out = Normalized::default();
        normalize(text, &mut out).then(|| (out.text.clone(), out.types.clone()))
    }

    #[test]
    fn literals_of_operands_become_parameters() {
        let (text, types) = of("UPDATE t SET a = a + -42, c='x' WHERE aid = 7;").unwrap();
        assert_eq!(text, "UPDATE t SET a = a + \t$1, c= $2 WHERE aid = \t$3");
        assert_eq!(types, [Type::Int4, Type::Unknown, Type::Int4]);
        assert_eq!(of("select 1 from t where b = 3000000000").unwrap().1, [Type::Int4, Type::Int8]);
        assert_eq!(of("select a from t").unwrap().1, []);
        let mut out = Normalized::default();
        let original = "insert into t values (-5, 'é', 30000000000)";
        assert!(normalize(original, &mut out));
        let mut values = Vec::new();
        out.values(original, &[Type::Int4, Type::Text, Type::Int8], &mut values).unwrap();
        assert_eq!(values, [Value::Int4(-5), Value::text("é"), Value::Int8(30_000_000_000)]);
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            "",
            ";",
            "begin",
            "select 1; select 2",
            "select a from t order by 1",
            "select 'it''s'",
            "select E'a'",
            "select 'a' -- c",
            "select 1.5",
            "select $1",
            "select 'a'::text",
            "select interval '1 day'",
            "select \"A\"",
            "select a - 1 /* c */ from t",
            "select 1e5",
            "select 'a' 'b'",
            "select 'a\\b'",
            "select 12x",
            "select $$a$$",
            "select 'open",
            "select date '2020-01-01'",
            "select 99999999999999999999",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of("select a -1 from t").unwrap().0, "select a -\t$1 from t");
    }
}
