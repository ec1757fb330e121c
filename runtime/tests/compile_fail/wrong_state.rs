use natsfn::{Json, Service, State};

async fn hello(State(n): State<u32>) -> Json<u32> {
    Json(n)
}

fn main() {
    let _ = Service::new("hello", "0.1.0").state("text").endpoint("hello", hello);
}
