use natsfn::{Client, Json, Service};

struct Draft;

async fn hello(_: Client, _: Json<Draft>) {}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
