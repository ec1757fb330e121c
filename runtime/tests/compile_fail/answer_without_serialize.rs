use natsfn::{Json, Service};

struct Sent;

async fn hello() -> natsfn::Result<Json<Sent>> {
    Ok(Json(Sent))
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
