//! A key-value bucket as a function uses it.

mod entry;
mod extract;
mod stream;
mod watch;

use std::marker::PhantomData;

use async_nats::HeaderMap;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Client;
use crate::error::{Error, Kind, Result};
use entry::is_deletion;
use stream::{expecting, json_of};
use watch::{ANSWER_TIMEOUT, PART_TIMEOUT, answered};

pub use entry::KvEntry;
pub use watch::KvWatch;

/// More than a bucket keeps of one key.
const MAX_HISTORY: usize = 1024;

/// What the values of a key-value bucket are, as JSON, and the bucket's name.
///
/// ```
/// use natsfn::KvValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(transparent)]
/// struct Rate(f64);
///
/// impl KvValue for Rate {
///     const BUCKET: &'static str = "rates";
/// }
/// ```
pub trait KvValue: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The bucket's name, as `nats kv ls` shows it.
    const BUCKET: &'static str;
}

/// A key-value bucket whose values are `T`. An argument of a function, or [`Client::kv`]; the service makes it by
/// [`Service::bucket`](crate::Service::bucket), and [`Bucket`](crate::Bucket) has an example.
///
/// A key is letters, digits and `-/_=.`, and neither begins nor ends with a dot: [`Kind::BadRequest`] otherwise.
/// While JetStream is away everything fails with [`Kind::Unavailable`], as where the bucket was not made.
///
/// In a function that a stream feeds a write happens at least once, and no transaction holds it: a message that is
/// delivered again writes again. [`Kv::create`] under a key that is made of the message, and [`Kv::update`], do that once;
/// there a [`Kind::Conflict`] says that it was done, or that somebody else was quicker, and is the function's to judge:
/// returned, it makes the message a dead letter.
pub struct Kv<T> {
    client: Client,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Kv<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            of: PhantomData,
        }
    }
}

impl Client {
    /// The bucket that holds values of this type, for a function that does not take it as an argument: it declares
    /// [`Access::bucket`](crate::Access::bucket).
    ///
    /// ```
    /// use natsfn::{Access, Background, KvValue, Result, Service, Work};
    ///
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Rate(f64);
    /// # impl KvValue for Rate { const BUCKET: &'static str = "rates"; }
    /// async fn renew(background: Background, _state: ()) -> Result<()> {
    ///     background.client().kv::<Rate>().put("eur", &Rate(1.1)).await?;
    ///     Ok(())
    /// }
    ///
    /// let shop = Service::new("shop", "1.0.0")
    ///     .bucket(natsfn::Bucket::of::<Rate>())
    ///     .task(Work::of("renew").uses(Access::bucket("rates")), renew);
    /// # shop.build()?;
    /// # Ok::<_, natsfn::RunError>(())
    /// ```
    pub fn kv<T: KvValue>(&self) -> Kv<T> {
        Kv {
            client: self.clone(),
            of: PhantomData,
        }
    }
}

impl<T: KvValue> Kv<T> {
    /// The value of a key; `None` where it has none, or was deleted. It is read from the bucket's leader: a write that
    /// was acknowledged before is seen.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a value that is not a `T`; see [`Kv`] for others.
    pub async fn get(&self, key: &str) -> Result<Option<T>> {
        Ok(self.entry(key).await?.map(|entry| entry.value))
    }

    /// The same with its revision, which [`Kv::update`] takes.
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn entry(&self, key: &str) -> Result<Option<KvEntry<T>>> {
        let Some(last) = self.last(&self.subject(key)?).await? else {
            return Ok(None);
        };
        KvEntry::of(key, &last).map(KvEntry::present)
    }

    /// Writes a value, whatever was there. Returns its revision.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] for a value over the bucket's `max_value_size`; see [`Kv`] for others.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64> {
        self.write(&self.subject(key)?, HeaderMap::new(), json_of(value)?)
            .await
    }

    /// Writes a value where there is none. Returns its revision.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where the key has a value; otherwise as [`Kv::put`].
    pub async fn create(&self, key: &str, value: &T) -> Result<u64> {
        let subject = self.subject(key)?;
        let value = json_of(value)?;
        let first = self.write(&subject, expecting(0), value.clone()).await;
        let exists = match first {
            Err(error) if error.kind() == Kind::Conflict => error,
            other => return other,
        };
        let exists = Error::new(Kind::Conflict, format!("{key:?} exists already"))
            .with_source(exists.message());
        match self.last(&subject).await? {
            Some(last) if !is_deletion(last.headers()) => Err(exists),
            // Deleted, or gone by its age meanwhile.
            last => {
                let revision = last.map_or(0, |last| last.seq());
                let again = self.write(&subject, expecting(revision), value).await;
                again.map_err(|error| {
                    if error.kind() == Kind::Conflict {
                        exists
                    } else {
                        error
                    }
                })
            }
        }
    }

    /// Writes a value where this revision is the key's last: compare and set. Returns the new revision. Repeated after
    /// a [`Kind::Unavailable`] it may meet its own first write, and fail with a conflict.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where somebody has written the key meanwhile; otherwise as [`Kv::put`].
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64> {
        let written = self
            .write(&self.subject(key)?, expecting(revision), json_of(value)?)
            .await;
        written.map_err(|error| match error.kind() {
            Kind::Conflict => {
                let changed = format!("{key:?} was changed by somebody else");
                Error::new(Kind::Conflict, changed).with_source(error.message())
            }
            _ => error,
        })
    }

    /// Deletes a key. Its history stays, and shows that it was deleted.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.remove(key, "DEL", HeaderMap::new()).await
    }

    /// Deletes a key with its history.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn purge(&self, key: &str) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        self.remove(key, "PURGE", headers).await
    }

    /// What the bucket keeps of a key, oldest first; where it was deleted, without a value. A follower may answer.
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub async fn history(&self, key: &str) -> Result<Vec<KvEntry<Option<T>>>> {
        let (subject, stream) = (self.subject(key)?, self.stream());
        let range = self
            .client
            .range(&stream, &subject, 1, MAX_HISTORY, usize::MAX);
        let messages = range.await?.messages;
        messages.iter().map(|it| KvEntry::of(key, it)).collect()
    }

    /// Every key that has a value. A follower may answer; where the connection is lost meanwhile, a key may come twice,
    /// and one that was deleted meanwhile too.
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn keys(&self) -> Result<Vec<String>> {
        let store = self.store().await?;
        let mut keys = answered::<T, _, _>(ANSWER_TIMEOUT, store.keys()).await?;
        let mut all = Vec::new();
        let mut next = async || {
            let key = async { keys.next().await.transpose() };
            answered::<T, _, _>(PART_TIMEOUT, key).await
        };
        while let Some(key) = next().await? {
            all.push(key);
        }
        Ok(all)
    }

    /// The values of a key, or of keys with wildcards (`eur`, `eur.*`, `>`), and from then on their changes. A follower
    /// may send them. It goes on when the connection is lost, and ends when it is dropped. Who reads slowly or was
    /// disconnected gets of each key only the revisions that the bucket still keeps, by default the last; a value that
    /// goes by the bucket's ttl sends nothing. Where the bucket was made again or has lost revisions, the watch begins
    /// again with the values that there are, after 5 s in which nothing came.
    ///
    /// ```
    /// use natsfn::{Background, KvValue, Result};
    ///
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Rate(f64);
    /// # impl KvValue for Rate { const BUCKET: &'static str = "rates"; }
    /// async fn follow(mut background: Background, _state: ()) -> Result<()> {
    ///     let mut rates = background.client().kv::<Rate>().watch(">").await?;
    ///     loop {
    ///         tokio::select! {
    ///             entry = rates.next() => {
    ///                 let entry = entry?;
    ///                 println!("{}: {:?}", entry.key, entry.value.map(|Rate(rate)| rate));
    ///             }
    ///             () = background.stopped() => return Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`Kv`].
    pub async fn watch(&self, keys: &str) -> Result<KvWatch<T>> {
        Box::pin(KvWatch::of(self.clone(), keys)).await
    }
}
