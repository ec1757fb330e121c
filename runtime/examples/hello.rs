//! The README's first program: a function that answers requests.

use natsfn::{Json, Service};

async fn hello(Json(name): Json<String>) -> Json<String> {
    Json(format!("Hello, {name}!"))
}

fn main() -> natsfn::Exit {
    natsfn::main(|| Service::new("hello", "0.1.0").endpoint("hello", hello))
}
