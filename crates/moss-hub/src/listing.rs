//! What the hubs say of a model: its files, their lengths and hashes, its licence.

use serde::Deserialize;
use url::Url;

use crate::{
    ModelId,
    digest::{Digest, of_text},
    endpoint::Source,
};

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// Such as `config.json`.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// What it must hash to.
    pub digest: Digest,
    /// Where it is fetched from.
    pub url: Url,
}

/// A model's files at one revision.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Forty hexadecimal digits.
    pub(crate) commit: String,
    pub(crate) license: Option<String>,
    pub(crate) files: Vec<HubFile>,
}

/// Where the listing is.
pub(crate) fn address(source: Source, base: &Url, id: &ModelId) -> Result<Url, url::ParseError> {
    let id = source.repository(id);
    base.join(&match source {
        Source::HuggingFace => format!("api/models/{id}/revision/main?blobs=true"),
        Source::ModelScope => {
            format!("api/v1/models/{id}/repo/files?Revision=master&Recursive=true")
        }
    })
}

/// Reads a listing.
///
/// # Errors
/// What it lacks.
pub(crate) fn read(
    source: Source,
    base: &Url,
    id: &ModelId,
    text: &str,
) -> Result<Listing, String> {
    match source {
        Source::HuggingFace => read_hugging_face(base, id, text),
        Source::ModelScope => read_model_scope(base, id, text),
    }
}

fn read_hugging_face(base: &Url, id: &ModelId, text: &str) -> Result<Listing, String> {
    #[derive(Deserialize)]
    struct Model {
        sha: String,
        siblings: Vec<Sibling>,
        #[serde(rename = "cardData", default)]
        card: Option<Card>,
    }
    #[derive(Deserialize)]
    struct Card {
        license: Option<serde_json::Value>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sibling {
        rfilename: String,
        size: Option<u64>,
        blob_id: Option<String>,
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        sha256: String,
        size: u64,
    }
    let model: Model = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(Digest::GitBlob(commit)) = Digest::parse(&model.sha) else {
        return Err(format!(
            "revision `{}`, expected 40 hexadecimal digits",
            model.sha
        ));
    };
    let id = Source::HuggingFace.repository(id);
    let file = |found: Sibling| {
        let (bytes, hash) = match found.lfs {
            Some(Lfs { sha256, size }) => (size, sha256),
            None => (found.size?, found.blob_id?),
        };
        let url = base
            .join(&format!("{id}/resolve/{commit}/{}", found.rfilename))
            .ok()?;
        Some(HubFile {
            name: found.rfilename,
            bytes,
            digest: Digest::parse(&hash)?,
            url,
        })
    };
    let license = model
        .card
        .and_then(|card| card.license?.as_str().map(str::to_owned));
    Ok(Listing {
        files: model.siblings.into_iter().filter_map(file).collect(),
        license,
        commit,
    })
}

fn read_model_scope(base: &Url, id: &ModelId, text: &str) -> Result<Listing, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        data: Option<Data>,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Data {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct File {
        path: String,
        size: u64,
        sha256: Option<String>,
    }
    let answer: Answer = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let reason = || {
        format!(
            "no list of files, message `{}`",
            answer.message.unwrap_or_default()
        )
    };
    let data = answer.data.ok_or_else(reason)?;
    let id = Source::ModelScope.repository(id);
    let file = |found: File| {
        let url = base
            .join(&format!("models/{id}/resolve/master/{}", found.path))
            .ok()?;
        let digest = Digest::parse(&found.sha256?)?;
        Some(HubFile {
            name: found.path,
            bytes: found.size,
            digest,
            url,
        })
    };
    let files: Vec<_> = data.files.into_iter().filter_map(file).collect();
    // This hub's listing has no revision of the whole: the files' hashes stand for it.
    let all: String = files
        .iter()
        .map(|file| format!("{} {}\n", file.name, file.digest.hex()))
        .collect();
    let mut commit = of_text(&all);
    commit.truncate(40);
    Ok(Listing {
        commit,
        license: None,
        files,
    })
}
