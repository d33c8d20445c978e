//! A server inside a program, which sends itself a question over HTTP and stops.
//!
//! `cargo run --release --example embed_server`

use std::io::Write;

use moss::{Builder, server::ServerOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    let server = Builder::new(demo).server(ServerOptions::local("moss-demo"))?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await });

    let body = r#"{"messages":[{"role":"user","content":"What is 3 + 4?"}],"temperature":0}"#;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    writeln!(std::io::stdout(), "{answer}")?;
    anyhow::ensure!(
        answer.contains("3 + 4 = 7."),
        "an answer of the demo model was expected"
    );

    let _ = stop.send(());
    Ok(serving.await?)
}
