use std::rc::Rc;

use natsfn::Service;

async fn hello() {
    let rc = Rc::new(1);
    std::future::ready(()).await;
    drop(rc);
}

fn main() {
    let _ = Service::new("hello", "0.1.0").endpoint("hello", hello);
}
