//! How a statement begins.

use sql::PlanNode;

use super::copy_from::CopyFromRun;
use super::env::Env;
use super::insert::InsertRun;
use super::modify::{Change, ModifyRun};
use super::portal::Work;
use super::select::SelectRun;
use super::{Failure, Result};

/// The command of a plan that writes.
fn writing_command(node: &PlanNode) -> Option<&'static str> {
    match node {
        PlanNode::Insert(_) => Some("INSERT"),
        PlanNode::Update(_) => Some("UPDATE"),
        PlanNode::Delete(_) => Some("DELETE"),
        PlanNode::CopyFrom(_) => Some("COPY FROM"),
        PlanNode::CreateTable(_) => Some("CREATE TABLE"),
        PlanNode::DropTables { .. } => Some("DROP TABLE"),
        PlanNode::Truncate(_) => Some("TRUNCATE TABLE"),
        PlanNode::AddPrimaryKey { .. } => Some("ALTER TABLE"),
        PlanNode::Select(_) | PlanNode::CopyTo(_) | PlanNode::Utility(_) => None,
    }
}

/// Whether a plan needs what the engine gives to writers only: it writes, or reads rows as they are by now.
pub(super) fn takes_writes(node: &PlanNode) -> bool {
    match node {
        PlanNode::Select(plan) => plan.lock.is_some(),
        node => writing_command(node).is_some(),
    }
}

/// Starts the execution of a plan.
pub(super) fn begin(node: &PlanNode, env: &Env<'_>) -> Result<Work> {
    if let Some(command) = writing_command(node)
        && env.transaction.is_read_only()
    {
        return Err(Failure::read_only(command));
    }
    Ok(match node {
        PlanNode::Select(plan) => Work::Select(Box::new(SelectRun::open(plan, env)?)),
        PlanNode::CopyTo(plan) => Work::CopyTo(Box::new(SelectRun::open(&plan.query, env)?), false),
        PlanNode::Insert(plan) => Work::Insert(Box::new(InsertRun::open(plan, env)?)),
        PlanNode::Update(plan) => Work::Modify(Box::new(ModifyRun::open(Change::Update(plan), env)?)),
        PlanNode::Delete(plan) => Work::Modify(Box::new(ModifyRun::open(Change::Delete(plan), env)?)),
        PlanNode::CopyFrom(plan) => Work::CopyFrom(Box::new(CopyFromRun::open(plan))),
        _ => Work::Ddl(Box::default()),
    })
}
