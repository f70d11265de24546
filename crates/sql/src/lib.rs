//! The SQL that walwriter understands.
//!
//! Text becomes statements, statements become plans over a catalog that the caller shows, expressions are typed and
//! evaluated here, and rows and keys become the bytes that the engine stores. Nothing here touches a page, a file or a
//! socket.
