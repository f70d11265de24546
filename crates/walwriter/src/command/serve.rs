//! `walwriter serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use walwriter::node::ServerNode;
use walwriter::process::{ServeOptions, Stopped, serve};
use walwriter::server::ReplicationHandoff;
use walwriter::shipping::Shipping;

use super::options::Serve;

/// What PostgreSQL's postmaster exits with after SIGQUIT.
const STOPPED_AT_ONCE: u8 = 2;

pub(crate) fn run(options: &Serve) -> anyhow::Result<ExitCode> {
    program::end_at_once_on_signals("walwriter", STOPPED_AT_ONCE).context("could not catch signals")?;
    let mut overrides = options.settings.clone();
    overrides.extend(options.insecure_listen_anywhere.then(|| "insecure_listen_anywhere=on".to_owned()));
    let serve_options = ServeOptions { directory: options.data.directory.clone(), overrides };
    let shipping = Shipping::new();
    let followers: Arc<dyn ReplicationHandoff> = Arc::clone(&shipping) as _;
    let stopped = serve(&serve_options, |_, _| Ok(Some(followers)), {
        let accept_loss = options.accept_loss;
        move |opening| ServerNode::open(opening, shipping, accept_loss)
    })?;
    Ok(match stopped {
        Stopped::Cleanly => ExitCode::SUCCESS,
        Stopped::AtOnce => ExitCode::from(STOPPED_AT_ONCE),
    })
}
