//! Model sources: search folders and hubs from flags and environment, and the question before a
//! download.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use moss::{
    BuildError, Builder, Found,
    hub::{
        DemoFormat, DownloadPlan, Hub, HubError, HubSettings, ModelId, SearchPlaces, Source,
        resolve,
    },
    unicode,
};

use moss_messages::msg;

use crate::{
    args::{DemoArg, ModelArgs, SourceArg},
    errors::{CliError, build_failed},
    messages::download_plan,
    printer::Printer,
    progress::DownloadProgress,
};

/// Returns a builder of the model of the flags.
pub(crate) fn model(args: &ModelArgs) -> Builder {
    let Some(demo) = args.demo else {
        return Builder::new(args.model.as_str()).search(places(args));
    };
    let cache = dirs::cache_dir().unwrap_or_else(std::env::temp_dir);
    Builder::demo(match demo {
        DemoArg::Int4 => DemoFormat::Int4,
        DemoArg::Fp16 => DemoFormat::Fp16,
    })
    .cache_dir(cache)
}

/// Returns a builder of another model: a path, or a name as `--model` takes it.
pub(crate) fn at(name: &Path, args: &ModelArgs) -> Builder {
    if name.exists() {
        Builder::folder(name)
    } else {
        Builder::new(name.display().to_string()).search(places(args))
    }
}

/// Returns the folders that are searched for models.
pub(crate) fn places(args: &ModelArgs) -> SearchPlaces {
    SearchPlaces {
        current_dir: PathBuf::from("."),
        hub_cache: hub_cache(args),
    }
}

/// Finds the model of a builder. A published model that is not on this machine is downloaded after
/// a question. A partial download of another tool is completed.
pub(crate) fn find_or_download(
    builder: Builder,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<Found> {
    let id = ModelId::parse(&args.model)
        .ok()
        .filter(|_| args.demo.is_none());
    let may_ask = args.yes || printer.can_ask();
    // The name may be a mistyped path, so unpublished models are downloaded only with `--yes`.
    let wanted = |id: &ModelId| args.yes || id.is_known();
    let may_download = |id: &ModelId| !args.offline && may_ask && (wanted(id) || is_here(args));
    let builder = match settings(args) {
        Ok(settings) if id.as_ref().is_some_and(may_download) => {
            builder.download(settings, confirm(args, printer))
        }
        _ => builder,
    };
    let model = args.model.as_str();
    let error = match builder.find() {
        Ok(found) => return Ok(found),
        Err(BuildError::Declined { .. }) => {
            return Err(CliError::new(msg!("download-declined", model)).into());
        }
        Err(BuildError::Hub(error @ HubError::NotFound { similar: None, .. })) => error,
        Err(error) => return Err(build_failed(error)),
    };
    let Some(id) = id.filter(wanted) else {
        return Err(error.into());
    };
    if args.offline {
        let offline = HubError::Offline { id: id.to_string() };
        return Err(CliError::new(offline).because(error).into());
    }
    if may_ask {
        settings(args)?; // the settings were invalid
    }
    Err(CliError::new(msg!("download-cannot-ask", model))
        .because(error)
        .into())
}

/// Returns true if the model is on this machine, at least in part.
fn is_here(args: &ModelArgs) -> bool {
    resolve(&args.model, &places(args)).is_ok()
}

/// Shows the plan of a download and asks whether to start it.
fn confirm(args: &ModelArgs, printer: &Printer) -> impl FnMut(&DownloadPlan) -> bool + use<> {
    let (yes, printer) = (args.yes, printer.clone());
    move |plan| {
        if plan.bytes_missing() == 0 {
            return true;
        }
        printer.say(download_plan(plan));
        yes || printer.ask(&msg!("download-ask"))
    }
}

/// Downloads a model into the cache, and returns its folder.
pub(crate) fn download(
    id: &ModelId,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<PathBuf> {
    let hub = Hub::new(settings(args)?)?;
    let progress = DownloadProgress::new(printer);
    let report = |event: moss::hub::DownloadEvent<'_>| progress.report(event);
    let plan = hub.plan(id, &report)?;
    if plan.bytes_missing() > 0 {
        printer.say(download_plan(&plan));
    }
    progress.start(plan.bytes_done, plan.bytes());
    let folder = hub.download(&plan, &report);
    progress.finish(); // before an error is shown
    Ok(folder?)
}

/// Returns the model cache of the hub's tools.
pub(crate) fn hub_cache(args: &ModelArgs) -> Option<PathBuf> {
    set(&args.hub_cache).or_else(|| Some(hub_home(args)?.join("hub")))
}

/// Returns the folder of the hub's tools.
fn hub_home(args: &ModelArgs) -> Option<PathBuf> {
    let cache = || {
        variable(&["XDG_CACHE_HOME"])
            .map(PathBuf::from)
            .or_else(|| Some(dirs::home_dir()?.join(".cache")))
    };
    set(&args.hub_home).or_else(|| Some(cache()?.join("huggingface")))
}

/// Treats an empty variable as unset.
fn set(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

/// Returns the hub settings of flags and environment.
pub(crate) fn settings(args: &ModelArgs) -> Result<HubSettings, HubError> {
    let (source, endpoint, token) = match args.source {
        // HF_ENDPOINT and HF_TOKEN are for Hugging Face only.
        SourceArg::Modelscope => {
            let endpoint = args
                .endpoint
                .clone()
                .or_else(|| variable(&["MODELSCOPE_ENDPOINT"]));
            // The variable of ModelScope's tools is a host name.
            let domain = || variable(&["MODELSCOPE_DOMAIN"]).map(with_scheme);
            (Source::ModelScope, endpoint.or_else(domain), None)
        }
        SourceArg::Huggingface => {
            let endpoint = args.endpoint.clone().or_else(|| variable(&["HF_ENDPOINT"]));
            // A stored login is for the hub itself and must not be sent to a mirror.
            let login = || {
                let bytes =
                    moss::files::read_bytes(&hub_home(args)?.join("token"), 64 << 10).ok()?;
                Some(unicode::decode(&bytes).ok()?.to_owned())
            };
            let login = || login().filter(|_| endpoint.is_none());
            let token = variable(&["HF_TOKEN"]).or_else(login);
            (
                Source::HuggingFace,
                endpoint,
                token.map(|token| token.trim().to_owned()),
            )
        }
    };
    let is_plain = endpoint
        .as_deref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let proxy: [&str; 4] = match is_plain {
        true => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        false => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let cache = hub_cache(args).ok_or_else(|| HubError::Disk {
        path: Path::new("~").to_owned(),
        source: io::Error::new(io::ErrorKind::NotFound, "there is no home folder"),
    })?;
    Ok(HubSettings {
        source,
        endpoint,
        token: token.filter(|token| !token.is_empty()),
        proxy: variable(&proxy),
        no_proxy: variable(&["no_proxy", "NO_PROXY"]),
        offline: args.offline,
        ..HubSettings::new(cache)
    })
}

fn with_scheme(domain: String) -> String {
    if domain.contains("://") {
        domain
    } else {
        format!("https://{}", domain.trim())
    }
}

/// Returns the first of these variables that is set and not empty.
fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.trim().is_empty())
}
