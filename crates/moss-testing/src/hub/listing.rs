use serde_json::{Value, json};
use sha2::Digest;

use super::{COMMIT, HubServer, ID};

impl HubServer {
    /// The list of files in the format of huggingface.co.
    pub(super) fn hugging_face_listing(&self, weights: Option<u64>) -> Value {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let mut file = json!({"rfilename": name, "size": bytes.len()});
            if name.ends_with(".bin") {
                let size = weights.unwrap_or(bytes.len() as u64);
                file["blobId"] = "0".repeat(40).into();
                file["lfs"] = json!({"sha256": sha256(bytes), "size": size, "pointerSize": 134});
            } else {
                file["blobId"] = git_blob(bytes).into();
            }
            file
        };
        let files: Vec<_> = self.files.iter().map(file).collect();
        let license = json!({"license": "agpl-3.0"});
        json!({"id": ID, "sha": COMMIT, "siblings": files, "cardData": license})
    }

    /// The list of files in the format of ModelScope.
    pub(super) fn model_scope_listing(&self) -> Value {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let (size, hash) = (bytes.len(), sha256(bytes));
            json!({"Path": name, "Size": size, "Sha256": hash, "Type": "blob"})
        };
        let files: Vec<_> = self.files.iter().map(file).collect();
        json!({"Code": 200, "Data": {"Files": files}})
    }
}

/// Sets every length in a listing to null.
pub(super) fn clear_lengths(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name.eq_ignore_ascii_case("size") {
                    *value = Value::Null;
                } else {
                    clear_lengths(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(clear_lengths),
        _ => (),
    }
}

/// Returns the SHA-1 of a Git blob with these bytes, in hexadecimal.
pub fn git_blob(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
