//! The database: its tables, and up to where it holds the log.

pub mod entity;
pub mod epoch;
pub mod insert;
pub mod rollback;
pub mod rows;
pub mod stored;
