//! The manifests in `deploy/kubernetes`, by Kubernetes's own schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas as Compiled};
use serde_json::{Value, json};

use crate::manifest::{all, directory, documents, manifests, read, secrets};

/// Every version that is maintained, and some before.
const VERSIONS: [&str; 6] = ["1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

/// Kubernetes's schemas of a version, which refuse unknown fields. `cargo xtask test` fetches them.
struct Schemas {
    directory: PathBuf,
    common: Value,
}

impl Schemas {
    fn of(version: &str) -> Self {
        let directory = std::env::var_os("KUBERNETES_SCHEMAS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/kubernetes-schemas"),
            PathBuf::from,
        );
        let directory = directory.join(format!("v{version}.0-local-strict"));
        let common = Self::load(&directory.join("_definitions.json"));
        Self { directory, common }
    }

    fn load(file: &Path) -> Value {
        let text = fs::read(file)
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", file.display()));
        serde_json::from_slice(&text).unwrap()
    }

    /// What is wrong with an object.
    fn mistake(&self, object: &Value) -> Option<String> {
        let text = |key: &str| object[key].as_str().unwrap();
        let (kind, api) = (text("kind"), text("apiVersion"));
        let schema = match api {
            "keda.sh/v1alpha1" => json!({ "$ref": "https://keda.sh/scaled-object" }),
            // networking.k8s.io/v1 is networking-v1 in the file's name.
            _ => {
                let (group, version) = api.split_once('/').unwrap_or(("", api));
                let group = group.split('.').next().unwrap();
                let parts = [&kind.to_lowercase(), group, version];
                let name = parts.map(str::to_owned).join("-").replace("--", "-");
                Self::load(&self.directory.join(name + ".json"))
            }
        };
        let mut compiler = Compiler::new();
        for (url, schema) in [
            (
                "https://kubernetes.io/api/_definitions.json",
                self.common.clone(),
            ),
            ("https://keda.sh/scaled-object", scaled_object()),
            ("https://kubernetes.io/api/object", schema),
        ] {
            compiler.add_resource(url, schema).unwrap();
        }
        let mut compiled = Compiled::new();
        let url = "https://kubernetes.io/api/object";
        let schema = compiler.compile(url, &mut compiled).unwrap();
        let wrong = compiled.validate(object, schema);
        wrong.err().map(|error| format!("{kind}: {error:#}"))
    }
}

/// KEDA's schema is part of no package of a registry. This is our own, of the fields that we use, by its
/// documentation; KEDA itself may refuse more.
fn scaled_object() -> Value {
    let object = |required: &[&str], properties: Value| {
        json!({
            "type": "object", "required": required, "properties": properties,
            "additionalProperties": false,
        })
    };
    let whole = json!({ "type": "integer", "minimum": 0 });
    let rules = object(&[], json!({ "stabilizationWindowSeconds": whole }));
    let behavior = object(&[], json!({ "scaleDown": rules, "scaleUp": rules }));
    let autoscaler = object(&[], json!({ "behavior": behavior }));
    // Every value of a trigger is a text, also a number.
    let prometheus = object(
        &["serverAddress", "query", "threshold"],
        json!({
            "serverAddress": { "type": "string", "pattern": "^https?://" },
            "query": { "type": "string" },
            "threshold": { "type": "string", "pattern": "^[0-9]+$" },
            "ignoreNullValues": { "enum": ["true", "false"] },
        }),
    );
    let trigger = object(
        &["type", "metadata"],
        json!({ "type": { "const": "prometheus" }, "metadata": prometheus }),
    );
    let spec = object(
        &["scaleTargetRef", "triggers"],
        json!({
            "scaleTargetRef": object(&["name"], json!({ "name": { "type": "string" } })),
            "minReplicaCount": whole,
            "maxReplicaCount": whole,
            "advanced": object(&[], json!({ "horizontalPodAutoscalerConfig": autoscaler })),
            "triggers": { "type": "array", "minItems": 1, "items": trigger },
        }),
    );
    object(
        &["apiVersion", "kind", "metadata", "spec"],
        json!({
            "apiVersion": { "const": "keda.sh/v1alpha1" },
            "kind": { "const": "ScaledObject" },
            "metadata": { "type": "object", "required": ["name"] },
            "spec": spec,
        }),
    )
}

#[test]
fn every_manifest_is_right_by_the_schemas_of_kubernetes() {
    let (objects, secrets) = (manifests(), secrets());
    for version in VERSIONS {
        let schemas = Schemas::of(version);
        for object in objects.iter().chain(&secrets) {
            let mistake = schemas.mistake(object);
            assert_eq!(mistake, None, "Kubernetes {version}");
        }
    }
}

#[test]
fn misspelled_field_and_a_wrong_type_are_mistakes() {
    let schemas = Schemas::of(VERSIONS[0]);
    let send = all("Deployment").remove("send").unwrap();
    let change = |pointer: &str, value: Value| {
        let mut changed = send.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = value;
        schemas.mistake(&changed)
    };
    assert_eq!(change("/spec/replicas", json!(3)), None);
    for (pointer, value) in [
        ("/spec/replicas", json!("3")),
        ("/spec/replica", json!(3)),
        ("/spec/template/spec/terminationGracePeriod", json!(30)),
        (
            "/spec/template/spec/containers/0/readinessProbe/httpget",
            json!({}),
        ),
    ] {
        assert!(change(pointer, value).is_some(), "{pointer}");
    }
    let mut persist = all("ScaledObject").remove("persist").unwrap();
    persist["spec"]["triggers"][0]["metadata"]["threshold"] = json!(5_000);
    assert!(schemas.mistake(&persist).is_some());
}

#[test]
fn every_file_is_part_of_the_kustomization() {
    let [kustomization] = documents(&read("kustomization.yaml")).try_into().unwrap();
    let listed = kustomization["resources"].as_array().unwrap().iter();
    let listed: BTreeSet<String> = listed.map(|it| it.as_str().unwrap().to_owned()).collect();
    let names = fs::read_dir(directory()).unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        name.into_string().unwrap()
    });
    // kustomize's own file, and what Helm and a shell read.
    let others = ["kustomization.yaml", "nats.values.yaml", "secrets.sh"];
    let files: BTreeSet<String> = names.filter(|name| !others.contains(&&**name)).collect();
    assert_eq!(listed, files);
    let tag = &kustomization["images"][0]["newTag"];
    assert_eq!(
        tag,
        env!("CARGO_PKG_VERSION"),
        "the image is of this version"
    );
}
