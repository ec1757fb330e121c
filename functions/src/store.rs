//! The database: its tables, and how far it has the log.

pub mod entity;
pub mod epoch;
pub mod insert;
pub mod rollback;
pub mod rows;
pub mod stored;
