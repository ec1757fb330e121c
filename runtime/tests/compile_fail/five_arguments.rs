use natsfn::{Bytes, Client, Headers, Json, Service, Subject};

async fn hello(_: Json<u32>, _: Bytes, _: Client, _: Headers, _: Subject) {}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
