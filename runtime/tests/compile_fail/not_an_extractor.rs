use natsfn::{Json, Service};

async fn hello(path: std::path::PathBuf) -> Json<usize> {
    Json(path.as_os_str().len())
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
