//! The HTTP server of the web page: its files, and its configuration for browsers.

mod connection;
mod encoding;
mod headers;
mod permits;
mod site;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use natsfn::{Background, Error, Result};
use tokio::net::TcpListener;

use crate::app::App;

pub use crate::config::page::{Login, Settings, Telemetry};
pub use connection::serve;
pub use site::{Asset, Site};

/// Says how to build the missing page.
const NOT_BUILT: &str = "This program was built without the page. `cargo xtask dev` builds both; by \
    hand: `npm ci && npm run build` in web/, then build chat again.\n";

/// Answers HTTP requests.
pub struct Page {
    site: Site,
    headers: HeaderMap,
    config: Bytes,
    max_connections: usize,
}

/// Serves the page until this process stops.
///
/// # Errors
/// The address is in use; the task is restarted after a pause.
pub async fn page(mut background: Background, app: App) -> Result<()> {
    let mut settings = app.config.page.clone();
    settings.login = Login::of(&app.config.auth);
    let listener = match background.dev_listener() {
        Some(dev) => {
            if let Some(websocket) = dev.websocket() {
                websocket.clone_into(&mut settings.websocket);
            }
            dev.listener()?
        }
        None => bind(settings.listen)?,
    };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let site = Site::built_in();
    if site.is_empty() {
        tracing::warn!("{}", NOT_BUILT.trim_end());
    }
    tracing::info!("the page is at http://{}", listener.local_addr()?);
    let page = Arc::new(Page::new(site, &settings));
    serve(listener, page, background.stopped()).await;
    Ok(())
}

fn bind(listen: SocketAddr) -> Result<std::net::TcpListener> {
    std::net::TcpListener::bind(listen).map_err(|error| {
        Error::unavailable(format!(
            "the page cannot listen on {listen} ({error}); page.listen names another address"
        ))
    })
}

impl Page {
    /// A page of these files.
    pub fn new(site: Site, settings: &Settings) -> Self {
        Self {
            site,
            headers: headers::of(settings),
            config: settings.for_browsers().to_string().into(),
            max_connections: settings.max_connections,
        }
    }

    /// The answer to a request. For HEAD, the connection leaves out the body.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/config.json") => self.config(),
            (&Method::GET | &Method::HEAD, path) => self.file(path, request.headers()),
            _ => {
                let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only.\n");
                set(&mut refused, header::ALLOW, "GET, HEAD");
                refused
            }
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    fn file(&self, path: &str, asked: &HeaderMap) -> Response<Full<Bytes>> {
        if self.site.is_empty() {
            return text(StatusCode::SERVICE_UNAVAILABLE, NOT_BUILT);
        }
        self.site.find(path).map_or_else(
            || {
                text(
                    StatusCode::NOT_FOUND,
                    "There is nothing here. The chat is at /.\n",
                )
            },
            |file| file.response(asked),
        )
    }

    fn config(&self) -> Response<Full<Bytes>> {
        answer(StatusCode::OK, "application/json", self.config.clone())
    }
}

/// An answer that may not be cached.
fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, kind);
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn text(status: StatusCode, sentence: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", sentence.into())
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
