//! `chat kick`: a person's connections end now.

use std::time::Instant;

use chat::auth::kick::kick;

use crate::doorway::Doorway;
use crate::server::connect;

#[tokio::test]
async fn kick_ends_the_connections_of_one_person_alone() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let mut bobs = vec![
        doorway.password("bob", "bob").await,
        doorway.password("bob", "bob").await,
    ];
    doorway.set_user("bob-2", "x", &[]);
    let (mut alice, mut other) = (
        doorway.password("alice", "alice").await,
        doorway.password("bob-2", "x").await,
    );
    let admin = connect(&doorway.server, "kick", "_INBOX.o.kick").await;

    assert_eq!(kick(&admin, "nobody").await.unwrap(), 0);
    let began = Instant::now();
    assert_eq!(kick(&admin, "bob").await.unwrap(), 2);
    for bob in &mut bobs {
        bob.ends_with("").await;
    }
    println!("kicked after {:?}", began.elapsed());

    for other in [&mut alice, &mut other] {
        other.say("PING\r\n").await;
        assert_eq!(other.line().await, "PONG");
    }
    assert_eq!(kick(&admin, "bob").await.unwrap(), 0);
}
