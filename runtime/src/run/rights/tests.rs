use bytes::Bytes;

use crate::run::start::start;
use crate::service::Service;
use crate::service::background::{Background, Work};
use crate::service::endpoint::Endpoint;
use crate::{Client, HeaderMap, testing};

/// What the function is told where it publishes.
async fn publish(client: Client, subject: Bytes) -> String {
    let subject = String::from_utf8_lossy(&subject);
    let sent = client.publish(&subject, HeaderMap::new(), "".into()).await;
    sent.map_or_else(|error| error.to_string(), |()| "sent".to_owned())
}

#[tokio::test]
async fn publishing_what_is_not_declared_is_refused_where_that_is_checked() {
    let server = testing::nats().await;
    let nats = async_nats::connect(server.url()).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let work = move |background: Background, ()| {
        let tell = tell.clone();
        async move {
            let client = background.client();
            for subject in ["beat.1", "pay.1"] {
                let sent = client.publish(subject, HeaderMap::new(), "".into()).await;
                tell.send(sent.map_err(|error| error.to_string())).unwrap();
            }
            std::future::pending().await
        }
    };
    let pay = Endpoint::new("pay", "pay").publishes("paid.{order}");
    let service = Service::new("shop", "1.0.0")
        .endpoint(pay, publish)
        .task(Work::of("beat").publishes("beat.*"), work);
    let mut definition = service.build().unwrap();
    definition.checks_access = true;
    let _running = start(definition, nats.clone(), None).await.unwrap();

    let declared = nats.request("pay", "paid.7".into()).await.unwrap();
    assert_eq!(declared.payload, "sent");
    let other = nats.request("pay", "beat.1".into()).await.unwrap();
    let why = String::from_utf8_lossy(&other.payload);
    assert!(
        why.contains(r#"add .publishes("beat.1") to the definition of pay"#),
        "{why}"
    );
    assert_eq!(told.recv().await, Some(Ok(())));
    let why = told.recv().await.unwrap().unwrap_err();
    assert!(why.contains("to the definition of beat"), "{why}");
}
