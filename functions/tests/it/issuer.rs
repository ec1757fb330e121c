//! An issuer of access tokens with real keys, which serves its configuration and its public keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, Header};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The client that tokens are for.
pub(crate) const CLIENT: &str = "chat-web";

/// A key pair with an id.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    private: Private,
    pub(crate) algorithm: Algorithm,
}

#[derive(Clone)]
enum Private {
    Rsa(Arc<RsaKeyPair>),
    P256(Arc<EcdsaKeyPair>),
}

/// Keys of these tests alone, since making one takes long.
const RSA: [&str; 2] = [
    include_str!("fixtures/rsa-1.pem"),
    include_str!("fixtures/rsa-2.pem"),
];

impl Key {
    /// One of two RSA keys.
    pub(crate) fn rsa(id: &str, which: usize) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(RSA[which].as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        Self {
            id: id.to_owned(),
            private: Private::Rsa(Arc::new(pair)),
            algorithm: Algorithm::RS256,
        }
    }

    /// A fresh key on P-256.
    pub(crate) fn p256(id: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, der.as_ref(), &random).unwrap();
        Self {
            id: id.to_owned(),
            private: Private::P256(Arc::new(pair)),
            algorithm: Algorithm::ES256,
        }
    }

    /// The same key, which signs by another algorithm.
    pub(crate) fn by(&self, algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            ..self.clone()
        }
    }

    /// The public key, as the issuer serves it.
    pub(crate) fn public(&self) -> Value {
        let encoded = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
        let mut jwk = match &self.private {
            Private::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encoded(&public.n), "e": encoded(&public.e) })
            }
            Private::P256(pair) => {
                // A byte that says that both coordinates follow.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) })
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm);
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
        self.sign_with(&self.header(), claims)
    }

    /// A token with this header.
    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        signed(header, claims, |message| self.signature(message))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match self.algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_SHA256,
                    Algorithm::RS384 => &RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    Algorithm::PS512 => &RSA_PSS_SHA512,
                    other => panic!("an RSA key does not sign by {other:?}"),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Private::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}

/// A token that `sign` signs.
pub(crate) fn signed(
    header: &Header,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let message = format!("{}.{}", part(&json!(header)), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
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
