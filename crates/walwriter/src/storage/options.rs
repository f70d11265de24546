//! From configuration to the options of each part.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use engine::EngineOptions;
use replication::conninfo::{ConnArgs, ConnInfo, Environment};
use wal::record::ImageCompression;

use crate::config::Config;
use crate::standby::{RestoreCommand, StandbyOptions};
use crate::sync::Rule;

/// The engine's.
pub(super) fn engine_options(config: &Config) -> EngineOptions {
    let defaults = EngineOptions::default();
    let bytes = |name, default: u64| config.bytes(name).unwrap_or(default);
    let memory = |name, default: usize| usize::try_from(bytes(name, default as u64)).unwrap_or(default);
    EngineOptions {
        shared_buffers: memory("shared_buffers", defaults.shared_buffers),
        version_memory: memory("version_memory", defaults.version_memory),
        max_wal_size: bytes("max_wal_size", defaults.max_wal_size),
        min_wal_size: bytes("min_wal_size", defaults.min_wal_size),
        wal_keep_size: bytes("wal_keep_size", defaults.wal_keep_size),
        wal_buffers: memory("wal_buffers", defaults.wal_buffers),
        wal_compression: match config.text("wal_compression").as_str() {
            "on" | "pglz" => Some(ImageCompression::Pglz),
            "lz4" => Some(ImageCompression::Lz4),
            "zstd" => Some(ImageCompression::Zstd),
            _ => None,
        },
        full_page_writes: config.is_on("full_page_writes"),
        checkpoint_timeout: config.duration("checkpoint_timeout").unwrap_or(defaults.checkpoint_timeout),
        checkpoint_completion_target: config.real("checkpoint_completion_target"),
        max_transaction_size: bytes("max_transaction_size", defaults.max_transaction_size),
        wal_writer_delay: config.duration("wal_writer_delay").unwrap_or(defaults.wal_writer_delay),
        ..defaults
    }
}

/// The standby's.
pub(super) fn standby_options(directory: &Path, config: &Config) -> anyhow::Result<StandbyOptions> {
    let slot = config.text("primary_slot_name");
    Ok(StandbyOptions {
        data_directory: directory.to_owned(),
        leader: leader(config)?,
        slot: (!slot.is_empty()).then_some(slot),
        create_slot: config.is_on("create_primary_slot"),
        restore_command: RestoreCommand::new(&config.text("restore_command")),
        status_interval: config.duration("wal_receiver_status_interval"),
        receiver_timeout: config.duration("wal_receiver_timeout"),
        retry_interval: config.duration("wal_retrieve_retry_interval").unwrap_or(Duration::from_secs(5)),
    })
}

fn leader(config: &Config) -> anyhow::Result<Option<ConnInfo>> {
    let text = config.text("primary_conninfo");
    if text.trim().is_empty() {
        return Ok(None);
    }
    let cluster_name = config.text("cluster_name");
    let arguments = ConnArgs {
        connection_string: Some(text),
        program: if cluster_name.is_empty() { "walreceiver".to_owned() } else { cluster_name },
        ..ConnArgs::default()
    };
    let resolved = ConnInfo::resolve(&arguments, &Environment::of_process());
    resolved.map(Some).context("invalid value for parameter \"primary_conninfo\"")
}

/// What commits wait for.
pub(super) fn rule(config: &Config) -> anyhow::Result<Rule> {
    Ok(Rule::of_settings(&config.text("synchronous_standby_names"), &config.text("synchronous_commit"))?)
}

/// Those of who serves followers.
pub(super) fn sender_settings(config: &Config) -> walsender::settings::Settings {
    let defaults = walsender::settings::Settings::default();
    let count = |name| usize::try_from(config.integer(name)).unwrap_or_default();
    let passwords = config.text("password_file");
    walsender::settings::Settings {
        wal_sender_timeout: config.duration("wal_sender_timeout"),
        max_wal_senders: count("max_wal_senders"),
        max_replication_slots: count("max_replication_slots"),
        cluster_name: config.text("cluster_name"),
        password_file: (!passwords.is_empty()).then(|| passwords.into()),
        authentication_timeout: config
            .duration("authentication_timeout")
            .unwrap_or(defaults.authentication_timeout),
        ..defaults
    }
}
