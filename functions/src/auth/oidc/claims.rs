//! What an access token says, and whether it is for us.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::auth::person::{Person, Role, uid_of_subject};
use crate::config::auth::Oidc;

/// How far the clocks of two machines may differ for a token that is not valid yet. One that has
/// expired gets nothing: its connection would end at once.
const LEEWAY: Duration = Duration::from_secs(60);

/// How much of a claim an error repeats.
const MAX_SHOWN: usize = 100;

/// The claims that an ID token has and an access token has not.
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// The claims of a token, whoever signed it.
pub(super) type Claims = Map<String, Value>;

/// Whether the token is one of our issuer for our client, and for this time; the type is that of its
/// header. Returns when it expires.
///
/// # Errors
/// A sentence that helps the token's owner.
pub(super) fn check(
    claims: &Claims,
    kind: Option<&str>,
    config: &Oidc,
    now: SystemTime,
) -> Result<SystemTime, String> {
    let issuer = text(claims, "iss").unwrap_or_default();
    if issuer != config.issuer {
        return Err(format!("no such issuer configured: {}", shown(issuer)));
    }
    if !names(claims.get("aud"), &config.client) && text(claims, "azp") != Some(&config.client) {
        return Err(format!(
            "the token is for another client than {}: aud is {}, azp is {}",
            config.client,
            shown_value(claims.get("aud")),
            shown_value(claims.get("azp")),
        ));
    }
    if !is_access_token(claims, kind) {
        return Err("this is no access token; an ID token proves nothing here".to_owned());
    }
    if text(claims, "sub").is_none_or(str::is_empty) {
        return Err("the token has no sub, so it is nobody's".to_owned());
    }
    let expires = time(claims, "exp")?.ok_or("the token never expires: it has no exp")?;
    if let Ok(ago) = now.duration_since(expires) {
        let ago = ago.as_secs();
        return Err(format!(
            "token expired {ago} s ago, or this machine's clock is off"
        ));
    }
    if let Some(from) = time(claims, "nbf")?
        && let Ok(ahead) = from.duration_since(now)
        && ahead > LEEWAY
    {
        let ahead = ahead.as_secs();
        return Err(format!(
            "token is valid only in {ahead} s, or this machine's clock is off"
        ));
    }
    Ok(expires)
}

/// Whose token it is.
pub(super) fn person(claims: &Claims, config: &Oidc) -> Person {
    let subject = text(claims, "sub").unwrap_or_default();
    let names = ["name", "preferred_username"];
    let name = names.into_iter().find_map(|name| text(claims, name));
    let roles = find(claims, &config.roles);
    let role = if names_role(roles, &config.admin_role) {
        Role::Admin
    } else if names_role(roles, &config.user_role) {
        Role::User
    } else {
        Role::Reader
    };
    Person {
        uid: uid_of_subject(subject),
        name: name.unwrap_or(subject).to_owned(),
        role,
    }
}

/// RFC 9068 says it in the header, Keycloak in a claim; else an access token has a scope or a
/// client, and nothing that only an ID token has.
fn is_access_token(claims: &Claims, kind: Option<&str>) -> bool {
    if let Some(kind) = kind {
        let kind = kind.to_ascii_lowercase();
        if kind == "at+jwt" || kind == "application/at+jwt" {
            return true;
        }
        // A logout token, a DPoP proof.
        if kind != "jwt" {
            return false;
        }
    }
    match claims.get("typ") {
        Some(kind) => kind == "Bearer",
        None => {
            ["scope", "scp", "client_id"]
                .iter()
                .any(|claim| claims.contains_key(*claim))
                && !OF_ID_TOKENS.iter().any(|claim| claims.contains_key(*claim))
        }
    }
}

/// The value at a path: `realm_access.roles`, and also the one whose own name has dots.
fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(&path[..dot])?.as_object()?;
        find(inner, &path[dot + 1..])
    })
}

/// Whether a claim is a text, or a list with it.
fn names(claim: Option<&Value>, text: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == text,
        Some(Value::Array(list)) => list.iter().any(|one| one == text),
        _ => false,
    }
}

/// Roles are a list, or words in one text.
fn names_role(claim: Option<&Value>, role: &str) -> bool {
    match claim {
        Some(Value::String(words)) => words.split_whitespace().any(|word| word == role),
        other => names(other, role),
    }
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A time in seconds since 1970.
fn time(claims: &Claims, name: &str) -> Result<Option<SystemTime>, String> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    value
        .as_f64()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .map(Some)
        .ok_or_else(|| format!("{name} is no time: {}", shown_value(Some(value))))
}

/// A text of a token in a log: in quotes, on one line, not long.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN).collect();
    format!("{start:?}")
}

fn shown_value(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => shown(text),
        Some(other) => shown(&other.to_string()),
        None => "missing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn config() -> Oidc {
        serde_json::from_value(json!({
            "issuer": "https://id.example/realms/chat",
            "client": "chat-web",
        }))
        .unwrap()
    }

    /// An access token of Keycloak with other claims.
    fn claims(other: Value) -> Claims {
        let mut claims = json!({
            "iss": "https://id.example/realms/chat",
            "aud": ["chat-web", "account"],
            "azp": "chat-web",
            "sub": "5c1e",
            "typ": "Bearer",
            "exp": NOW + 900,
            "name": "Alice A.",
            "realm_access": { "roles": ["admin", "user"] },
        });
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let Value::Object(mut claims) = claims else {
            unreachable!()
        };
        claims.retain(|_, value| !value.is_null());
        claims
    }

    fn check_with(other: Value, kind: Option<&str>) -> Result<SystemTime, String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        check(&claims(other), kind, &config(), now)
    }

    #[test]
    fn access_token_for_our_client_is_taken() {
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 900);
        for (other, kind) in [
            (json!({}), Some("JWT")),
            (json!({}), None),
            (json!({ "aud": "chat-web", "azp": null }), Some("JWT")),
            (json!({ "aud": "account" }), Some("JWT")),
            (json!({ "nbf": NOW + 59 }), Some("JWT")),
            (json!({ "typ": null }), Some("at+jwt")),
            (json!({ "typ": null }), Some("application/at+JWT")),
            (json!({ "typ": null, "scope": "openid" }), Some("JWT")),
            (json!({ "nonce": "x" }), Some("JWT")),
        ] {
            assert_eq!(
                check_with(other.clone(), kind),
                Ok(expires),
                "{other} {kind:?}"
            );
        }
    }

    #[test]
    fn every_other_token_is_refused_with_the_reason() {
        for (other, kind, reason) in [
            (
                json!({ "iss": "https://id.example/realms/other" }),
                "JWT",
                "no such issuer configured: \"https://id.example/realms/other\"",
            ),
            (
                json!({ "iss": "https://id.example/realms/chat/" }),
                "JWT",
                "no such issuer",
            ),
            (
                json!({ "iss": null }),
                "JWT",
                "no such issuer configured: \"\"",
            ),
            (
                json!({ "aud": "other", "azp": "other" }),
                "JWT",
                "another client than chat-web: aud is \"other\", azp is \"other\"",
            ),
            (json!({ "aud": null, "azp": null }), "JWT", "another client"),
            (
                json!({ "aud": ["chat-web2"], "azp": ["chat-web"] }),
                "JWT",
                "another client",
            ),
            (json!({ "typ": "ID" }), "JWT", "no access token"),
            (json!({ "typ": "Refresh" }), "JWT", "no access token"),
            (
                json!({ "typ": null, "scope": "openid", "nonce": "x" }),
                "JWT",
                "no access token",
            ),
            (json!({ "typ": null }), "JWT", "no access token"),
            (json!({}), "logout+jwt", "no access token"),
            (json!({ "sub": "" }), "JWT", "no sub"),
            (json!({ "sub": null }), "JWT", "no sub"),
            (json!({ "sub": 7 }), "JWT", "no sub"),
            (
                json!({ "exp": NOW - 90 }),
                "JWT",
                "token expired 90 s ago, or this machine's clock is off",
            ),
            (json!({ "exp": NOW }), "JWT", "token expired 0 s ago"),
            (json!({ "exp": null }), "JWT", "never expires"),
            (json!({ "exp": "soon" }), "JWT", "exp is no time: \"soon\""),
            (json!({ "exp": -1 }), "JWT", "exp is no time"),
            (json!({ "exp": 1e300 }), "JWT", "exp is no time"),
            (
                json!({ "nbf": NOW + 90 }),
                "JWT",
                "token is valid only in 90 s, or this machine's clock is off",
            ),
        ] {
            let refused = check_with(other.clone(), Some(kind)).unwrap_err();
            assert!(refused.contains(reason), "{other}: {refused}");
        }
    }

    #[test]
    fn what_an_error_repeats_is_one_short_line() {
        let issuer = format!("a\n{}", "b".repeat(1_000));
        let refused = check_with(json!({ "iss": issuer }), None).unwrap_err();
        assert!(refused.len() < 200 && !refused.contains('\n'), "{refused}");
    }

    #[test]
    fn roles_come_from_the_configured_claim() {
        let role = |path: &str, other: Value| {
            let config = Oidc {
                roles: path.to_owned(),
                ..config()
            };
            person(&claims(other), &config).role
        };
        let keycloak = "realm_access.roles";
        let realm = |roles: Value| json!({ "realm_access": { "roles": roles } });
        assert_eq!(role(keycloak, json!({})), Role::Admin);
        assert_eq!(role(keycloak, realm(json!(["admin"]))), Role::Admin);
        assert_eq!(role(keycloak, realm(json!(["user", "x"]))), Role::User);
        assert_eq!(
            role(keycloak, realm(json!(["administrator"]))),
            Role::Reader
        );
        for nothing in [
            json!(null),
            json!(1),
            json!({ "admin": true }),
            json!([["admin"]]),
        ] {
            assert_eq!(role(keycloak, realm(nothing)), Role::Reader);
        }
        assert_eq!(
            role(keycloak, json!({ "realm_access": "admin" })),
            Role::Reader
        );
        assert_eq!(role("nowhere", json!({})), Role::Reader);
        assert_eq!(
            role("groups", json!({ "groups": "staff user" })),
            Role::User
        );
        let own = "https://chat.example/roles";
        assert_eq!(role(own, json!({ own: ["admin"] })), Role::Admin);
        let of_client = json!({ "resource_access": { "chat.web": { "roles": ["user"] } } });
        assert_eq!(
            role("resource_access.chat.web.roles", of_client),
            Role::User
        );
    }

    #[test]
    fn name_is_the_best_that_there_is() {
        let name = |other: Value| person(&claims(other), &config()).name;
        assert_eq!(name(json!({})), "Alice A.");
        assert_eq!(
            name(json!({ "name": null, "preferred_username": "alice" })),
            "alice"
        );
        assert_eq!(name(json!({ "name": null })), "5c1e");
        assert_eq!(person(&claims(json!({})), &config()).uid, "o-5c1e");
    }
}
