//! The hubs' lists of a model's files, with lengths, hashes and the license.

use serde::Deserialize;
use url::Url;

use crate::{
    ListingFault, ModelId,
    digest::{Digest, of_text},
    endpoint::Source,
};

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// The name, such as `config.json`.
    pub name: String,
    /// The length. 0 for a length that the hub's listing lacks, until a download is planned.
    pub bytes: u64,
    /// The expected hash.
    pub digest: Digest,
    /// The address.
    pub url: Url,
}

/// A model's files at one revision.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Forty hexadecimal digits.
    pub(crate) commit: String,
    pub(crate) license: Option<String>,
    pub(crate) files: Vec<HubFile>,
    /// Names of files whose length the listing lacks.
    pub(crate) of_unknown_length: Vec<String>,
}

/// Returns the address of the listing.
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
pub(crate) fn read(
    source: Source,
    base: &Url,
    id: &ModelId,
    text: &str,
) -> Result<Listing, ListingFault> {
    match source {
        Source::HuggingFace => read_hugging_face(base, id, text),
        Source::ModelScope => read_model_scope(base, id, text),
    }
}

fn read_hugging_face(base: &Url, id: &ModelId, text: &str) -> Result<Listing, ListingFault> {
    #[derive(Deserialize)]
    struct Model {
        sha: String,
        siblings: Vec<Sibling>,
        #[serde(rename = "cardData", default)]
        metadata: Option<Metadata>,
    }
    #[derive(Deserialize)]
    struct Metadata {
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
        size: Option<u64>,
    }
    let model: Model =
        serde_json::from_str(text).map_err(|error| ListingFault::Parse(error.to_string()))?;
    let Some(Digest::GitBlob(commit)) = Digest::parse(&model.sha) else {
        return Err(ListingFault::Revision(model.sha));
    };
    let id = Source::HuggingFace.repository(id);
    let file = |found: Sibling| {
        let (bytes, hash) = match found.lfs {
            Some(Lfs { sha256, size }) => (size.or(found.size), sha256),
            None => (found.size, found.blob_id?),
        };
        let url = base
            .join(&format!("{id}/resolve/{commit}/{}", found.rfilename))
            .ok()?;
        let file = HubFile {
            name: found.rfilename,
            bytes: bytes.unwrap_or(0),
            digest: Digest::parse(&hash)?,
            url,
        };
        Some((file, bytes.is_some()))
    };
    let license = model
        .metadata
        .and_then(|metadata| metadata.license?.as_str().map(str::to_owned));
    let (files, of_unknown_length) = split(model.siblings.into_iter().filter_map(file));
    Ok(Listing {
        files,
        of_unknown_length,
        license,
        commit,
    })
}

fn read_model_scope(base: &Url, id: &ModelId, text: &str) -> Result<Listing, ListingFault> {
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
        size: Option<u64>,
        sha256: Option<String>,
    }
    let answer: Answer =
        serde_json::from_str(text).map_err(|error| ListingFault::Parse(error.to_string()))?;
    let fault = || ListingFault::NoFiles(answer.message.unwrap_or_default());
    let data = answer.data.ok_or_else(fault)?;
    let id = Source::ModelScope.repository(id);
    let file = |found: File| {
        let url = base
            .join(&format!("models/{id}/resolve/master/{}", found.path))
            .ok()?;
        let digest = Digest::parse(&found.sha256?)?;
        let file = HubFile {
            name: found.path,
            bytes: found.size.unwrap_or(0),
            digest,
            url,
        };
        Some((file, found.size.is_some()))
    };
    let (files, of_unknown_length) = split(data.files.into_iter().filter_map(file));
    // This hub's listing has no commit, so a hash of all files replaces it.
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
        of_unknown_length,
    })
}

/// Returns the files, and the names of those whose length is unknown.
fn split(found: impl Iterator<Item = (HubFile, bool)>) -> (Vec<HubFile>, Vec<String>) {
    let (mut files, mut of_unknown_length) = (Vec::new(), Vec::new());
    for (file, is_known) in found {
        if !is_known {
            of_unknown_length.push(file.name.clone());
        }
        files.push(file);
    }
    (files, of_unknown_length)
}
