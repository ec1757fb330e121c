//! Three servers behind a name, with certificates for names alone. What they tell of each other (their `connect_urls`)
//! is numbers, for which they have no certificate.

use std::fs;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Request};
use bytes::Bytes;
use natsfn::config::NatsConfig;
use natsfn::testing::TestCluster;
use natsfn::{Connections, Service, connect_once};

use crate::pki::Pki;
use crate::world::until;

/// The one name that every machine knows; the servers differ by their ports.
const NAME: &str = "localhost";

struct Named {
    pki: Pki,
    cluster: TestCluster,
}

impl Named {
    /// Each server has a certificate for one of these names.
    async fn start(names: [&str; 3]) -> Self {
        let pki = Pki::new();
        for (number, name) in names.into_iter().enumerate() {
            pki.issue(&format!("n{number}"), &[name]);
        }
        let cluster = TestCluster::start_with(|number, config| {
            let tls = pki.section(&format!("n{number}"), "");
            config.text(format!(
                "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT\njetstream {{ store_dir: $NATS_CONF_STORE_DIR }}\n{tls}"
            ))
        });
        let cluster = cluster.await.unwrap();
        Self { pki, cluster }
    }

    /// The addresses of these servers, by name.
    fn config(&self, numbers: &[usize]) -> NatsConfig {
        let addresses = numbers.iter().map(|number| {
            let url = self.cluster.server(*number).url();
            format!("nats://{NAME}:{}", url.rsplit(':').next().unwrap())
        });
        NatsConfig {
            url: addresses.collect::<Vec<_>>().join(","),
            ca: Some(self.pki.path("ca.pem")),
            ..NatsConfig::default()
        }
    }
}

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Whether the service answers this client, whoever is away.
async fn answers(client: &Client) -> Option<()> {
    let request = Request::new().payload("hello".into());
    let request = request.timeout(Some(Duration::from_millis(500)));
    let answer = client.send_request("echo", request).await.ok()?;
    (answer.payload == "hello").then_some(())
}

#[tokio::test]
async fn service_goes_on_with_another_server_of_the_name_when_its_own_ends() {
    let named = Named::start([NAME; 3]).await;
    let config = named.config(&[0, 1, 2]);
    let service = Service::new("a", "1.0.0").endpoint("echo", echo);
    let connections = Connections::open(&config, "a").await.unwrap();
    let running = natsfn::start(service.build().unwrap(), connections, None);
    let running = running.await.unwrap();
    let client = connect_once(&config, "asker").await.unwrap();
    assert!(!client.server_info().connect_urls.is_empty());

    for number in 0..3 {
        let server = named.cluster.server(number);
        server.down().await;
        let started = tokio::time::Instant::now();
        until("all are connected elsewhere", async || {
            running.health().ok()?;
            answers(&client).await
        })
        .await;
        println!("{number}: {:?}", started.elapsed());
        assert_ne!(client.server_info().server_name, format!("n{number}"));
        server.up().await;
        named.cluster.ready().await.unwrap();
    }
    running.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn connection_that_lost_its_server_takes_no_server_whose_certificate_is_for_another_name() {
    let named = Named::start([NAME, "other.test", NAME]).await;
    let wrong = connect_once(&named.config(&[1]), "a").await;
    let refused = wrong.err().unwrap().to_string();
    assert!(refused.contains("nats.ca"), "{refused}");

    // Of the two other servers, one has another name, and one is told of by the cluster alone.
    let config = named.config(&[0, 1]);
    let client = connect_once(&config, "a").await.unwrap();
    assert_eq!(client.server_info().server_name, "n0");
    named.cluster.server(0).down().await;
    let refusals = |number: usize| {
        let log = fs::read_to_string(named.cluster.server(number).log()).unwrap();
        log.matches("TLS handshake error").count()
    };
    let before = [1, 2].map(refusals);
    until("both are tried", async || {
        // One by its wrong name and by its number.
        (refusals(1) >= before[0] + 2 && refusals(2) > before[1]).then_some(())
    })
    .await;
    assert_ne!(client.connection_state(), State::Connected);

    named.cluster.server(0).up().await;
    until("it is connected again", async || {
        (client.connection_state() == State::Connected).then_some(())
    })
    .await;
    assert_eq!(client.server_info().server_name, "n0");
}
