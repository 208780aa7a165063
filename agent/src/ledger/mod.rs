//! Ledger: the SQLite database that says what is true, and the spool packs beside it.
