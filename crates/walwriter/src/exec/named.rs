//! PREPARE and EXECUTE: prepared statements by SQL's own names.

use std::sync::Arc;

use sql::Value;

use super::context::Context;
use super::portal::{Portal, Work};
use super::prepared::Prepared;
use super::session::SqlSession;
use super::utility::UtilityRun;
use super::{Failure, Result};
use crate::session::Step;

impl SqlSession {
    pub(super) fn prepare_named(&mut self, name: &str, types: &[String], text: &str) -> Result<()> {
        if self.named.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Failure::new("42P05", message));
        }
        let types = types.iter().map(|name| match sql::plan::type_by_name(name) {
            Some(ty) => Ok(ty.oid()),
            None => Err(Failure::new("42704", format!("type \"{name}\" does not exist"))),
        });
        let types = types.collect::<Result<Vec<_>>>()?;
        let prepared = self.prepare_text(text, &types)?;
        self.named.insert(name.to_owned(), prepared);
        Ok(())
    }

    pub(super) fn execute_named(
        &mut self,
        name: &str,
        arguments: &[String],
        portal: &mut Portal,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step> {
        if !matches!(portal.work, Work::Utility(UtilityRun::Execute(_))) {
            let prepared = Arc::clone(self.named.get(name).ok_or_else(|| no_prepared(name))?);
            let params = self.evaluate(&prepared, name, arguments)?;
            let planned = prepared.planned();
            let inner = Portal::new(prepared, planned, params, portal.formats.clone());
            portal.work = Work::Utility(UtilityRun::Execute(Box::new(inner)));
        }
        let Work::Utility(UtilityRun::Execute(inner)) = &mut portal.work else {
            return Err(Failure::new("XX000", "EXECUTE has lost its portal"));
        };
        self.step_portal(inner, out, rows_left)
    }

    /// The values of EXECUTE's arguments, as the prepared statement's parameters.
    fn evaluate(
        &mut self,
        prepared: &Prepared,
        name: &str,
        arguments: &[String],
    ) -> Result<Vec<Value<'static>>> {
        let planned = prepared.planned();
        let types = &planned.plan.params;
        if types.len() != arguments.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let (needed, given) = (types.len(), arguments.len());
            return Err(Failure::new("42601", message)
                .detail(format!("Expected {needed} parameters but got {given}.")));
        }
        let context = Context { shared: &self.shared, session: &self.info, tables: &self.tables };
        let context = sql::EvalContext::new(&[], &context);
        let values = types.iter().zip(arguments).map(|(ty, text)| {
            let expr = sql::plan::compile_default(text, *ty)?;
            Ok(expr.eval(&context)?.into_owned())
        });
        values.collect()
    }
}

pub(super) fn no_prepared(name: &str) -> Failure {
    Failure::new("26000", format!("prepared statement \"{name}\" does not exist"))
}
