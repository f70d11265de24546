//! The command line.

use anyhow::{Context, Result, bail};

/// What can be measured, in the order in which it is.
pub const SECTIONS: [&str; 7] = ["limits", "oltp", "synchronous", "recovery", "replay", "promotion", "copy"];

/// What was asked for.
pub struct Plan {
    sections: Vec<String>,
    /// How often everything is measured; the tables give medians.
    pub rounds: usize,
    /// How long each pgbench runs. The logs that are replayed grow with it too.
    pub seconds: u32,
    /// pgbench's scale.
    pub scale: u32,
    pub clients: Vec<u32>,
}

impl Plan {
    pub fn of_command_line() -> Result<Self> {
        let clients = vec![1, 8, 32, 64];
        let mut plan = Self { sections: Vec::new(), rounds: 5, seconds: 4, scale: 64, clients };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--rounds" => plan.rounds = number(&value()?)? as usize,
                "--seconds" => plan.seconds = number(&value()?)?,
                "--scale" => plan.scale = number(&value()?)?,
                "--clients" => plan.clients = value()?.split(',').map(number).collect::<Result<_>>()?,
                section if SECTIONS.contains(&section) => plan.sections.push(arg),
                _ => bail!(
                    "what is {arg}? Sections: {}; options: --rounds N, --seconds N, --scale N, --clients N,N",
                    SECTIONS.join(" ")
                ),
            }
        }
        Ok(plan)
    }

    /// Whether `section` is to be measured: all are if none was named.
    pub fn wants(&self, section: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == section)
    }
}

pub fn number(text: &str) -> Result<u32> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.with_context(|| format!("{text} is not a number above zero"))
}
