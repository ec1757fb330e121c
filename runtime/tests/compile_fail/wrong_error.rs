use natsfn::Service;

#[derive(Debug)]
struct Mine;

async fn hello() -> Result<(), Mine> {
    Err(Mine)
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
