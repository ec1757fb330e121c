//! The files of the built page, held in the program.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
    VARY,
};
use hyper::{Response, StatusCode};

use super::encoding::accepts;
use super::set;

/// `web/dist` at build time, compressed files beside the plain ones; build.rs writes it.
const BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/site.rs"));

/// Vite names the files in this directory after their content, so they can be cached forever.
const NAMED_BY_CONTENT: &str = "assets/";

/// Files by path. Only an exact path finds one, so `..` leads nowhere.
pub struct Site(HashMap<String, File>);

/// A file and its compressed forms.
pub struct Asset {
    /// Where it is, without a slash in front: `assets/index-B1x.js`.
    pub path: String,
    /// The content.
    pub plain: Bytes,
    /// The content compressed by brotli.
    pub brotli: Option<Bytes>,
    /// The content compressed by gzip.
    pub gzip: Option<Bytes>,
}

pub(super) struct File {
    asset: Asset,
    /// The hash of the plain content, as a weak ETag: all encodings share it.
    tag: HeaderValue,
}

impl Site {
    /// The page that is built into this program; empty if it was built without one.
    pub fn built_in() -> Self {
        let files: BTreeMap<&str, &'static [u8]> = BUILT_IN.iter().copied().collect();
        let content = |path: &str| files.get(path).copied().map(Bytes::from_static);
        let is_compressed = |path: &str| path.ends_with(".br") || path.ends_with(".gz");
        let plain = files.iter().filter(|(path, _)| !is_compressed(path));
        Self::new(plain.map(|(path, plain)| Asset {
            path: (*path).to_owned(),
            plain: Bytes::from_static(plain),
            brotli: content(&format!("{path}.br")),
            gzip: content(&format!("{path}.gz")),
        }))
    }

    /// A site of these files.
    pub fn new(assets: impl IntoIterator<Item = Asset>) -> Self {
        let files = assets.into_iter().map(|asset| {
            let mut hasher = DefaultHasher::new();
            asset.plain.hash(&mut hasher);
            let tag = format!("W/\"{:016x}\"", hasher.finish());
            let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""));
            (asset.path.clone(), File { asset, tag })
        });
        Self(files.collect())
    }

    /// Whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file at the path of a request.
    pub(super) fn find(&self, path: &str) -> Option<&File> {
        let path = path.strip_prefix('/')?;
        self.0
            .get(if path.is_empty() { "index.html" } else { path })
    }
}

impl File {
    /// The file, or 304 if the browser has it.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response<Full<Bytes>> {
        let (body, coding) = match &self.asset {
            Asset {
                brotli: Some(brotli),
                ..
            } if accepts(asked, "br") => (brotli, Some("br")),
            Asset {
                gzip: Some(gzip), ..
            } if accepts(asked, "gzip") => (gzip, Some("gzip")),
            asset => (&asset.plain, None),
        };
        let is_known = self.is_known(asked);
        let mut response = Response::new(if is_known {
            Full::default()
        } else {
            Full::new(body.clone())
        });
        response.headers_mut().insert(ETAG, self.tag.clone());
        set(&mut response, VARY, "accept-encoding");
        let keep = if self.asset.path.starts_with(NAMED_BY_CONTENT) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        set(&mut response, CACHE_CONTROL, keep);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        set(&mut response, CONTENT_TYPE, kind(&self.asset.path));
        if let Some(coding) = coding {
            set(&mut response, CONTENT_ENCODING, coding);
        }
        response
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.tag.to_str().map(opaque).unwrap_or_default();
        asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }
}

/// The content type, by extension; with `nosniff` browsers do not guess it.
fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
