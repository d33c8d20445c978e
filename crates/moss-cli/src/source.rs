//! Where models come from: flags and environment to search places and a hub, and the question before
//! a download.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use moss::{
    hub::{
        DemoFormat, Hub, HubError, HubSettings, ModelId, ResolvedModel, SearchPlaces, Source,
        resolve, unpack_demo,
    },
    unicode,
};

use crate::{
    args::{DemoArg, ModelArgs, SourceArg},
    errors::Failed,
    messages::{DownloadMessage, Message},
    printer::Printer,
    progress::DownloadProgress,
};

/// The folder that the flags name.
pub(crate) fn find(args: &ModelArgs) -> anyhow::Result<ResolvedModel> {
    if let Some(demo) = args.demo {
        let cache = dirs::cache_dir().unwrap_or_else(std::env::temp_dir);
        let format = match demo {
            DemoArg::Int4 => DemoFormat::Int4,
            DemoArg::Fp16 => DemoFormat::Fp16,
        };
        let folder = unpack_demo(format, &cache)?;
        return Ok(ResolvedModel {
            name: moss::hub::DEMO_NAME.to_owned(),
            folder,
        });
    }
    Ok(resolve(&args.model, &places(args))?)
}

/// A path as it is; a hub id or a short name as `--model` would find it.
pub(crate) fn folder(name: &Path, args: &ModelArgs) -> anyhow::Result<PathBuf> {
    if name.exists() {
        return Ok(name.to_owned());
    }
    let model = name.display().to_string();
    Ok(find(&ModelArgs {
        model,
        demo: None,
        ..args.clone()
    })?
    .folder)
}

/// Where models are looked for.
pub(crate) fn places(args: &ModelArgs) -> SearchPlaces {
    SearchPlaces {
        current_dir: PathBuf::from("."),
        hub_cache: hub_cache(args),
    }
}

/// The folder that the flags name; a published model that is nowhere is downloaded, after a
/// question, and one that another tool downloaded in part is completed.
pub(crate) fn find_or_fetch(args: &ModelArgs, printer: &Printer) -> anyhow::Result<ResolvedModel> {
    let error = match find(args) {
        Ok(found) => return complete(found, args, printer),
        Err(error) => error.downcast::<HubError>()?,
    };
    if !matches!(error, HubError::NotFound { similar: None, .. }) {
        return Err(error.into());
    }
    // What was typed may have been a path: other models are fetched on demand alone.
    let Some(id) = ModelId::parse(&args.model)
        .ok()
        .filter(|id| args.yes || id.is_known())
    else {
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
    let refusal = |what, hint| Failed::new(Message::Download(what)).hint(Message::Download(hint));
    let model = args.model.as_str();
    if !args.yes && !printer.can_ask() {
        let refusal = refusal(
            DownloadMessage::NobodyToAsk { model },
            DownloadMessage::NobodyToAskHint { model },
        );
        return Err(refusal.because(error).into());
    }
    let agreed = || args.yes || printer.ask(Message::Download(DownloadMessage::Ask));
    match download(&id, args, printer, agreed)? {
        Some(_) => find(args),
        None => Err(refusal(
            DownloadMessage::Declined { model },
            DownloadMessage::DeclinedHint { model },
        )
        .into()),
    }
}

/// Brings the tokenizer's files to a snapshot of the cache that has the weights alone. Without
/// leave to do so, it is used as it is: token ids need no tokenizer.
fn complete(
    found: ResolvedModel,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<ResolvedModel> {
    let is_cached = hub_cache(args).is_some_and(|cache| found.folder.starts_with(cache));
    let (true, Some(missing)) = (is_cached, found.missing_file()) else {
        return Ok(found);
    };
    let Ok(id) = ModelId::parse(&args.model) else {
        return Ok(found);
    };
    if args.offline || !(args.yes || printer.can_ask()) {
        return Ok(found);
    }
    printer.say(Message::Download(DownloadMessage::Partial {
        model: &args.model,
        missing,
    }));
    let agreed = || args.yes || printer.ask(Message::Download(DownloadMessage::Ask));
    match download(&id, args, printer, agreed)? {
        Some(_) => find(args),
        None => Ok(found),
    }
}

/// Says what would come, and fetches it where `agreed`; its folder.
pub(crate) fn download(
    id: &ModelId,
    args: &ModelArgs,
    printer: &Printer,
    agreed: impl FnOnce() -> bool,
) -> anyhow::Result<Option<PathBuf>> {
    let hub = Hub::new(settings(args)?)?;
    let progress = DownloadProgress::new(printer);
    let report = |event: moss::hub::DownloadEvent<'_>| progress.report(event);
    let plan = hub.plan(id, &report)?;
    if plan.bytes_missing() > 0 {
        printer.say(Message::Download(DownloadMessage::Plan(&plan)));
        if !agreed() {
            return Ok(None);
        }
    }
    progress.start(plan.bytes_done, plan.bytes());
    let folder = hub.download(&plan, &report);
    progress.finish(); // before an error is shown
    Ok(Some(folder?))
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
