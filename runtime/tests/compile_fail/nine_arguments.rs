use natsfn::{Caller, Service};

#[rustfmt::skip]
async fn hello(_: Caller, _: Caller, _: Caller, _: Caller, _: Caller, _: Caller, _: Caller, _: Caller, _: Caller) {}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
