use natsfn::{Batch, Service};

async fn hello(_: Batch<u32>) {}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
