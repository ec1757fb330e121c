//! An issuer of access tokens with real keys, which serves its configuration and its public keys.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use p256::pkcs8::EncodePrivateKey;
use parking_lot::Mutex;
use rsa::Generate;
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The client that tokens are for.
pub(crate) const CLIENT: &str = "chat-web";

/// A key pair with an id.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) private: EncodingKey,
    pub(crate) algorithm: Algorithm,
}

/// Its private keys: made once, since that takes long.
static RSA: LazyLock<[EncodingKey; 2]> = LazyLock::new(|| {
    [(); 2].map(|()| {
        let key = rsa::PrivateKey::generate();
        EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes())
    })
});

impl Key {
    /// One of two RSA keys.
    pub(crate) fn rsa(id: &str, which: usize) -> Self {
        Self {
            id: id.to_owned(),
            private: RSA[which].clone(),
            algorithm: Algorithm::RS256,
        }
    }

    /// A fresh key on P-256.
    pub(crate) fn p256(id: &str) -> Self {
        let key = p256::ecdsa::SigningKey::generate();
        Self {
            id: id.to_owned(),
            private: EncodingKey::from_ec_der(key.to_pkcs8_der().unwrap().as_bytes()),
            algorithm: Algorithm::ES256,
        }
    }

    /// The public key, as the issuer serves it.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            kid: Some(self.id.clone()),
            ..Header::new(self.algorithm)
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.private).unwrap()
    }
}

/// The issuer, until it is dropped.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

/// What it answers, and how often it was asked.
struct Shared {
    /// How it calls itself.
    name: String,
    keys: Vec<Value>,
    status: StatusCode,
    is_silent: bool,
    asked_for_keys: usize,
}

impl Issuer {
    /// One with these keys, on a free port.
    pub(crate) async fn with(keys: &[&Key]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), keys).await
    }

    async fn at(address: SocketAddr, keys: &[&Key]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/realms/chat", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            name: url.clone(),
            keys: keys.iter().map(|key| key.public()).collect(),
            status: StatusCode::OK,
            is_silent: false,
            asked_for_keys: 0,
        }));
        let serving = tokio::spawn(serve(listener, url.clone(), shared.clone()));
        Self {
            url,
            shared,
            serving,
        }
    }

    /// `auth.oidc` of a service that trusts it.
    pub(crate) fn config(&self) -> chat::config::auth::Oidc {
        serde_json::from_value(json!({ "issuer": self.url, "client": CLIENT, "name": "Test" }))
            .unwrap()
    }

    /// The claims of an access token as Keycloak's, which is valid for 15 minutes.
    pub(crate) fn claims(&self, subject: &str, roles: &[&str]) -> Value {
        json!({
            "iss": self.url,
            "aud": [CLIENT, "account"],
            "azp": CLIENT,
            "sub": subject,
            "typ": "Bearer",
            "iat": seconds(),
            "exp": seconds() + 900,
            "preferred_username": subject,
            "name": format!("Test {subject}"),
            "realm_access": { "roles": roles },
        })
    }

    /// From now on it has these keys.
    pub(crate) fn rotate(&self, keys: &[&Key]) {
        self.shared.lock().keys = keys.iter().map(|key| key.public()).collect();
    }

    pub(crate) fn serve_keys(&self, keys: Vec<Value>) {
        self.shared.lock().keys = keys;
    }

    /// From now on it answers with this status.
    pub(crate) fn answer(&self, status: StatusCode) {
        self.shared.lock().status = status;
    }

    /// From now on it takes connections and answers nothing.
    pub(crate) fn stall(&self, is_silent: bool) {
        self.shared.lock().is_silent = is_silent;
    }

    pub(crate) fn rename(&self, name: &str) {
        self.shared.lock().name = name.to_owned();
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked_for_keys(&self) -> usize {
        self.shared.lock().asked_for_keys
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, url: String, shared: Arc<Mutex<Shared>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (url, shared) = (url.clone(), shared.clone());
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (url, shared) = (url.clone(), shared.clone());
            async move { Ok::<_, hyper::Error>(answer(request.uri().path(), &url, &shared).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(path: &str, url: &str, shared: &Mutex<Shared>) -> Response<Full<Bytes>> {
    let (status, body, is_silent) = {
        let mut shared = shared.lock();
        let body = match path {
            "/realms/chat/.well-known/openid-configuration" => {
                json!({ "issuer": shared.name, "jwks_uri": format!("{url}/certs") })
            }
            "/realms/chat/certs" => {
                shared.asked_for_keys += 1;
                json!({ "keys": shared.keys })
            }
            _ => panic!("nobody should ask for {path}"),
        };
        (shared.status, body.to_string(), shared.is_silent)
    };
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// A part of a token.
pub(crate) fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}
