use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::function::database::{Database, Schema};
use crate::sql::schema::migrate::migrate;
use crate::sql::scratch::{Effects, Scratch, open, url_of};

#[tokio::test]
async fn database_of_another_encoding_is_refused_with_its_cure() {
    let latin =
        Scratch::postgres_made("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let latin = latin.await;
    let setup = migrate::<Effects>(&latin.url, &[]).await.unwrap_err();
    let Schema::Other(start) = open(&latin.url).schema().await.unwrap() else {
        panic!("it starts")
    };
    for why in [setup.to_string(), start] {
        assert!(why.contains("LATIN1") && why.contains("UTF8"), "{why}");
    }
}

#[tokio::test]
async fn pooler_in_transaction_mode_is_refused_with_its_cure() {
    let [_, postgres] = Scratch::each().await;
    let url = pooler(&postgres).await;
    let setup = migrate::<Effects>(&url, &[]).await.unwrap_err();
    let Schema::Other(start) = open(&url).schema().await.unwrap() else {
        panic!("it starts")
    };
    for why in [setup.to_string(), start] {
        assert!(why.contains("session mode"), "{why}");
    }
    assert_eq!(postgres.open().schema().await.unwrap(), Schema::Known);
}

/// The pooler's only connection to the server; the first client logs in through it.
struct Shared {
    server: TcpStream,
    logged_in: bool,
}

/// A pooler with one connection to the server, which each client has for one transaction.
async fn pooler(postgres: &Scratch) -> String {
    let parts = url_of(&postgres.url);
    let server = TcpStream::connect((parts.host.as_str(), parts.port));
    let shared = Arc::new(Mutex::new(Shared {
        server: server.await.unwrap(),
        logged_in: false,
    }));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, shared.clone()));
        }
    });
    format!("{}127.0.0.1:{port}{}", parts.before, parts.after)
}

async fn serve(mut client: TcpStream, shared: Arc<Mutex<Shared>>) -> std::io::Result<()> {
    log_in(&mut client, &mut *shared.lock().await).await?;
    let mut held = None;
    loop {
        let asked = message(&mut client).await?;
        if asked[0] == b'X' {
            return Ok(());
        }
        let mut lent = match held.take() {
            Some(lent) => lent,
            None => shared.clone().lock_owned().await,
        };
        lent.server.write_all(&asked).await?;
        if matches!(asked[0], b'Q' | b'S') {
            loop {
                let answer = message(&mut lent.server).await?;
                client.write_all(&answer).await?;
                if answer[0] == b'Z' {
                    held = (answer[5] != b'I').then_some(lent);
                    break;
                }
            }
        } else {
            held = Some(lent);
        }
    }
}

/// Logs a client in: the first one as the server asks for it, the others at once.
async fn log_in(client: &mut TcpStream, shared: &mut Shared) -> std::io::Result<()> {
    const SSL_REQUEST: i32 = 80_877_103;
    let start = loop {
        let length = client.read_i32().await?;
        let mut start = length.to_be_bytes().to_vec();
        start.resize(length as usize, 0);
        client.read_exact(&mut start[4..]).await?;
        if start[4..8] != SSL_REQUEST.to_be_bytes() {
            break start;
        }
        client.write_all(b"N").await?;
    };
    if shared.logged_in {
        return client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await;
    }
    shared.server.write_all(&start).await?;
    loop {
        let answer = message(&mut shared.server).await?;
        client.write_all(&answer).await?;
        match (answer[0], answer.get(8)) {
            (b'Z', _) => break,
            // The server asks for a password (3, 5) or a step of SCRAM (10, 11), or is satisfied (0, 12).
            (b'R', Some(3 | 5 | 10 | 11)) => {
                let password = message(client).await?;
                shared.server.write_all(&password).await?;
            }
            _ => {}
        }
    }
    shared.logged_in = true;
    Ok(())
}

/// One message with its header.
async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    let length = from.read_i32().await?;
    let mut whole = vec![0; 1 + length as usize];
    whole[0] = kind;
    whole[1..5].copy_from_slice(&length.to_be_bytes());
    from.read_exact(&mut whole[5..]).await?;
    Ok(whole)
}
