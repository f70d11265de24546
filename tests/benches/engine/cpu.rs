//! The CPU time that a server has used: of all its processes, those included that have ended.

use anyhow::{Context, Result};
use walship_tests::descendants_of;

/// CPU seconds that process `server` and its children have used so far. A child that has ended counts as soon as it was
/// waited for.
pub fn cpu_of_server(server: u32) -> Result<f64> {
    loop {
        let before = ticks_of(server).context("the server is gone")?;
        let living: u64 =
            descendants_of(server).into_iter().filter_map(ticks_of).map(|ticks| ticks.own).sum();
        let after = ticks_of(server).context("the server is gone")?;
        // A child that was waited for in between would be counted twice, or not at all.
        if before.ended_children == after.ended_children {
            // SAFETY: sysconf has no preconditions.
            let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
            return Ok((after.own + after.ended_children + living) as f64 / a_second as f64);
        }
    }
}

struct Ticks {
    own: u64,
    /// Of the children that have ended and were waited for.
    ended_children: u64,
}

fn ticks_of(process: u32) -> Option<Ticks> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The command's name may hold blanks, so fields are counted from the parenthesis that closes it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Ticks { own: field(11)? + field(12)?, ended_children: field(13)? + field(14)? })
}
