//! How deep a statement may nest, and the stack that takes.
//!
//! The parser, the planner and the evaluation of expressions recurse into what nests; so does dropping it. What a client
//! sends therefore has limits (54001 beyond them), and threads that execute what clients send have a stack ([`STACK`])
//! that is more than twice what anything within the limits needs. Two limits, because two things cost stack:
//!
//! - Nesting, of parentheses, calls, `CASE`, `NOT` and the like: the parser takes up to 92 kB for a level when it is built
//!   without optimisation, 24 kB with. PostgreSQL allows a few thousand levels where it recurses.
//! - Chains of operators (`1 + 1 + ...`, `a = 1 or a = 2 or ...`), which lean to the left: the parser takes nothing for
//!   a link, but the planner and the evaluation take up to 1.5 kB. All that a chain may be made of counts.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{SqlError, sqlstate};

/// The stack of a thread that parses, plans and executes statements, in bytes. Memory of the system is taken for it only
/// as deep as it is used. Without optimisation frames are several times as large.
pub const STACK: usize = if cfg!(debug_assertions) { 256 << 20 } else { 64 << 20 };

/// Levels of parentheses, brackets and braces, and of CASE.
pub const MAX_LEVELS: usize = 500;
/// Levels of all that the parser recurses into: a parenthesis with an operator in front of it is two.
pub(crate) const MAX_RECURSION: usize = 2 * MAX_LEVELS + 10;
/// Words and signs, but for literals, from the outermost expression down to the innermost on any one path.
pub(crate) const MAX_CHAIN: usize = 15_000;
/// `position(position(...` : at each level the parser first looks for `IN`, and reads the whole once more if there is none.
const MAX_POSITIONS: usize = 6;

/// The error for what nests deeper.
pub(crate) fn too_deep() -> SqlError {
    SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_detail("The statement is nested too deeply.")
}

/// What is open at a place of the statement.
#[derive(Default)]
struct Level {
    /// What may have joined into a chain since the last comma
    chain: usize,
    /// Joins and set operations, which chain across commas
    joined: usize,
    is_position: bool,
}

/// Refuses tokens that would nest deeper than the limits before any parser sees them.
///
/// It does not know what the tokens mean, and counts rather too much: no way to write a chain must escape it.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut outer: Vec<Level> = Vec::new();
    let (mut here, mut total, mut positions) = (Level::default(), 0usize, 0usize);
    let (mut cases, mut after_position) = (0usize, false);
    for token in tokens {
        let is_position = std::mem::take(&mut after_position);
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                outer.push(std::mem::take(&mut here));
                here.is_position = is_position;
                positions += usize::from(is_position);
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                total -= here.chain + here.joined;
                positions -= usize::from(here.is_position);
                here = outer.pop().unwrap_or_default();
                // Subscripts and dimensions chain.
                here.chain += 1;
                total += 1;
            }
            Token::Comma => {
                total -= here.chain;
                here.chain = 0;
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            Token::Word(word) if joins(&word.value) => {
                here.joined += 1;
                total += 1;
            }
            other => {
                let is = |known| matches!(other, Token::Word(word) if word.value.eq_ignore_ascii_case(known));
                after_position = is("position");
                if is("case") {
                    cases += 1;
                } else if is("end") {
                    cases = cases.saturating_sub(1);
                }
                here.chain += 1;
                total += 1;
            }
        }
        if total > MAX_CHAIN || outer.len().max(cases) > MAX_LEVELS || positions > MAX_POSITIONS {
            return Err(too_deep());
        }
    }
    Ok(())
}

fn joins(word: &str) -> bool {
    ["join", "union", "except", "intersect", "minus"].iter().any(|known| word.eq_ignore_ascii_case(known))
}
