//! What the page answers: files, their headers, what a browser must know.

use chat::page::{Page, Settings, Site};
use hyper::StatusCode;
use serde_json::json;

use crate::http::{Http, site};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; manifest-src 'self'; connect-src 'self' wss://chat.example:9222 \
    https://chat.example:9222 https://traces.example https://id.example; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Settings of a page whose NATS, collector and issuer lie elsewhere.
fn elsewhere() -> Settings {
    let mut settings = Settings {
        websocket: "wss://chat.example:9222/nats".to_owned(),
        ..Settings::default()
    };
    settings.telemetry.endpoint = Some("https://traces.example/v1".to_owned());
    settings.telemetry.ratio = 0.01;
    let oidc =
        json!({ "issuer": "https://id.example/realms/chat", "client": "chat-web", "name": "Id" });
    settings.login.oidc = serde_json::from_value(oidc).unwrap();
    settings
}

#[tokio::test]
async fn every_answer_forbids_a_browser_what_the_page_does_not_need() {
    let http = Http::serve(Page::new(site(), &elsewhere())).await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/index.html", 200),
        ("GET", "/assets/index-B1x.js", 200),
        ("GET", "/config.json", 200),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("HEAD", "/", 200),
    ] {
        let answer = http.ask(method, path, &[]).await;

        assert_eq!(answer.status, status, "{method} {path}");
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{method} {path}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("server"), "");
    }
}

#[tokio::test]
async fn browser_is_told_where_nats_the_collector_and_the_issuer_are() {
    let http = Http::serve(Page::new(site(), &elsewhere())).await;

    let answer = http.get("/config.json").await;

    assert_eq!(
        answer.json(),
        json!({
            "websocket": "wss://chat.example:9222/nats",
            "telemetry": { "endpoint": "https://traces.example/v1", "ratio": 0.01 },
            "login": {
                "local": false,
                "oidc": { "issuer": "https://id.example/realms/chat", "client": "chat-web", "name": "Id" },
            },
        })
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn file_named_by_its_content_is_kept_and_others_are_asked_for_again() {
    let http = Http::new().await;

    let script = http.get("/assets/index-B1x.js").await;
    let index = http.get("/").await;
    let icon = http.get("/icon.svg").await;

    assert_eq!(
        script.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    for answer in [&index, &icon] {
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let kinds = [&script, &index, &icon].map(|answer| answer.header("content-type").to_owned());
    let expected = [
        "text/javascript; charset=utf-8",
        "text/html; charset=utf-8",
        "image/svg+xml",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn unchanged_file_is_not_sent_again() {
    let http = Http::new().await;
    let tag = http.get("/").await.header("etag").to_owned();
    let changed = Http::with(Site::new([crate::http::asset("index.html", "new")])).await;
    for known in [&tag, "*", &format!("\"other\", {tag}")] {
        let headers = [("if-none-match", known), ("accept-encoding", "br")];

        let answer = http.get_with("/", &headers).await;

        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{known}");
        assert!(answer.body.is_empty(), "{answer:?}");
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("cache-control"), "no-cache");
    }

    let answer = changed.get_with("/", &[("if-none-match", &tag)]).await;

    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::OK, &b"new"[..])
    );
}

#[tokio::test]
async fn browser_gets_the_best_form_that_it_takes() {
    let http = Http::new().await;
    for (path, accepted, coding, body) in [
        ("/", "gzip, deflate, br", "br", "brotli of <!doctype html>"),
        ("/", "gzip", "gzip", "gzip of <!doctype html>"),
        ("/", "br;q=0, gzip", "gzip", "gzip of <!doctype html>"),
        ("/", "identity", "", "<!doctype html>"),
        ("/icon.svg", "gzip, br", "", "<svg/>"),
    ] {
        let answer = http.get_with(path, &[("accept-encoding", accepted)]).await;

        assert_eq!(answer.header("content-encoding"), coding, "{accepted}");
        assert_eq!(answer.body, body, "{accepted}");
        assert_eq!(answer.header("content-length"), body.len().to_string());
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
}

#[tokio::test]
async fn head_is_answered_with_the_headers_alone() {
    let http = Http::new().await;
    for path in ["/", "/config.json", "/nothing"] {
        let get = http.get(path).await;
        let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

        let answer = http.raw(request.as_bytes()).await;

        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{path}");
        let length = format!("content-length: {}", get.body.len());
        assert!(head.to_lowercase().contains(&length), "{length} in {head}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let http = Http::new().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        let answer = http.ask(method, "/config.json", &[]).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn path_leads_to_a_file_of_the_page_or_to_nothing() {
    let http = Http::new().await;
    for path in [
        "/nothing",
        "/assets",
        "/assets/",
        "//index.html",
        "/../index.html",
        "/assets/../index.html",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../../../../../etc/passwd",
        "/..%2fCargo.toml",
        "/..\\Cargo.toml",
        "/index.html%00",
        "/INDEX.HTML",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = http.raw(request.as_bytes()).await;
        let refused = ["HTTP/1.1 404 ", "HTTP/1.1 400 "];
        assert!(
            refused.iter().any(|status| answer.starts_with(status)),
            "{path}: {answer}"
        );
    }
    assert_eq!(http.get("/?x=/../y").await.status, StatusCode::OK);
}

#[tokio::test]
async fn program_without_a_page_says_how_to_build_one() {
    let http = Http::with(Site::new([])).await;
    for path in ["/", "/assets/index-B1x.js"] {
        let answer = http.get(path).await;

        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains("npm run build"), "{body}");
    }
    assert_eq!(http.get("/config.json").await.status, StatusCode::OK);
}
