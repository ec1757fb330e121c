//! Who may connect to NATS: nats-server asks a function at each login (auth callout).
//!
//! A login that none of nats-server's own users (`auth_users`) makes is sent to the function of
//! [`Endpoint::auth_callout`](crate::Endpoint::auth_callout), signed by the server and encrypted. The
//! function is a handler like any other: it takes an [`AuthRequest`], and returns an [`Allow`] or an
//! error. natsfn decrypts and checks the request, and signs and encrypts the answer.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::Arc;
//!
//! use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, Permissions};
//! use natsfn::config::Secret;
//! use natsfn::{Endpoint, Error, Kind, Result, Service, State};
//!
//! type Door = Arc<HashMap<String, Secret>>;
//!
//! async fn decide(State(door): State<Door>, request: AuthRequest) -> Result<Allow> {
//!     let user = &request.connect.user;
//!     if door.get(user) != Some(&request.connect.password) {
//!         return Err(Error::new(Kind::Unauthorized, "wrong user name or password"));
//!     }
//!     let permissions = Permissions::none()
//!         .publish(["shop.>"])
//!         .subscribe([format!("_INBOX.{user}.>")]);
//!     Ok(Allow::new("CUSTOMERS", user).permissions(permissions))
//! }
//!
//! # fn main() -> Result<(), natsfn::RunError> {
//! let new = AuthKeys::generate(); // once; nats-server's configuration has the public halves
//! let keys = AuthKeys::from_seeds(&new.issuer_seed, &new.xkey_seed)?;
//! let door = Door::default();
//! let service = Service::new("door", "1.0.0")
//!     .state(door)
//!     .endpoint(Endpoint::auth_callout("decide", keys), decide);
//! # service.build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//! | the function | nats-server | its client |
//! |---|---|---|
//! | returns an [`Allow`] | applies account, name and permissions | is connected |
//! | returns an error, or panics | logs the error's message | "Authorization Violation" |
//! | returns [`Kind::Unavailable`](crate::Kind), or misses its deadline | gets no answer, gives up after 2 s | "Authorization Violation", after these 2 s |
//!
//! So a client that was refused in less than the deadline of 1.5 s was refused by the function, and one that
//! was refused later may try again.
//!
//! # nats-server's configuration
//! The service connects as a user of `auth_users`, in the account of the callout:
//! ```text
//! accounts {
//!   AUTH { users: [ { user: door, password: $DOOR_PASSWORD, permissions: {
//!     subscribe: [ "$SYS.REQ.USER.AUTH", "$SRV.>", "_INBOX.>" ]
//!     publish:   [ "$SYS._INBOX.>", "_INBOX.>" ] } } ] }
//!   CUSTOMERS {}
//! }
//! authorization { auth_callout {
//!   account: AUTH, auth_users: [ door ], issuer: $ISSUER, xkey: $XKEY
//! } }
//! ```
//! Without `xkey` nats-server would send passwords in plain text: such requests are refused.

mod allow;
mod codec;
mod endpoint;
mod envelope;
mod jwt;
mod keys;
mod request;

pub use allow::{Allow, ConnectionType, Permissions, Subjects};
pub use endpoint::SUBJECT;
pub use keys::{AuthKeys, NewKeys};
pub use request::{AuthRequest, Client, Connect, Credential, Server, Tls};
