//! Who is who: nats-server asks `auth` at each login, and it answers with what the person may do.
//!
//! A local user proves the own identity by a password, somebody of a provider by an access token
//! (OpenID Connect), and who logged in with a password before by a session token.

pub mod guesses;
pub mod kick;
pub mod oidc;
pub mod password;
pub mod permissions;
pub mod person;
pub mod session;
pub mod users;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::decode_header;
use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, Connect};
use natsfn::config::Secret;
use natsfn::{Background, Caller, Error, Headers, Json, Kind, Result, RunError, State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config;
use crate::subjects::PEOPLE;
use oidc::Oidc;
use permissions::permissions;
use person::{Person, is_local_name};
use users::Users;
use users::file::milliseconds;

/// What `auth` knows; cloning it is cheap.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    config: config::auth::Auth,
    keys: AuthKeys,
    users: Option<Users>,
    oidc: Option<Oidc>,
}

/// Somebody whose identity is proved.
struct Proved {
    person: Person,
    expires: SystemTime,
    with_password: bool,
}

/// A session token and when it ends. `Debug` does not show the token.
#[derive(Serialize, Deserialize)]
pub struct Session {
    /// The token; the connection's token at the next login.
    pub token: String,
    /// In milliseconds since 1970.
    pub expires: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Session");
        shown
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Decides about a login.
pub async fn auth(State(door): State<Door>, request: AuthRequest) -> Result<Allow> {
    let Proved {
        person,
        expires,
        with_password,
    } = door.prove(&request).await?;
    Ok(Allow::new(PEOPLE, person.user_name())
        .permissions(permissions(&person, with_password))
        .expires(expires)
        .connection_types(door.0.config.connection_types.iter().copied()))
}

/// Answers a session token to somebody who is connected by a password: the server lets nobody else
/// ask.
pub async fn session(
    State(door): State<Door>,
    caller: Caller,
    headers: Headers,
) -> Result<Json<Session>> {
    let Inner {
        keys,
        users,
        config,
        ..
    } = &*door.0;
    let uid = caller.user.split('~').next().unwrap_or_default();
    let user = users.as_ref().and_then(|users| users.find(uid));
    let user = user.filter(|_| caller.account == PEOPLE && is_local_name(uid));
    let user = user
        .ok_or_else(|| Error::new(Kind::Forbidden, "session tokens are for local users alone"))?;
    let began = connected_since(&headers)?;
    if user.since.is_some_and(|since| milliseconds(began) < since) {
        let said = "the password has changed since this connection began: log in again";
        return Err(Error::new(Kind::Forbidden, said));
    }
    let expires = began + config.session();
    let token = session::begin(keys, uid, &user, expires)?;
    Ok(Json(Session {
        token: token.expose().to_owned(),
        expires: milliseconds(expires),
    }))
}

/// Keeps the issuer's keys fresh, so that the first login need not wait for them, and no token counts
/// long after its key was withdrawn.
pub async fn keep_keys(mut background: Background, door: Door) -> Result<()> {
    let keeping = async {
        match &door.0.oidc {
            Some(oidc) => oidc.keep_keys().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = keeping => {}
        () = background.stopped() => {}
    }
    Ok(())
}

impl Door {
    /// Reads the keys, the file of users and the settings of the provider.
    ///
    /// # Errors
    /// Every mistake in the section `auth` at once, by key.
    pub fn open(config: &config::auth::Auth) -> std::result::Result<Self, RunError> {
        let mut mistakes = Vec::new();
        let keys = keys(config, &mut mistakes);
        let mut opened = |key: &str, what: String| mistakes.push(format!("{key}: {what}"));
        let users = config.users.as_deref().map(Users::open).transpose();
        let users = users.unwrap_or_else(|what| {
            opened("auth.users", what);
            None
        });
        let oidc = config.oidc.as_ref().map(Oidc::new).transpose();
        let oidc = oidc.unwrap_or_else(|what| {
            opened("auth.oidc.issuer", what);
            None
        });
        if config.users.is_none() && config.oidc.is_none() {
            opened(
                "auth.users",
                "is missing, and so is auth.oidc: nobody could log in".to_owned(),
            );
        }
        match keys {
            Some(keys) if mistakes.is_empty() => Ok(Self(Arc::new(Inner {
                config: config.clone(),
                keys,
                users,
                oidc,
            }))),
            _ => Err(RunError::misuse(mistakes)),
        }
    }

    /// The keys of the callout.
    pub fn keys(&self) -> AuthKeys {
        self.0.keys.clone()
    }

    async fn prove(&self, request: &AuthRequest) -> Result<Proved> {
        let now = SystemTime::now();
        let Connect {
            user,
            password,
            token,
            ..
        } = &request.connect;
        let longest = now + self.0.config.session();
        if !user.is_empty() && token.expose().is_empty() {
            let host = &request.client.host;
            let known = self.users()?.log_in(user, password, host).await?;
            return Ok(Proved {
                person: known.person(user),
                expires: longest,
                with_password: true,
            });
        }
        // A client whose library knows no tokens sends one as a password without a user name.
        let token = match token.expose() {
            "" => password.expose(),
            token => token,
        };
        let (person, expires) = match token {
            "" => Err(Error::new(
                Kind::Unauthorized,
                "no user name and no token: this server lets nobody in without",
            )),
            token if is_of_a_provider(token) => self.oidc()?.log_in(token).await,
            token => session::resume(&self.0.keys, self.users()?, token)
                .map(|(uid, user, expires)| (user.person(&uid), expires)),
        }?;
        Ok(Proved {
            person,
            expires: expires.min(longest),
            with_password: false,
        })
    }

    fn users(&self) -> Result<&Users> {
        self.0.users.as_ref().ok_or_else(|| {
            let said = "there are no local users: auth.users is not configured";
            Error::new(Kind::Unauthorized, said)
        })
    }

    fn oidc(&self) -> Result<&Oidc> {
        self.0.oidc.as_ref().ok_or_else(|| {
            let said = "no issuer configured: there is no auth.oidc";
            Error::new(Kind::Unauthorized, said)
        })
    }
}

/// Whether a token is one that JOSE knows; ours are signed by an algorithm that it does not.
fn is_of_a_provider(token: &str) -> bool {
    decode_header(token).is_ok()
}

/// The keys, each checked beside a good other one, so that it is said which is wrong.
fn keys(config: &config::auth::Auth, mistakes: &mut Vec<String>) -> Option<AuthKeys> {
    let good = AuthKeys::generate();
    let mut check = |key: &str, seed: &Option<Secret>, pair: &dyn Fn(&Secret) -> Checked| {
        let Some(seed) = seed else {
            mistakes.push(format!("{key}: is missing; `chat keys` makes one"));
            return;
        };
        if let Err(error) = pair(seed) {
            mistakes.extend(error.lines().iter().map(|line| format!("{key}: {line}")));
        }
    };
    check("auth.issuer", &config.issuer, &|seed| {
        AuthKeys::from_seeds(seed, &good.xkey_seed)
    });
    check("auth.xkey", &config.xkey, &|seed| {
        AuthKeys::from_seeds(&good.issuer_seed, seed)
    });
    AuthKeys::from_seeds(config.issuer.as_ref()?, config.xkey.as_ref()?).ok()
}

type Checked = std::result::Result<AuthKeys, RunError>;

/// When the caller's connection began, as the server stamps it; `Caller` has seen that nobody forged
/// the stamp. A session that began at no known time would last longer, and outlive a password.
fn connected_since(headers: &Headers) -> Result<SystemTime> {
    #[derive(Deserialize)]
    struct Stamp {
        start: String,
    }
    let stamp = headers.0.get("Nats-Request-Info");
    let start = stamp
        .and_then(|stamp| serde_json::from_str(stamp.as_str()).ok())
        .and_then(|Stamp { start }| OffsetDateTime::parse(&start, &Rfc3339).ok())
        .ok_or_else(|| {
            let said = "nats-server does not say when this connection began";
            Error::new(Kind::Forbidden, said)
        })?;
    Ok(SystemTime::from(start).min(SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    /// What alice is answered who asks for a session token, if the server stamps this start.
    async fn ask(start: Value) -> Result<Session> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("users.json");
        let password = password::hash(&"alice".into()).unwrap();
        let users = json!({ "alice": { "password": password, "since": 1_000 } });
        std::fs::write(&path, users.to_string())?;
        let new = AuthKeys::generate();
        let config = config::auth::Auth {
            issuer: Some(new.issuer_seed),
            xkey: Some(new.xkey_seed),
            users: Some(path),
            ..config::auth::Auth::default()
        };
        let mut headers = HeaderMap::new();
        let stamp = json!({ "acc": PEOPLE, "user": "alice", "start": start });
        headers.insert("Nats-Request-Info", stamp.to_string());
        let caller = Caller {
            user: "alice".to_owned(),
            account: PEOPLE.to_owned(),
        };
        let door = State(Door::open(&config).unwrap());
        let Json(session) = session(door, caller, Headers(headers)).await?;
        Ok(session)
    }

    #[tokio::test]
    async fn session_needs_to_know_when_its_connection_began() {
        let began = SystemTime::now() - Duration::from_secs(60);
        let start = OffsetDateTime::from(began).format(&Rfc3339).unwrap();
        let session = ask(json!(start)).await.unwrap();
        assert_eq!(session.expires, milliseconds(began) + 12 * 3_600_000);

        for start in [json!(null), json!(""), json!("soon"), json!(1_767_225_600)] {
            let refused = ask(start.clone()).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Forbidden, "{start}");
            let said = "nats-server does not say when this connection began";
            assert_eq!(refused.message(), said, "{start}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let session = Session {
            token: "hush".to_owned(),
            expires: 1,
        };
        assert_eq!(format!("{session:?}"), "Session { expires: 1, .. }");
    }
}
