//! Where models come from: flags and environment to search places and a hub, and the question before
//! a download.

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

use crate::{
    args::{DemoArg, ModelArgs, SourceArg},
    errors::{Failed, build_failed},
    messages::{DownloadMessage, Message},
    printer::Printer,
    progress::DownloadProgress,
};

/// Returns a builder of the model that the flags name.
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

/// Where models are looked for.
pub(crate) fn places(args: &ModelArgs) -> SearchPlaces {
    SearchPlaces {
        current_dir: PathBuf::from("."),
        hub_cache: hub_cache(args),
    }
}

/// Finds the model of a builder. A published model that is not on this machine is downloaded after a
/// question, and one that another tool downloaded in part is completed.
pub(crate) fn find_or_download(
    builder: Builder,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<Found> {
    let id = ModelId::parse(&args.model)
        .ok()
        .filter(|_| args.demo.is_none());
    let may_ask = args.yes || printer.can_ask();
    // What was typed may have been a path: other models are downloaded on demand alone.
    let wanted = |id: &ModelId| args.yes || id.is_known();
    let may_download = |id: &ModelId| !args.offline && may_ask && (wanted(id) || is_here(args));
    let builder = match settings(args) {
        Ok(settings) if id.as_ref().is_some_and(may_download) => {
            builder.download(settings, confirm(args, printer))
        }
        _ => builder,
    };
    let refusal = |what, hint| Failed::new(Message::Download(what)).hint(Message::Download(hint));
    let model = args.model.as_str();
    let error = match builder.find() {
        Ok(found) => return Ok(found),
        Err(BuildError::Declined { .. }) => {
            return Err(refusal(
                DownloadMessage::Declined { model },
                DownloadMessage::DeclinedHint { model },
            )
            .into());
        }
        Err(BuildError::Hub(error @ HubError::NotFound { similar: None, .. })) => error,
        Err(error) => return Err(build_failed(error)),
    };
    let Some(id) = id.filter(wanted) else {
        return Err(error.into());
    };
    if args.offline {
        let offline = HubError::Offline { id: id.to_string() };
        let failed = Failed::new((offline.to_string(), offline.zh()));
        return Err(match offline.hint().zip(offline.hint_zh()) {
            Some(hint) => failed.hint(hint).because(error).into(),
            None => failed.because(error).into(),
        });
    }
    if may_ask {
        settings(args)?; // there was nowhere to download it to
    }
    let refusal = refusal(
        DownloadMessage::NobodyToAsk { model },
        DownloadMessage::NobodyToAskHint { model },
    );
    Err(refusal.because(error).into())
}

/// Returns whether the model is on this machine, perhaps in part.
fn is_here(args: &ModelArgs) -> bool {
    resolve(&args.model, &places(args)).is_ok()
}

/// Shows what a download would bring, and asks whether to start it.
fn confirm(args: &ModelArgs, printer: &Printer) -> impl FnMut(&DownloadPlan) -> bool + use<> {
    let (yes, printer) = (args.yes, printer.clone());
    move |plan| {
        if plan.bytes_missing() == 0 {
            return true;
        }
        printer.say(Message::Download(DownloadMessage::Plan(plan)));
        yes || printer.ask(Message::Download(DownloadMessage::Ask))
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
        printer.say(Message::Download(DownloadMessage::Plan(&plan)));
    }
    progress.start(plan.bytes_done, plan.bytes());
    let folder = hub.download(&plan, &report);
    progress.finish(); // before an error is shown
    Ok(folder?)
}

/// Where the hub's tools keep models.
pub(crate) fn hub_cache(args: &ModelArgs) -> Option<PathBuf> {
    set(&args.hub_cache).or_else(|| Some(hub_home(args)?.join("hub")))
}

/// The folder of the hub's tools.
fn hub_home(args: &ModelArgs) -> Option<PathBuf> {
    let cache = || {
        variable(&["XDG_CACHE_HOME"])
            .map(PathBuf::from)
            .or_else(|| Some(dirs::home_dir()?.join(".cache")))
    };
    set(&args.hub_home).or_else(|| Some(cache()?.join("huggingface")))
}

/// A variable that is set to nothing is not set.
fn set(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

/// What the flags and the environment say of hubs.
pub(crate) fn settings(args: &ModelArgs) -> Result<HubSettings, HubError> {
    let (source, endpoint, token) = match args.source {
        // HF_ENDPOINT and HF_TOKEN are the first hub's.
        SourceArg::Modelscope => {
            let endpoint = args
                .endpoint
                .clone()
                .or_else(|| variable(&["MODELSCOPE_ENDPOINT"]));
            // The variable of ModelScope's own tools, which is a host name.
            let domain = || variable(&["MODELSCOPE_DOMAIN"]).map(with_scheme);
            (Source::ModelScope, endpoint.or_else(domain), None)
        }
        SourceArg::Huggingface => {
            let endpoint = args.endpoint.clone().or_else(|| variable(&["HF_ENDPOINT"]));
            // A login on this machine was made for the hub itself, not for a mirror of it.
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

/// The first of these variables that is set to anything but nothing.
fn variable(names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.trim().is_empty())
}
