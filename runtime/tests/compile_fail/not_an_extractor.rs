use natsfn::{Json, Service};

async fn hello(name: std::path::PathBuf) -> Json<String> {
    Json(name.display().to_string())
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
