//! The configuration file of a new data directory.

/// `postgresql.conf` as `init` writes it.
pub const SAMPLE: &str = "\
# Configuration of walwriter: name = value. Names, units (B kB MB GB TB, us ms s min h d) and quotes are PostgreSQL's.
# A name or value that is not known keeps the server from starting. What is commented out shows the default.
# Changes need a restart, those marked (reload) only a SIGHUP.

# Connections
#listen_addresses = 'localhost'     # host names and addresses, separated by commas; '*' is all of them
#port = 5432
#unix_socket_directories = ''       # '' is /var/run/postgresql where that can be written, else /tmp; 'none' turns them off
#max_connections = 100
#password_file = ''                 # lines name:password, read again at reload; '' trusts everybody, on this host alone

# Memory and transactions
#shared_buffers = 128MB
#version_memory = 64MB              # for old page versions, which snapshots read
#max_transaction_size = 1GB         # a commit may take three times that

# WAL and checkpoints
#wal_compression = lz4              # full-page images: off, pglz, lz4, zstd
#checkpoint_timeout = 5min
#max_wal_size = 1GB
#min_wal_size = 80MB

# Followers
#max_wal_senders = 10
#max_replication_slots = 10
#wal_keep_size = 0
#max_slot_wal_keep_size = -1        # (reload)
#synchronous_standby_names = ''     # FIRST n (a, b) or ANY n (a, b) (reload)
#synchronous_commit = on            # on, off, local, remote_write, remote_apply (reload)

# A standby (with a file standby.signal)
#primary_conninfo = ''              # how to reach the leader (reload)
#primary_slot_name = ''             # (reload)
#create_primary_slot = off          # has the leader make it when it is missing (reload)
#restore_command = ''               # fetches WAL from an archive: %f to %p (reload)
";
