//! What expressions are made of, visited and replaced.

use super::Expr;

impl Expr {
    /// Visits this expression and all below it, until `visit` says false.
    pub fn all(&self, visit: &mut impl FnMut(&Expr) -> bool) -> bool {
        visit(self) && self.all_operands(&mut |operand| operand.all(visit))
    }

    /// Visits what this expression is directly made of, until `visit` says false.
    pub(crate) fn all_operands(&self, visit: &mut dyn FnMut(&Expr) -> bool) -> bool {
        match self {
            Self::Const(_) | Self::Param(_) | Self::Column(_) | Self::Excluded(_) => true,
            Self::Negate(a) | Self::Not(a) | Self::IsNull(a, _) | Self::IsBool(a, ..) => visit(a),
            Self::Arithmetic(_, a, b)
            | Self::Compare(_, a, b)
            | Self::Concat(a, b)
            | Self::NullIf(a, b)
            | Self::Distinct(a, b, _) => visit(a) && visit(b),
            Self::And(list)
            | Self::Or(list)
            | Self::Coalesce(list)
            | Self::Extreme(list, _)
            | Self::Call(_, list)
            | Self::System(_, list) => list.iter().all(visit),
            Self::InList(a, list, _) => visit(a) && list.iter().all(visit),
            Self::Between(between) => visit(&between.subject) && visit(&between.low) && visit(&between.high),
            Self::Like(like) => visit(&like.subject) && visit(&like.pattern),
            Self::Case(arms, rest) => {
                arms.iter().all(|(when, then)| visit(when) && visit(then))
                    && rest.as_ref().is_none_or(|e| visit(e))
            }
            Self::Switch(switch) => {
                visit(&switch.operand)
                    && switch.arms.iter().all(|(when, then)| visit(when) && visit(then))
                    && switch.rest.as_ref().is_none_or(visit)
            }
            Self::Cast(cast) => visit(&cast.arg),
        }
    }

    /// Whether it is a constant, a parameter or a column.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self, Self::Const(_) | Self::Param(_) | Self::Column(_) | Self::Excluded(_))
    }

    /// Whether it has the same value for every row of one statement.
    pub fn is_row_independent(&self) -> bool {
        self.all(&mut |e| match e {
            Self::Column(_) | Self::Excluded(_) => false,
            Self::System(function, _) => function.is_stable(),
            _ => true,
        })
    }
}

impl Expr {
    /// Lets `change` replace this expression or any below it; below what it has replaced (true) nothing is visited.
    ///
    /// # Errors
    /// The first of `change`.
    pub(crate) fn rewrite<E>(
        &mut self,
        change: &mut impl FnMut(&mut Expr) -> Result<bool, E>,
    ) -> Result<(), E> {
        if change(self)? {
            return Ok(());
        }
        match self {
            Self::Const(_) | Self::Param(_) | Self::Column(_) | Self::Excluded(_) => {}
            Self::Negate(a) | Self::Not(a) | Self::IsNull(a, _) | Self::IsBool(a, ..) => a.rewrite(change)?,
            Self::Arithmetic(_, a, b)
            | Self::Compare(_, a, b)
            | Self::Concat(a, b)
            | Self::NullIf(a, b)
            | Self::Distinct(a, b, _) => {
                a.rewrite(change)?;
                b.rewrite(change)?;
            }
            Self::And(list)
            | Self::Or(list)
            | Self::Coalesce(list)
            | Self::Extreme(list, _)
            | Self::Call(_, list)
            | Self::System(_, list) => {
                for e in list {
                    e.rewrite(change)?;
                }
            }
            Self::InList(a, list, _) => {
                a.rewrite(change)?;
                for e in list {
                    e.rewrite(change)?;
                }
            }
            Self::Between(between) => {
                between.subject.rewrite(change)?;
                between.low.rewrite(change)?;
                between.high.rewrite(change)?;
            }
            Self::Like(like) => {
                like.subject.rewrite(change)?;
                like.pattern.rewrite(change)?;
            }
            Self::Case(arms, rest) => {
                for (when, then) in arms {
                    when.rewrite(change)?;
                    then.rewrite(change)?;
                }
                if let Some(rest) = rest {
                    rest.rewrite(change)?;
                }
            }
            Self::Switch(switch) => {
                switch.operand.rewrite(change)?;
                for (when, then) in &mut switch.arms {
                    when.rewrite(change)?;
                    then.rewrite(change)?;
                }
                if let Some(rest) = &mut switch.rest {
                    rest.rewrite(change)?;
                }
            }
            Self::Cast(cast) => cast.arg.rewrite(change)?,
        }
        Ok(())
    }
}
