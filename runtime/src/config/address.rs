//! The servers in `nats.url`, and the login that it may contain.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::Secret;

/// The error if the address and the keys both contain a login.
pub(crate) const TWO_LOGINS: &str =
    "nats.url: holds a login, and nats has another one; keep one of them";

/// The error if the keys name two JetStreams.
pub(crate) const TWO_JETSTREAMS: &str =
    "nats.domain and nats.api_prefix: both name a JetStream; leave one out";

/// The addresses of `nats.url`, without their logins.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) login: Option<UrlLogin>,
}

/// A login before the `@` of an address, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UrlLogin {
    /// `user:password@`
    User(String, Secret),
    /// `token@`
    Token(Secret),
}

impl Addresses {
    /// Reads one address, or several with commas between them.
    ///
    /// async-nats takes no login from an address, so it is removed here. The servers of a cluster share
    /// their users: the login may be in one address or in all of them.
    ///
    /// # Errors
    /// The invalid address, or logins that differ; never with a password.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let mut servers = Vec::new();
        let mut login = None;
        for each in url.split(',').map(str::trim) {
            let invalid = || invalid(url);
            let server: ServerAddr = each.parse().map_err(|_| invalid())?;
            if server.is_websocket() {
                return Err(format!(
                    "{} is for browsers (WebSocket); name the port for other clients, as nats:// or tls://",
                    shown(url)
                ));
            }
            let found = login_of(&server);
            let mut server = server.into_inner();
            // Mostly a part of a password that is not encoded, whose beginning passes for a port.
            let is_bare = matches!(server.path(), "" | "/")
                && server.query().is_none()
                && server.fragment().is_none();
            if !is_bare {
                return Err(invalid());
            }
            if let Some(own) = found.map_err(|()| invalid())? {
                if login.as_ref().is_some_and(|login| *login != own) {
                    return Err(format!(
                        "{:?} holds several logins that differ, and only one can be used; name it in nats.user and nats.password",
                        without_password(url)
                    ));
                }
                login = Some(own);
            }
            server.set_username("").map_err(|()| invalid())?;
            server.set_password(None).map_err(|()| invalid())?;
            let server = ServerAddr::from_url(server).map_err(|_| invalid())?;
            if server.host().is_empty() {
                return Err(invalid());
            }
            servers.push(server);
        }
        Ok(Self { servers, login })
    }
}

fn login_of(server: &ServerAddr) -> Result<Option<UrlLogin>, ()> {
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().map_err(|_| ())?;
        Ok(decoded.into_owned())
    };
    match (server.username(), server.password()) {
        (None, None) => Ok(None),
        (Some(token), None) => Ok(Some(UrlLogin::Token(decode(token)?.into()))),
        (user, Some(password)) => Ok(Some(UrlLogin::User(
            decode(user.unwrap_or_default())?,
            decode(password)?.into(),
        ))),
    }
}

fn invalid(url: &str) -> String {
    let hint = if url.contains('@') {
        "; in a user or a password each of # % / ? @ : , [ ] is percent-encoded, # as %23"
    } else {
        ""
    };
    let shown = shown(url);
    format!("{shown} is no address such as nats://localhost:4222{hint}")
}

/// What of an invalid address is no secret. A comma may belong to a password, so only the text after the last login is
/// shown, and of it nothing that may be an option.
fn shown(url: &str) -> String {
    let without_options = |text: &str| text.split(['?', '#']).next().map(str::to_owned);
    let shown = match url.rsplit_once('@') {
        Some((_, host)) => without_options(host).map(|host| format!("...@{host}")),
        None => without_options(url),
    };
    format!("{:?}", shown.unwrap_or_default())
}

/// Addresses without their logins; also for a database.
pub(crate) fn without_password(url: &str) -> String {
    let parts = url.split(',').map(|url| {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), url),
        };
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}{host}")
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> Option<UrlLogin> {
        Some(UrlLogin::User(name.to_owned(), password.into()))
    }

    #[test]
    fn password_in_an_address_is_not_shown() {
        assert_eq!(
            without_password("nats://a:b@c@host:1,d:e@host:2,nats://host"),
            "nats://host:1,host:2,nats://host"
        );
    }

    #[test]
    fn login_is_taken_out_of_an_address_and_decoded() {
        for (url, login) in [
            ("nats://host", None),
            ("host", None),
            ("nats://host:4222/", None),
            ("nats://user:p%23@host", user("user", "p#")),
            ("user:p%2C%25@host:1", user("user", "p,%")),
            ("nats://gr%C3%BCn:%40%2F@host", user("grün", "@/")),
            ("nats://t%3Ak@host", Some(UrlLogin::Token("t:k".into()))),
            ("nats://a:b@one,nats://two", user("a", "b")),
            ("nats://a:b@one, nats://a:b@two", user("a", "b")),
        ] {
            let read = Addresses::parse(url).unwrap();
            assert_eq!(read.login, login, "{url}");
            for server in &read.servers {
                assert!(!server.as_url_str().contains('@'), "{server:?}");
            }
        }
    }

    #[test]
    fn address_for_browsers_is_refused_with_the_cure() {
        for url in ["ws://host:9222", "nats://one,wss://two"] {
            let refused = Addresses::parse(url).unwrap_err();
            assert!(refused.contains("as nats:// or tls://"), "{refused}");
        }
    }

    #[test]
    fn address_that_is_none_is_refused_without_its_password() {
        for url in [
            "nats://user:hush#1@host",
            "nats://user:hush/1@host",
            "nats://user:hush,1@host",
            "nats://user:hush%ff@host",
            "nats://user:12/hush@host",
            "nats://user:12?hush@host",
            "nats://user:12#hush@host",
            "nats://host?password=hush",
            "wss://user:hush@host",
            "nats://user:hush@",
            "nats://user:hush@one,http://two",
            "nats://a:hush@one,nats://b:hush@two",
        ] {
            let refused = Addresses::parse(url).unwrap_err();
            assert!(!refused.contains("hush"), "{url}: {refused}");
        }
    }
}
