//! JSON web tokens that an nkey signs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The `typ` of NATS's own tokens.
pub(super) const NATS: &str = "JWT";

/// How nkeys sign.
const ALGORITHM: &str = "ed25519-nkey";

#[derive(Serialize, Deserialize)]
struct Header {
    typ: String,
    alg: String,
}

/// Signs claims. `typ` keeps tokens of one use from being taken for those of another.
pub(super) fn encode(typ: &str, claims: &impl Serialize, key: &SigningKey) -> Result<String> {
    let header = Header {
        typ: typ.to_owned(),
        alg: ALGORITHM.to_owned(),
    };
    let mut token = format!("{}.{}", part(&header)?, part(claims)?);
    let signature = key.sign(token.as_bytes()).to_bytes();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

fn part(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_vec(value)
        .map_err(|error| Error::internal("a claim is not JSON").with_source(error))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Reads claims that the key of `signer` has signed. A reason for refusing never quotes the token.
pub(super) fn decode<T: DeserializeOwned>(
    typ: &str,
    token: &[u8],
    signer: impl FnOnce(&T) -> Option<VerifyingKey>,
) -> Result<T, &'static str> {
    let (signed, signature) = last_dot(token).ok_or("it is no JWT")?;
    let (header, claims) = last_dot(signed).ok_or("it is no JWT")?;
    let header: Header = read(header).ok_or("it is no JWT")?;
    if header.typ != typ || header.alg != ALGORITHM {
        return Err("it is a JWT of another kind");
    }
    let claims: T = read(claims).ok_or("its claims cannot be read")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok();
    let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
    let signature = signature.ok_or("its signature cannot be read")?;
    let key = signer(&claims).ok_or("it is signed by nobody who may")?;
    match key.verify_strict(signed, &signature) {
        Ok(()) => Ok(claims),
        Err(_) => Err("its signature is wrong"),
    }
}

fn last_dot(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = token.iter().rposition(|byte| *byte == b'.')?;
    Some((&token[..dot], &token[dot + 1..]))
}

/// The JSON may hold a password, so it is overwritten.
fn read<T: DeserializeOwned>(part: &[u8]) -> Option<T> {
    let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(part).ok()?);
    serde_json::from_slice(&json).ok()
}
