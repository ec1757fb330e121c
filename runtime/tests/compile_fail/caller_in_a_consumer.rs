use natsfn::{Caller, Consumer, Service, Stream};

async fn store(_: Caller) {}

fn main() {
    let consumer = Consumer::new("store", Stream::new("LOG", ["log.>"]));
    let _ = Service::new("hello", "0.1.0").consumer(consumer, store);
}
