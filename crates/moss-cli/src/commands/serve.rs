//! `serve`: an OpenAI-compatible API and a web page, for many at once.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use clap::{Args, ValueEnum};
use moss::server::{Defaults, Limits, ServedModel, Server, ServerOptions};
use moss::{SystemText, unicode};
use socket2::SockRef;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    addresses::{self, Login, Tunnel, url_host},
    args::Cli,
    errors::{Failed, OrFail},
    fetch,
    interrupt::{ENGINE_FAILED, StopSignals},
    messages::{Message, ServeMessage},
    open::{self, Capacity},
    origin,
    printer::Printer,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// For a process whose engine has failed to end by itself, before it is aborted.
const LAST_RESORT: Duration = Duration::from_secs(10);

/// Serve an OpenAI-compatible API and a web page
///
/// Exit status: 0 stopped as asked, 1 could not start, 70 the engine failed (a panic of the model,
/// a lost GPU, or a step without progress; /health and /ready return 503 before), 130 ended at once
/// by a second signal.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Port to listen on; 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8888)]
    port: u16,
    /// Address to listen on; 0.0.0.0 for every network, which takes a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// A key that clients must send; several with commas, or by giving it again
    #[arg(
        long,
        env = "MOSS_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    api_key: Vec<String>,
    /// A file of such keys, one a line
    #[arg(long, env = "MOSS_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Listen beyond this machine without a key
    #[arg(long)]
    no_key: bool,
    /// A host name that clients may call this server by [default: names of this machine, any beyond
    /// it]
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Origin of another web page that may call the API from a browser, or `*`
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Answers made at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    parallel: usize,
    /// Requests that may wait; one more is told to come back later
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue: usize,
    /// Tokens of all answers at once that the cache holds [default: four windows]
    #[arg(long, value_name = "N")]
    cache_tokens: Option<usize>,
    /// Seconds that a request may wait in the queue [default: 120, or longer where measured speed
    /// says that the requests ahead need longer]
    #[arg(long, value_name = "SECONDS")]
    queue_time: Option<u64>,
    /// Seconds that a prompt may take [default: four times what measured speed predicts, at least
    /// 300, or 60 on GPUs alone]
    #[arg(long, value_name = "SECONDS")]
    prompt_time: Option<u64>,
    /// Seconds that running answers are given after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_time: u64,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Write prompts into the log
    #[arg(long)]
    log_prompts: bool,
    /// Reject requests with unknown fields instead of ignoring these fields
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &ServeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    options(args, cli, String::new())?; // wrong flags, before a download of gigabytes
    let model = fetch::find_or_fetch(&cli.model, printer)?;
    let options = options(args, cli, model.name.clone())?;
    let runtime = tokio::runtime::Runtime::new()
        .or_fail("cannot start the server's threads", "无法启动服务器的线程")?;
    let address = SocketAddr::new(args.host, args.port);
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(|source| {
            let hint = (
                "another program may have the port: choose one with `--port`",
                "端口可能被其他程序占用：请用 `--port` 另选",
            );
            let what = (
                format!("cannot listen on {address}"),
                format!("无法监听 {address}"),
            );
            Failed::new(what).hint(hint).because(source)
        })?;
    let address = listener.local_addr().or_fail("cannot listen", "无法监听")?;
    let dual_stack = SockRef::from(&listener)
        .only_v6()
        .is_ok_and(|only_v6| !only_v6);
    let (hosts, has_keys) = (options.allowed_hosts.clone(), !options.api_keys.is_empty());
    let server = Server::new(options);
    let mut signals = runtime
        .block_on(async { StopSignals::watch() })
        .or_fail("cannot watch for signals", "无法监听信号")?;
    let (failed, failure) = oneshot::channel::<()>();
    let loading = Arc::new(AtomicBool::new(true));
    let serving = {
        let (server, printer, loading) = (server.clone(), printer.clone(), loading.clone());
        runtime.spawn(async move {
            let stop = async {
                tokio::select! {
                    () = signals.first() => printer.say(Message::Draining),
                    // The sender is dropped when the model is loaded; then nothing is to be heard
                    // from it.
                    () = async { if failure.await.is_err() { std::future::pending().await } } => {}
                }
            };
            let told_to_stop = async {
                stop.await;
                if loading.load(SeqCst) {
                    // Nothing can be running yet, and reading 10 GB to the end would be useless.
                    std::process::exit(0);
                }
            };
            server.serve(listener, told_to_stop).await;
        })
    };
    // Alive from here on, and ready once the model is loaded.
    announce(address, dual_stack, hosts.as_deref(), has_keys, printer);
    let loaded = load(args, cli, printer);
    loading.store(false, SeqCst);
    match loaded {
        Ok(loaded) if !serving.is_finished() => {
            server.open(loaded)?;
            printer.say(Message::Ready { name: &model.name });
            drop(failed);
        }
        Ok(_) => {}
        Err(error) => {
            let _ = failed.send(());
            runtime
                .block_on(serving)
                .or_fail("the server failed", "服务器出错")?;
            return Err(error);
        }
    }
    runtime
        .block_on(serving)
        .or_fail("the server failed", "服务器出错")?;
    let Some(fault) = server.fault() else {
        return Ok(ExitCode::SUCCESS);
    };
    let what = ("the engine has failed", "引擎出现故障");
    printer.error(&Failed::new(what).because(fault).into());
    // A driver that hangs may hang at the end of the process too.
    std::thread::spawn(|| {
        std::thread::sleep(LAST_RESORT);
        std::process::abort();
    });
    Ok(ExitCode::from(ENGINE_FAILED))
}

/// Says where the server can be reached, and by whom.
fn announce(
    address: SocketAddr,
    dual_stack: bool,
    hosts: Option<&[String]>,
    has_keys: bool,
    printer: &Printer,
) {
    let say = |message: ServeMessage<'_>| printer.say(Message::Serve(message));
    for url in addresses::urls(address, dual_stack, &addresses::interfaces(), hosts) {
        say(ServeMessage::Listening(&url));
    }
    let tunnel = Tunnel::to(address, &login());
    say(match has_keys {
        true => ServeMessage::KeyRequired,
        false => ServeMessage::NoKey {
            beyond: tunnel.is_none(),
        },
    });
    if let Some(tunnel) = tunnel {
        say(ServeMessage::Tunnel(&tunnel));
    }
}

/// Who would log in to this machine, as far as the environment says.
fn login() -> Login {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Login {
        user: variable("USER").or_else(|| variable("LOGNAME")),
        host: sysinfo::System::host_name(),
        connection: variable("SSH_CONNECTION"),
    }
}

fn load(args: &ServeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ServedModel> {
    let folder = open::find(&cli.model)?.folder;
    let window = super::eval::context_length(&folder)?;
    let capacity = Capacity {
        positions: args.cache_tokens.unwrap_or(4 * window).max(window),
        max_sequences: args.parallel.max(1),
        queue_limit: args.queue,
    };
    let opened = open::engine_for(cli, printer, capacity)?;
    open::tokenizer(&opened)?; // says what is missing, and where
    let system = cli
        .answer
        .system
        .clone()
        .map_or(SystemText::Published, SystemText::Custom);
    let has_plugins = opened.model.has_plugins();
    Ok(ServedModel::new(
        Arc::new(opened.engine),
        system,
        has_plugins,
    )?)
}

fn options(args: &ServeArgs, cli: &Cli, model: String) -> anyhow::Result<ServerOptions> {
    let api_keys = keys(args)?;
    let is_local = args.host.to_canonical().is_loopback();
    args.cors_origin
        .iter()
        .try_for_each(|text| origin::check(text))?;
    let allow_host = args.allow_host.iter().map(|name| origin::host(name));
    let allow_host = allow_host.collect::<Result<Vec<_>, _>>()?;
    if !is_local && api_keys.is_empty() && !args.no_key {
        let what = (
            format!(
                "`--host {}` lets other machines in, and there is no key",
                args.host
            ),
            format!("`--host {}` 向其他机器开放，却没有密钥", args.host),
        );
        let hint = (
            "give one with `--api-key-file` or MOSS_API_KEY, or say `--no-key`",
            "请用 `--api-key-file` 或 MOSS_API_KEY 给出密钥，或指明 `--no-key`",
        );
        return Err(Failed::new(what).hint(hint).into());
    }
    let sampling = open::sampling(&cli.answer, Vec::new());
    sampling.check()?;
    let local = ServerOptions::local(model);
    let defaults = Defaults::default();
    let max_tokens = cli
        .answer
        .max_new_tokens
        .unwrap_or(defaults.max_tokens)
        .max(1);
    let limits = Limits {
        queue_time: args.queue_time.map(Duration::from_secs),
        prompt_time: args.prompt_time.map(Duration::from_secs),
        ..Limits::default()
    };
    let answer_time = cli.answer.max_time.unwrap_or(limits.answer_time);
    let mut allowed_hosts = local
        .allowed_hosts
        .clone()
        .filter(|_| is_local || !allow_host.is_empty());
    if let Some(hosts) = &mut allowed_hosts {
        hosts.extend(allow_host);
        // An address that was asked for by name: no page can make it its own (DNS rebinding needs a
        // host name).
        if !args.host.to_canonical().is_unspecified() {
            hosts.push(url_host(args.host));
        }
    }
    Ok(ServerOptions {
        api_keys,
        allowed_hosts,
        cors_origins: args.cors_origin.clone(),
        defaults: Defaults {
            sampling,
            max_tokens,
        },
        limits: Limits {
            answer_time,
            ..limits
        },
        drain_time: Duration::from_secs(args.drain_time),
        log_prompts: args.log_prompts,
        strict: args.strict,
        ..local
    })
}

/// Keys of the command line, the environment and the file.
fn keys(args: &ServeArgs) -> anyhow::Result<Vec<String>> {
    let mut keys = args.api_key.clone();
    if let Some(file) = &args.api_key_file {
        let shown = file.display();
        let cannot = || {
            (
                format!("cannot read `{shown}`"),
                format!("无法读取 `{shown}`"),
            )
        };
        let bytes = moss::files::read_bytes(file, moss::files::MAX_BYTES)
            .map_err(|error| Failed::new(cannot()).because(error))?;
        let text = unicode::decode(&bytes).map_err(|error| Failed::new(cannot()).because(error))?;
        keys.extend(text.lines().map(|line| line.trim().to_owned()));
        if keys.iter().all(String::is_empty) {
            let what = (
                format!("`{shown}` holds no key"),
                format!("`{shown}` 中没有密钥"),
            );
            return Err(Failed::new(what)
                .hint(("write one a line", "请每行写一个"))
                .into());
        }
    }
    // White space around a key does not survive its way through an HTTP header.
    let keys = keys.iter().map(|key| key.trim().to_owned());
    Ok(keys.filter(|key| !key.is_empty()).collect())
}
