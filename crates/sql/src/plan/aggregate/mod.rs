//! Grouping and aggregates.

mod state;

use std::collections::{HashMap, HashSet};

use crate::error::SqlError;
use crate::expr::{EvalContext, Expr};
use crate::types::{Numeric, Type, Value};
use state::State;

/// Rows are put into groups of equal keys; every group becomes one row of its keys and its aggregates' results.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The keys, evaluated over the source's row; none: all rows are one group, which exists even without rows (unless
    /// there are no aggregates either)
    pub keys: Vec<Expr>,
    /// Types of the keys
    pub key_types: Vec<Type>,
    /// The aggregates
    pub aggregates: Vec<Aggregate>,
    /// What a group must satisfy, evaluated over its row
    pub having: Option<Expr>,
}

/// One aggregate.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which
    pub function: AggregateFunction,
    /// Its argument over the source's row; `None` for `count(*)`
    pub arg: Option<Expr>,
    /// The argument's type
    pub arg_type: Type,
    /// `DISTINCT`
    pub distinct: bool,
    /// `FILTER (WHERE ...)`
    pub filter: Option<Expr>,
}

/// The aggregates there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// `count(*)`, `count(x)`
    Count,
    /// `sum(x)`: bigint of integers, numeric of bigints and numerics, double of doubles
    Sum,
    /// `avg(x)`: numeric, double of doubles
    Avg,
    /// `min(x)`
    Min,
    /// `max(x)`
    Max,
    /// `bool_and(x)`
    BoolAnd,
    /// `bool_or(x)`
    BoolOr,
}

impl AggregateFunction {
    /// The aggregate of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "bool_and" | "every" => Self::BoolAnd,
            "bool_or" => Self::BoolOr,
            _ => return None,
        })
    }

    /// The type of its result over arguments of a type; `None` when it takes no such argument.
    pub fn result_type(self, arg: Type) -> Option<Type> {
        Some(match (self, arg) {
            (Self::Count, _) => Type::Int8,
            (Self::Sum, Type::Int2 | Type::Int4) => Type::Int8,
            (Self::Sum | Self::Avg, Type::Float8) => Type::Float8,
            (Self::Sum, Type::Int8 | Type::Numeric) => Type::Numeric,
            (Self::Avg, Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric) => Type::Numeric,
            (Self::Min | Self::Max, Type::Varchar(_) | Type::Name) => Type::Text,
            (Self::Min | Self::Max, Type::Bool | Type::Uuid | Type::Jsonb | Type::Bytea | Type::Void) => {
                return None;
            }
            (Self::Min | Self::Max, other) => other.without_length(),
            (Self::BoolAnd | Self::BoolOr, Type::Bool) => Type::Bool,
            _ => return None,
        })
    }
}

/// A running aggregation: rows in, one row per group out.
#[derive(Debug)]
pub struct Aggregation {
    /// Positions in `groups` by the text of the keys
    index: HashMap<Vec<u8>, usize>,
    groups: Vec<Group>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Group {
    keys: Vec<Value<'static>>,
    states: Vec<State>,
    /// For every DISTINCT aggregate the arguments it has seen
    seen: Vec<HashSet<Vec<u8>>>,
}

impl Aggregation {
    /// An aggregation without rows yet. It does not hold its plan, so that whoever holds both can put it aside and go on
    /// later; each call is to be given the same plan.
    pub fn new(plan: &Grouping) -> Self {
        let mut this = Self { index: HashMap::new(), groups: Vec::new(), scratch: Vec::new() };
        if plan.keys.is_empty() && !plan.aggregates.is_empty() {
            this.groups.push(Group::new(plan, Vec::new()));
        }
        this
    }

    /// Takes the context's row in. Returns the bytes of memory that a new group takes, for the caller's limit.
    ///
    /// # Errors
    /// Those of the expressions; 22003 for a sum that overflows.
    pub fn add(&mut self, plan: &Grouping, context: &EvalContext<'_>) -> Result<usize, SqlError> {
        let mut grown = 0;
        let at = if plan.keys.is_empty() && !self.groups.is_empty() {
            0
        } else {
            self.scratch.clear();
            let mut keys = Vec::with_capacity(plan.keys.len());
            for (expr, ty) in plan.keys.iter().zip(&plan.key_types) {
                let value = expr.eval(context)?;
                distinct_bytes(&value, *ty, &mut self.scratch);
                keys.push(value);
            }
            match self.index.get(&self.scratch) {
                Some(at) => *at,
                None => {
                    let keys = keys.into_iter().map(Value::into_owned).collect();
                    grown = 2 * self.scratch.len() + 128;
                    self.groups.push(Group::new(plan, keys));
                    self.index.insert(self.scratch.clone(), self.groups.len() - 1);
                    self.groups.len() - 1
                }
            }
        };
        let group = &mut self.groups[at];
        for ((aggregate, state), seen) in plan.aggregates.iter().zip(&mut group.states).zip(&mut group.seen) {
            if let Some(filter) = &aggregate.filter
                && !filter.eval_condition(context)?
            {
                continue;
            }
            let Some(arg) = &aggregate.arg else {
                state.count_row();
                continue;
            };
            let value = arg.eval(context)?;
            if value.is_null() {
                continue;
            }
            if aggregate.distinct {
                self.scratch.clear();
                distinct_bytes(&value, aggregate.arg_type, &mut self.scratch);
                if seen.contains(&self.scratch) {
                    continue;
                }
                grown += self.scratch.len() + 64;
                seen.insert(self.scratch.clone());
            }
            state.add(aggregate.function, value)?;
        }
        Ok(grown)
    }

    /// The groups' rows: keys, then results. HAVING is the caller's to check.
    ///
    /// # Errors
    /// 22003 for a result that its type cannot hold.
    pub fn finish(self, plan: &Grouping) -> Result<Vec<Vec<Value<'static>>>, SqlError> {
        self.groups
            .into_iter()
            .map(|group| {
                let mut row = group.keys;
                for (aggregate, state) in plan.aggregates.iter().zip(group.states) {
                    row.push(state.finish(aggregate)?);
                }
                Ok(row)
            })
            .collect()
    }
}

impl Group {
    fn new(plan: &Grouping, keys: Vec<Value<'static>>) -> Self {
        let states = plan.aggregates.iter().map(Aggregate::start).collect();
        Self { keys, states, seen: vec![HashSet::new(); plan.aggregates.len()] }
    }
}

/// Bytes that are equal for equal values of one type.
fn distinct_bytes(value: &Value<'_>, ty: Type, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 5]);
    match value {
        Value::Null => return,
        Value::Float8(v) if *v == 0.0 => out.push(b'0'),
        Value::Numeric(v) => crate::types::text::write(&Value::Numeric(Box::new(v.normalized())), ty, out),
        other => crate::types::text::write(other, ty.without_length(), out),
    }
    let length = (out.len() - start - 5) as u32;
    out[start] = 1;
    out[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
}

impl Aggregate {
    fn start(&self) -> State {
        match (self.function, self.arg_type) {
            (AggregateFunction::Count, _) => State::Count(0),
            (AggregateFunction::Min | AggregateFunction::Max, _) => State::Best(Value::Null),
            (AggregateFunction::BoolAnd | AggregateFunction::BoolOr, _) => State::Bool(None),
            (_, Type::Float8) => State::Floats { sum: 0.0, count: 0 },
            (_, Type::Numeric) => State::Numerics { sum: Numeric::from_integer(0), count: 0 },
            _ => State::Integers { sum: 0, count: 0 },
        }
    }
}
