//! Typed expressions, ready to be evaluated over a row.
//!
//! The planner has resolved every name and inserted every conversion: the operands of an operator are of one type, and an
//! evaluation that finds another value reports a defect (XX000). Evaluating copies no text or bytes that a row, a parameter
//! or a constant already holds.

mod arithmetic;
mod cast;
mod context;
mod eval;
mod function;
mod like;
mod system;
#[cfg(test)]
mod tests;
mod walk;

/// Converts a value as an assignment to a column does: what is too long for it is refused (22001).
pub(crate) fn cast_value(value: Value<'_>, from: Type, to: Type) -> Result<Value<'_>, crate::SqlError> {
    cast::cast(value, from, to, false)
}

pub use context::{EvalContext, NoServer, RowRef, ServerFunctions};
pub use function::Function;
pub use system::SystemFunction;

use crate::types::{Type, Value};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A constant
    Const(Value<'static>),
    /// A parameter, counted from 0
    Param(u16),
    /// A column of the row at hand
    Column(u16),
    /// A column of the row that ON CONFLICT did not insert
    Excluded(u16),
    /// Arithmetic on two operands of one type, which is the result's type too
    Arithmetic(ArithmeticOp, Box<Expr>, Box<Expr>),
    /// Change of sign
    Negate(Box<Expr>),
    /// `||`
    Concat(Box<Expr>, Box<Expr>),
    /// Comparison of two operands of one type
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// `IS [NOT] DISTINCT FROM`; true = NOT
    Distinct(Box<Expr>, Box<Expr>, bool),
    /// All of these
    And(Vec<Expr>),
    /// Any of these
    Or(Vec<Expr>),
    /// `NOT`
    Not(Box<Expr>),
    /// `IS [NOT] NULL`; true = NOT
    IsNull(Box<Expr>, bool),
    /// `IS [NOT] TRUE/FALSE`: the value looked for; true = NOT
    IsBool(Box<Expr>, bool, bool),
    /// `[NOT] IN (list)`; true = NOT
    InList(Box<Expr>, Vec<Expr>, bool),
    /// `[NOT] BETWEEN`, of something that takes work to evaluate
    Between(Box<BetweenExpr>),
    /// `[NOT] LIKE`
    Like(Box<LikeExpr>),
    /// `CASE`: conditions with results, the rest
    Case(Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// `CASE` with an operand
    Switch(Box<SwitchExpr>),
    /// The first that is not NULL
    Coalesce(Vec<Expr>),
    /// NULL if both are equal, else the first
    NullIf(Box<Expr>, Box<Expr>),
    /// The greatest (true) or least that is not NULL
    Extreme(Vec<Expr>, bool),
    /// Conversion of a value from one type to another
    Cast(Box<CastExpr>),
    /// A function of its arguments alone
    Call(Function, Vec<Expr>),
    /// A function of the server, the session or the clock
    System(SystemFunction, Vec<Expr>),
}

/// `subject [NOT] LIKE pattern [ESCAPE escape]`
#[derive(Clone, Debug, PartialEq)]
pub struct LikeExpr {
    /// The text
    pub subject: Expr,
    /// The pattern
    pub pattern: Expr,
    /// The escape character, `\` by default, none if empty
    pub escape: Option<char>,
    /// `ILIKE`
    pub ignore_case: bool,
    /// `NOT`
    pub negated: bool,
}

/// `subject [NOT] BETWEEN low AND high`, all of one type. The subject is evaluated once.
#[derive(Clone, Debug, PartialEq)]
pub struct BetweenExpr {
    /// What is compared
    pub subject: Expr,
    /// The least
    pub low: Expr,
    /// The greatest
    pub high: Expr,
    /// `NOT`
    pub negated: bool,
}

/// `CASE operand WHEN ...`. The operand is evaluated once, and has the type of everything it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchExpr {
    /// What is compared
    pub operand: Expr,
    /// What it is compared with, and the results
    pub arms: Vec<(Expr, Expr)>,
    /// `ELSE`
    pub rest: Option<Expr>,
}

/// A conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct CastExpr {
    /// What is converted
    pub arg: Expr,
    /// Its type
    pub from: Type,
    /// The type of the result
    pub to: Type,
    /// Written in the statement, so that too long text is cut; an assignment refuses it (22001)
    pub explicit: bool,
}

/// Operators on numbers, points in time and spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl CompareOp {
    /// The operator with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether an order satisfies it.
    pub fn accepts(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
