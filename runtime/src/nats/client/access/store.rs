//! Key-value buckets and object stores: the streams that they are, and what their users must be allowed.

use std::fmt;

use super::Access;
use crate::nats::jetstream::calls;

/// A bucket or an object store, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Bucket(String),
    Objects(String),
}

impl Store {
    /// The name of its stream.
    pub(crate) fn stream(&self) -> String {
        match self {
            Self::Bucket(name) => format!("KV_{name}"),
            Self::Objects(name) => format!("OBJ_{name}"),
        }
    }

    /// What its stream captures.
    pub(crate) fn subjects(&self) -> Vec<String> {
        match self {
            Self::Bucket(name) => vec![format!("$KV.{name}.>")],
            // Chunks, and what is known of each object.
            Self::Objects(name) => vec![format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        }
    }

    /// How a service declares it.
    pub(crate) fn declaration(&self) -> String {
        match self {
            Self::Bucket(name) => format!(".bucket(Bucket::new({name:?}))"),
            Self::Objects(name) => format!(".object_store(ObjectStore::new({name:?}))"),
        }
    }

    /// How it says that somebody else makes it.
    pub(crate) fn existing(&self) -> String {
        match self {
            Self::Bucket(name) => format!("Bucket::existing({name:?})"),
            Self::Objects(name) => format!("ObjectStore::existing({name:?})"),
        }
    }

    /// All that is done with either kind: writing, reading by the leader and by any replica, looking at the stream,
    /// listing.
    fn calls(&self) -> Vec<String> {
        let (stream, mut calls) = (self.stream(), self.subjects());
        calls.push(calls::whole(&calls::message(&stream)));
        calls.push(calls::direct_get(&stream));
        calls.push(calls::whole(&calls::stream_info(&stream)));
        for subject in self.subjects() {
            calls.extend(calls::ordered_consumer(&stream, &subject));
        }
        calls
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(name) => write!(f, "bucket {name}"),
            Self::Objects(name) => write!(f, "object store {name}"),
        }
    }
}

impl Access {
    /// Reads and writes a key-value bucket: [`Client::kv`](crate::Client::kv). A function that takes
    /// [`Kv`](crate::Kv) declares it by that.
    pub fn bucket(bucket: &str) -> Self {
        let store = Store::Bucket(bucket.to_owned());
        Self {
            subjects: store.calls(),
            subscribes: false,
            purpose: "reads and writes a bucket",
            is_read: false,
            store: Some(store),
            declaration: format!(".uses(Access::bucket({bucket:?}))"),
        }
    }

    /// Reads and writes an object store: [`Client::object_store`](crate::Client::object_store).
    pub fn object_store(name: &str) -> Self {
        let store = Store::Objects(name.to_owned());
        let (stream, mut subjects) = (store.stream(), store.calls());
        // async-nats reads the last message of a subject by this form of a direct get.
        subjects.push(format!("{}.>", calls::direct_get(&stream)));
        // What an object was made of goes when it is deleted or replaced.
        subjects.push(calls::whole(&calls::purge(&stream)));
        Self {
            subjects,
            subscribes: false,
            purpose: "reads and writes an object store",
            is_read: false,
            store: Some(store),
            declaration: format!(".uses(Access::object_store({name:?}))"),
        }
    }
}
