//! The issuer's keys: asked for when one is missing, and kept while the issuer is away.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use natsfn::{Error, Kind, Result};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::jwks::key_of;

/// How old keys are when they are asked for again, so that one that the issuer withdrew is refused,
/// and how often that is looked at.
const REFRESH_AFTER: Duration = Duration::from_secs(5 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long after an answer, or a failure, the issuer is asked again.
const AT_LEAST: Duration = Duration::from_secs(10);

/// How long after a failure while no keys are known.
const AFTER_FAILURE_WITHOUT_KEYS: Duration = Duration::from_secs(2);

/// Questions that brought nothing new: so many are forgiven, and one more after each pause. Whoever
/// invents ids of keys is not to have the issuer asked for each, nor to hide a new key for long.
const FRUITLESS: u32 = 5;
const FRUITLESS_PAUSE: Duration = Duration::from_secs(60);

/// What asks the issuer for all of its keys, or says why there are none.
type Fetch = dyn Fn() -> BoxFuture<'static, Fetched> + Send + Sync;

/// The keys, or a sentence.
pub(super) type Fetched = std::result::Result<Vec<Jwk>, String>;

/// The keys of one issuer.
#[derive(Clone)]
pub(super) struct Keys {
    shared: Arc<State>,
}

struct State {
    fetch: Box<Fetch>,
    known: Mutex<Known>,
}

struct Known {
    keys: Option<Arc<Vec<Jwk>>>,
    /// When they were answered.
    since: Instant,
    /// When the issuer may be asked again.
    next: Instant,
    /// Until when questions that brought nothing new are remembered.
    fruitless_until: Instant,
    /// Why the issuer did not answer the last time, as it was logged.
    away: Option<String>,
    /// The question that the issuer has not answered yet.
    asking: Option<Shared<BoxFuture<'static, ()>>>,
}

impl Keys {
    pub(super) fn new(
        fetch: impl Fn() -> BoxFuture<'static, Fetched> + Send + Sync + 'static,
    ) -> Self {
        let now = Instant::now();
        let state = State {
            fetch: Box::new(fetch),
            known: Mutex::new(Known {
                keys: None,
                since: now,
                next: now,
                fruitless_until: now,
                away: None,
                asking: None,
            }),
        };
        Self {
            shared: Arc::new(state),
        }
    }

    /// Asks for the keys, so that the first login need not wait for them, and again whenever they are
    /// old, whether anybody logs in or not. It never ends.
    pub(super) async fn keep(&self) {
        loop {
            self.refresh(Instant::now());
            sleep(LOOK_EVERY).await;
        }
    }

    /// The key of this id and algorithm. Only an unknown one waits for the issuer.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] if the issuer has no such key, [`Kind::Unavailable`] if that is not
    /// known.
    pub(super) async fn find(&self, id: &str, algorithm: Algorithm) -> Result<DecodingKey> {
        let now = Instant::now();
        self.refresh(now);
        let keys = self.shared.known.lock().keys.clone();
        if let Some(key) = keys.and_then(|keys| key_of(&keys, id, algorithm)) {
            return Ok(key);
        }
        if let Some(answer) = self.ask(now) {
            answer.await;
        }
        let known = self.shared.known.lock();
        let Some(keys) = &known.keys else {
            return Err(Error::unavailable(
                "sign-in is unavailable, try again: the issuer's keys are not known",
            ));
        };
        match key_of(keys, id, algorithm) {
            Some(key) => Ok(key),
            // The issuer was asked just now.
            None if known.since.elapsed() < AT_LEAST => Err(Error::new(
                Kind::Unauthorized,
                "the token is signed with a key that its issuer does not have",
            )),
            None => Err(Error::unavailable(
                "sign-in is unavailable, try again: the token's key is not known, and the issuer \
                 is not asked so often",
            )),
        }
    }

    /// Asks again for old keys, and nobody waits for that.
    fn refresh(&self, now: Instant) {
        let is_fresh = {
            let known = self.shared.known.lock();
            known.keys.is_some() && now - known.since < REFRESH_AFTER
        };
        if !is_fresh {
            self.ask(now);
        }
    }

    /// The question that the issuer is answering, or a new one; `None` if it is too soon for that.
    fn ask(&self, now: Instant) -> Option<Shared<BoxFuture<'static, ()>>> {
        let mut known = self.shared.known.lock();
        if known.asking.is_some() || now < known.next {
            return known.asking.clone();
        }
        let state = self.shared.clone();
        // A task of its own: who waits for it may give up before a slow issuer answers.
        let fetching = async move {
            // Without an answer, nobody would ever ask again.
            let answer = AssertUnwindSafe(async { (state.fetch)().await });
            let answer = answer.catch_unwind().await;
            state.take(answer.unwrap_or_else(|_| Err("asking for its keys panicked".to_owned())));
        };
        let asked = tokio::spawn(fetching.in_current_span());
        let asking = asked.map(|_| ()).boxed().shared();
        known.asking = Some(asking.clone());
        Some(asking)
    }
}

impl State {
    fn take(&self, answer: Fetched) {
        let mut known = self.known.lock();
        let now = Instant::now();
        known.asking = None;
        let pause = match answer {
            Ok(keys) => known.learn(keys, now),
            Err(error) => known.miss(error),
        };
        known.next = now + pause;
    }
}

impl Known {
    /// Returns how long the issuer is not to be asked again.
    fn learn(&mut self, keys: Vec<Jwk>, now: Instant) -> Duration {
        if self.away.take().is_some() {
            tracing::info!("the issuer answers again");
        }
        self.since = now;
        if self.keys.as_deref() != Some(&keys) {
            tracing::info!(keys = keys.len(), "the issuer's keys are known");
            self.keys = Some(Arc::new(keys));
            return AT_LEAST;
        }
        self.fruitless_until = self.fruitless_until.max(now) + FRUITLESS_PAUSE;
        let all_but_one = FRUITLESS_PAUSE * (FRUITLESS - 1);
        let spent = self.fruitless_until - now;
        spent.saturating_sub(all_but_one).max(AT_LEAST)
    }

    /// As [`Known::learn`]. What lasts is logged once.
    fn miss(&mut self, error: String) -> Duration {
        let has_keys = self.keys.is_some();
        if self.away.as_ref() != Some(&error) {
            if has_keys {
                tracing::warn!("the issuer does not answer, its keys are kept: {error}");
            } else {
                tracing::error!("nobody can sign in by auth.oidc: {error}");
            }
            self.away = Some(error);
        }
        if has_keys {
            AT_LEAST
        } else {
            AFTER_FAILURE_WITHOUT_KEYS
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use serde_json::json;
    use tokio::time::advance;

    use super::*;

    /// An issuer whose answer a test changes, and how often it was asked.
    struct Issuer {
        keys: Keys,
        answer: Arc<Mutex<Fetched>>,
        asked: Arc<AtomicUsize>,
    }

    /// An answer that is a panic.
    const PANIC: &str = "panic";

    impl Issuer {
        fn with(ids: &[&str]) -> Self {
            let answer = Arc::new(Mutex::new(jwks(ids)));
            let asked = Arc::new(AtomicUsize::new(0));
            let keys = Keys::new({
                let (answer, asked) = (answer.clone(), asked.clone());
                move || {
                    asked.fetch_add(1, Relaxed);
                    let answer = answer.lock().clone();
                    assert_ne!(answer, Err(PANIC.to_owned()));
                    std::future::ready(answer).boxed()
                }
            });
            Self {
                keys,
                answer,
                asked,
            }
        }

        fn answers(&self, answer: Fetched) {
            *self.answer.lock() = answer;
        }

        async fn find(&self, id: &str) -> Result<(), Kind> {
            let found = self.keys.find(id, Algorithm::RS256).await;
            found.map(|_| ()).map_err(|error| error.kind())
        }

        fn asked(&self) -> usize {
            self.asked.load(Relaxed)
        }
    }

    fn jwks(ids: &[&str]) -> Fetched {
        let key = |id: &&str| {
            let key = json!({ "kty": "RSA", "kid": id, "n": "A".repeat(344), "e": "AQAB" });
            serde_json::from_value(key).unwrap()
        };
        Ok(ids.iter().map(key).collect())
    }

    async fn pass(seconds: u64) {
        advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn new_key_is_found_within_10_s_although_others_are_invented() {
        let issuer = Issuer::with(&["old"]);
        assert_eq!(issuer.find("old").await, Ok(()));
        for n in 0..30 {
            let invented = issuer.find(&format!("invented-{n}")).await;
            assert_eq!(invented, Err(Kind::Unauthorized));
            pass(1).await;
        }

        issuer.answers(jwks(&["old", "new"]));
        for _ in 0..10 {
            if issuer.find("new").await.is_ok() {
                break;
            }
            pass(1).await;
        }

        assert_eq!(issuer.find("new").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn for_invented_keys_the_issuer_is_asked_once_a_minute_in_the_long_run() {
        let issuer = Issuer::with(&["old"]);
        for n in 0..3_600 {
            let invented = issuer.find(&format!("invented-{n}")).await;
            invented.unwrap_err();
            pass(1).await;
        }
        assert!((60..=66).contains(&issuer.asked()), "{}", issuer.asked());
        // Whoever waits for a key that is not asked for is not refused.
        assert_eq!(issuer.find("new").await, Err(Kind::Unavailable));
        issuer.answers(jwks(&["old", "new"]));
        pass(60).await;
        assert_eq!(issuer.find("new").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn withdrawn_key_is_refused_though_nobody_logged_in() {
        let issuer = Issuer::with(&["old", "new"]);
        let keys = issuer.keys.clone();
        let keeping = tokio::spawn(async move { keys.keep().await });
        assert_eq!(issuer.find("old").await, Ok(()));

        issuer.answers(jwks(&["new"]));
        sleep(REFRESH_AFTER + LOOK_EVERY).await;

        assert_ne!(issuer.find("old").await, Ok(()));
        assert_eq!(issuer.find("new").await, Ok(()));
        keeping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn panic_is_an_issuer_that_did_not_answer() {
        let issuer = Issuer::with(&["old"]);
        issuer.answers(Err(PANIC.to_owned()));
        assert_eq!(issuer.find("old").await, Err(Kind::Unavailable));

        issuer.answers(jwks(&["old"]));
        pass(2).await;
        assert_eq!(issuer.find("old").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failure_that_lasts_is_told_once() {
        let told = Arc::<Mutex<Vec<u8>>>::default();
        let into = told.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Told(into.clone()))
            .finish();
        let _telling = tracing::subscriber::set_default(subscriber);
        let issuer = Issuer::with(&["old"]);
        for (answer, seconds) in [
            (Err("away".to_owned()), 60),
            (jwks(&["old"]), 3),
            (Err("away".to_owned()), 600),
            (jwks(&["old"]), 20),
        ] {
            issuer.answers(answer);
            for _ in 0..seconds {
                pass(1).await;
                let _ = issuer.find("invented").await;
            }
        }

        let told = String::from_utf8(told.lock().clone()).unwrap();
        for (words, times) in [
            ("nobody can sign in by auth.oidc: away", 1),
            ("its keys are kept: away", 1),
            ("the issuer answers again", 2),
        ] {
            assert_eq!(told.matches(words).count(), times, "{words}: {told}");
        }
    }

    struct Told(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Told {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
