//! Functions by their names and the types of their arguments.

use super::binder::{Binder, Bound};
use super::coerce::Context;
use super::functions::no_function;
use crate::error::SqlError;
use crate::expr::{Expr, Function, SystemFunction};
use crate::types::{Type, Value};

/// Finds the function and converts its arguments.
pub(super) fn resolve(binder: &mut Binder<'_>, name: &str, args: Vec<Bound>) -> Result<Bound, SqlError> {
    use Function as F;
    use Type::{Bytea, Float8, Int4, Int8, PgLsn, Text};
    let types: Vec<Type> = args.iter().map(|a| a.ty).collect();
    let first = types.first().copied().unwrap_or(Type::Void);
    let signature: (Function, &[Type], Type) = match (name, args.len()) {
        ("length" | "octet_length", 1) if first == Bytea => (F::ByteLength, &[Bytea], Int4),
        ("length" | "char_length" | "character_length", 1) => (F::Length, &[Text], Int4),
        ("octet_length", 1) => (F::OctetLength, &[Text], Int4),
        ("lower", 1) => (F::Lower, &[Text], Text),
        ("upper", 1) => (F::Upper, &[Text], Text),
        ("substr" | "substring", 2) => (F::SubstringFrom, &[Text, Int4], Text),
        ("substr" | "substring", 3) => (F::SubstringFor, &[Text, Int4, Int4], Text),
        ("left", 2) => (F::Left, &[Text, Int4], Text),
        ("right", 2) => (F::Right, &[Text, Int4], Text),
        ("btrim" | "trim", 1) => (F::TrimBoth, &[Text], Text),
        ("btrim", 2) => (F::TrimBoth, &[Text, Text], Text),
        ("ltrim", 1) => (F::TrimLeft, &[Text], Text),
        ("ltrim", 2) => (F::TrimLeft, &[Text, Text], Text),
        ("rtrim", 1) => (F::TrimRight, &[Text], Text),
        ("rtrim", 2) => (F::TrimRight, &[Text, Text], Text),
        ("replace", 3) => (F::Replace, &[Text, Text, Text], Text),
        ("repeat", 2) => (F::Repeat, &[Text, Int4], Text),
        ("reverse", 1) => (F::Reverse, &[Text], Text),
        ("strpos", 2) => (F::Position, &[Text, Text], Int4),
        ("lpad", 2) => (F::PadLeft, &[Text, Int4], Text),
        ("lpad", 3) => (F::PadLeft, &[Text, Int4, Text], Text),
        ("rpad", 2) => (F::PadRight, &[Text, Int4], Text),
        ("rpad", 3) => (F::PadRight, &[Text, Int4, Text], Text),
        ("concat" | "concat_ws", 1..) => return concat(binder, name, args),
        ("abs", 1) => match first {
            Type::Int2 => (F::Abs, &[Type::Int2], Type::Int2),
            Int4 => (F::Abs, &[Int4], Int4),
            Int8 => (F::Abs, &[Int8], Int8),
            Type::Numeric => (F::Abs, &[Type::Numeric], Type::Numeric),
            _ => (F::Abs, &[Float8], Float8),
        },
        ("floor" | "ceil" | "ceiling" | "round", 1) => {
            let function = match name {
                "floor" => F::Floor,
                "round" => F::Round,
                _ => F::Ceil,
            };
            if first == Type::Numeric {
                (function, &[Type::Numeric], Type::Numeric)
            } else {
                (function, &[Float8], Float8)
            }
        }
        ("round", 2) => (F::Round, &[Type::Numeric, Int4], Type::Numeric),
        ("trunc", 1) => (F::Trunc, &[Float8], Float8),
        ("sign", 1) => (F::Sign, &[Float8], Float8),
        ("sqrt", 1) => (F::Sqrt, &[Float8], Float8),
        ("power" | "pow", 2) => (F::Power, &[Float8, Float8], Float8),
        ("exp", 1) => (F::Exp, &[Float8], Float8),
        ("ln", 1) => (F::Ln, &[Float8], Float8),
        ("mod", 2) => return modulo(binder, args),
        ("ascii", 1) => (F::Ascii, &[Text], Int4),
        ("chr", 1) => (F::Chr, &[Int4], Text),
        ("to_hex", 1) => (F::ToHex, &[Int8], Text),
        ("epoch", 1) if first == Type::Interval => (F::EpochInterval, &[Type::Interval], Float8),
        ("epoch", 1) => (F::EpochTimestamp, &[Type::Timestamptz], Float8),
        ("date_trunc", 2) if types[1] == Type::Timestamp => {
            (F::DateTrunc, &[Text, Type::Timestamp], Type::Timestamp)
        }
        ("date_trunc", 2) => (F::DateTrunc, &[Text, Type::Timestamptz], Type::Timestamptz),
        ("to_timestamp", 1) => (F::ToTimestamp, &[Float8], Type::Timestamptz),
        ("pg_wal_lsn_diff", 2) => (F::LsnDifference, &[PgLsn, PgLsn], Type::Numeric),
        ("pg_size_pretty", 1) if first == Type::Numeric => {
            let args = convert(binder, name, args, &[Int8], Context::Assignment)?;
            return Ok(Bound::new(Expr::Call(F::SizePretty, args), Text));
        }
        ("pg_size_pretty", 1) => (F::SizePretty, &[Int8], Text),
        ("encode", 2) => (F::Encode, &[Bytea, Text], Text),
        ("decode", 2) => (F::Decode, &[Text, Text], Bytea),
        ("quote_ident", 1) => (F::QuoteIdent, &[Text], Text),
        ("quote_literal", 1) => (F::QuoteLiteral, &[Text], Text),
        ("coalesce" | "greatest" | "least", 1..) => {
            let upper = name.to_ascii_uppercase();
            let (list, ty) = binder.unify(args, &upper)?;
            if ty == Type::Jsonb && name != "coalesce" {
                return Err(SqlError::unsupported("comparison of jsonb values"));
            }
            let expr = if name == "coalesce" {
                Expr::Coalesce(list)
            } else {
                Expr::Extreme(list, name == "greatest")
            };
            return Ok(Bound::new(expr, ty));
        }
        ("nullif", 2) => return null_if(binder, args),
        ("pg_typeof", 1) => {
            let name = if first == Type::Unknown { "unknown".to_owned() } else { first.name().to_owned() };
            return Ok(Bound { expr: Expr::Const(Value::owned_text(name)), ty: Text });
        }
        _ => return system(binder, name, args),
    };
    let (function, wanted, result) = signature;
    let args = convert(binder, name, args, wanted, Context::Implicit)?;
    Ok(Bound::new(Expr::Call(function, args), result))
}

fn convert(
    binder: &mut Binder<'_>,
    name: &str,
    args: Vec<Bound>,
    wanted: &[Type],
    context: Context,
) -> Result<Vec<Expr>, SqlError> {
    let types: Vec<Type> = args.iter().map(|a| a.ty).collect();
    let mut exprs = Vec::with_capacity(args.len());
    for (arg, ty) in args.into_iter().zip(wanted) {
        let converted = binder.try_coerce(arg, *ty, context)?;
        exprs.push(converted.ok_or_else(|| no_function(name, &types))?.expr);
    }
    Ok(exprs)
}

fn concat(binder: &mut Binder<'_>, name: &str, args: Vec<Bound>) -> Result<Bound, SqlError> {
    let wanted = vec![Type::Text; args.len()];
    let mut printed = Vec::with_capacity(args.len());
    for arg in args {
        // A boolean prints as t or f here, not as true or false as a cast makes it.
        printed.push(if arg.ty == Type::Bool {
            let text = |t: &'static str| Expr::Const(Value::text(t));
            let is = |wanted| Expr::IsBool(Box::new(arg.expr.clone()), wanted, false);
            Bound::new(Expr::Case(vec![(is(true), text("t")), (is(false), text("f"))], None), Type::Text)
        } else {
            arg
        });
    }
    let exprs = convert(binder, name, printed, &wanted, Context::Assignment)?;
    let function = if name == "concat" { Function::Concat } else { Function::ConcatSeparated };
    Ok(Bound::new(Expr::Call(function, exprs), Type::Text))
}

fn modulo(binder: &mut Binder<'_>, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
    match (args.pop(), args.pop()) {
        (Some(b), Some(a)) => binder.arithmetic_bound(crate::expr::ArithmeticOp::Modulo, "%", a, b),
        _ => Err(no_function("mod", &[])),
    }
}

fn null_if(binder: &mut Binder<'_>, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
    match (args.pop(), args.pop()) {
        (Some(b), Some(a)) => {
            let ty = super::coerce::common(a.ty, b.ty).unwrap_or(Type::Text);
            let ty = if ty == Type::Unknown { Type::Text } else { ty };
            let (a, b) = binder.comparable("=", a, b)?;
            Ok(Bound::new(Expr::NullIf(Box::new(a), Box::new(b)), ty))
        }
        _ => Err(no_function("nullif", &[])),
    }
}

fn system(binder: &mut Binder<'_>, name: &str, args: Vec<Bound>) -> Result<Bound, SqlError> {
    let types: Vec<Type> = args.iter().map(|a| a.ty).collect();
    let name = match name {
        "transaction_timestamp" => "now",
        "pg_log_standby_snapshot" => return Err(SqlError::unsupported(name)),
        other => other,
    };
    let candidates = SystemFunction::ALL
        .iter()
        .filter(|f| f.name() == name && f.args().len() == args.len() && **f != SystemFunction::NextSerial);
    for function in candidates {
        let fits = function
            .args()
            .iter()
            .zip(&types)
            .all(|(to, from)| super::coerce::allowed(*from, *to, Context::Implicit));
        if fits {
            let args = convert(binder, name, args, function.args(), Context::Implicit)?;
            return Ok(Binder::system(*function, args));
        }
    }
    Err(no_function(name, &types))
}
