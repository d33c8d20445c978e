//! `serve`: serves an OpenAI-compatible API and a web page with continuous batching.

mod keys;

use std::{
    net::SocketAddr, process::ExitCode, sync::Arc, sync::atomic::AtomicBool,
    sync::atomic::Ordering::SeqCst, time::Duration,
};

use moss::{
    EngineOptions,
    model::{CUDA, Reference},
    server::{ApiKeys, BuildInfo, Defaults, Limits, Server, ServerOptions},
};
use socket2::SockRef;
use tokio::{net::TcpListener, sync::oneshot};

use moss_messages::msg;

use crate::{
    addresses::{self, Login, Tunnel, url_host},
    args::{Cli, ServeArgs},
    errors::{CliError, Context, build_failed},
    interrupt::ENGINE_FAILED,
    messages::{key_state, listening},
    open, origin,
    plugins::enabled,
    printer::Printer,
    signals::{Request, ServerSignals},
    source,
};
use keys::KeySources;

/// Time for a process to exit after its engine failed, before it is aborted.
const ABORT_AFTER: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &ServeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let plugins = enabled(&cli.plugins)?;
    let sources = KeySources::new(args);
    let api_keys = sources.read()?;
    // Reports invalid flags before a large download.
    options(args, cli, String::new(), api_keys.clone())?;
    sources.warn(printer);
    let builder = open::builder(source::model(&cli.model), cli, printer)?;
    let builder = builder.engine_options(engine_options(args));
    let found = open::find_with(builder, &cli.model, printer)?;
    let name = found.name().to_owned();
    let options = options(args, cli, name.clone(), api_keys)?;
    let runtime = tokio::runtime::Runtime::new().context(msg!("serve-threads"))?;
    let address = SocketAddr::new(args.host, args.port);
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(|source| {
            let what = msg!("cannot-listen-on", address);
            CliError::new(what).because(source)
        })?;
    let address = listener.local_addr().context(msg!("cannot-listen"))?;
    let dual_stack = SockRef::from(&listener)
        .only_v6()
        .is_ok_and(|only_v6| !only_v6);
    let (hosts, has_keys) = (options.allowed_hosts.clone(), !options.api_keys.is_empty());
    let server = Server::new(options);
    let mut signals = runtime
        .block_on(async { ServerSignals::watch(!sources.files.is_empty()) })
        .context(msg!("cannot-watch-signals"))?;
    let (failed, failure) = oneshot::channel::<()>();
    let loading = Arc::new(AtomicBool::new(true));
    let serving = {
        let (server, printer, loading) = (server.clone(), printer.clone(), loading.clone());
        runtime.spawn(async move {
            let stop_signal = async {
                while signals.next().await == Request::Reload {
                    sources.reload(&server);
                }
            };
            let stop = async {
                tokio::select! {
                    () = stop_signal => printer.say(msg!("draining")),
                    // The sender is dropped when the model is loaded.
                    () = async { if failure.await.is_err() { std::future::pending().await } } => {}
                }
            };
            let stop_requested = async {
                stop.await;
                if loading.load(SeqCst) {
                    // No request can be running yet, so loading need not finish.
                    std::process::exit(0);
                }
            };
            server.serve(listener, stop_requested).await;
        })
    };
    // The server responds from here on, and is ready once the model is loaded.
    announce(address, dual_stack, hosts.as_deref(), has_keys, printer);
    let loaded = found.served().map_err(build_failed);
    let loaded = loaded.map(|model| model.with_plugins(plugins));
    loading.store(false, SeqCst);
    match loaded {
        Ok(loaded) if !serving.is_finished() => {
            server.open(loaded)?;
            printer.say(msg!("ready", name));
            drop(failed);
        }
        Ok(_) => {}
        Err(error) => {
            let _ = failed.send(());
            runtime.block_on(serving).context(msg!("server-failed"))?;
            return Err(error);
        }
    }
    runtime.block_on(serving).context(msg!("server-failed"))?;
    let Some(fault) = server.fault() else {
        return Ok(ExitCode::SUCCESS);
    };
    let what = msg!("engine-failed");
    printer.error(&CliError::new(what).because(fault).into());
    // A hanging driver may also block the exit of the process.
    std::thread::spawn(|| {
        std::thread::sleep(ABORT_AFTER);
        std::process::abort();
    });
    Ok(ExitCode::from(ENGINE_FAILED))
}

/// Prints the URLs of the server and who can use them.
fn announce(
    address: SocketAddr,
    dual_stack: bool,
    hosts: Option<&[String]>,
    has_keys: bool,
    printer: &Printer,
) {
    for url in addresses::urls(address, dual_stack, &addresses::interfaces(), hosts) {
        printer.say(listening(&url));
    }
    let tunnel = Tunnel::to(address, &login());
    printer.say(key_state(has_keys, tunnel.is_none()));
    if let Some(Tunnel { command, url }) = tunnel {
        printer.say(msg!("tunnel", command, url));
    }
}

/// Returns the user and host for a login to this machine, as far as the environment names them.
fn login() -> Login {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Login {
        user: variable("USER").or_else(|| variable("LOGNAME")),
        host: sysinfo::System::host_name(),
        connection: variable("SSH_CONNECTION"),
    }
}

fn engine_options(args: &ServeArgs) -> EngineOptions {
    let defaults = EngineOptions::server();
    let options = EngineOptions {
        max_sequences: args.parallel.unwrap_or(defaults.max_sequences),
        fewer_sequences: args.parallel.is_none(),
        queue_limit: args.queue,
        cache_tokens: args.cache_tokens,
        max_per_owner: args.max_per_key,
        ..defaults
    };
    #[cfg(debug_assertions)]
    let options = EngineOptions {
        stall_time: crate::inject::stall_time(),
        ..options
    };
    options
}

fn options(
    args: &ServeArgs,
    cli: &Cli,
    model: String,
    api_keys: ApiKeys,
) -> anyhow::Result<ServerOptions> {
    let is_local = args.host.to_canonical().is_loopback();
    args.cors_origin
        .iter()
        .try_for_each(|text| origin::check(text))?;
    let allow_host = args.allow_host.iter().map(|name| origin::host(name));
    let allow_host = allow_host.collect::<Result<Vec<_>, _>>()?;
    if !is_local && api_keys.is_empty() && !args.no_key {
        let what = msg!("key-needed", host = args.host);
        return Err(CliError::new(what).into());
    }
    let sampling = open::sampling(&cli.answer);
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
        // The address of `--host` is safe: DNS rebinding needs a host name.
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
        build: build_info(),
        ..local
    })
}

fn build_info() -> BuildInfo {
    let features = [("cuda", CUDA), ("candle-cuda", Reference::CUDA)];
    let features = features.into_iter().filter(|(_, is_compiled)| *is_compiled);
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("MOSS_COMMIT")
            .filter(|commit| !commit.is_empty())
            .map(str::to_owned),
        features: features.map(|(name, _)| name.to_owned()).collect(),
    }
}
