use natsfn::Service;

async fn hello() -> u32 {
    7
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
