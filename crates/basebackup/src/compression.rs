//! Compression of archives, on either side of the connection.
