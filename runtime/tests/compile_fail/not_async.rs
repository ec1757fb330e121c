use natsfn::{Json, Service};

fn hello(Json(name): Json<u32>) -> Json<u32> {
    Json(name)
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
