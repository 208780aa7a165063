//! api: the admin HTTP server.
