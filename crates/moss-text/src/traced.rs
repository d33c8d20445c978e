//! Text with the tokens that it comes from.

/// Text, with the number of the token of each byte. Without numbers if they are not requested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced {
    text: String,
    owners: Vec<u32>,
}

impl Traced {
    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text without the numbers.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Returns true if there is no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns the number of the token of the first byte.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.owners.first().copied()
    }

    /// Returns the numbers, one for each byte, in ascending order.
    pub(crate) fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// Appends `other`.
    pub(crate) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else {
            self.push(&other.text, &other.owners);
        }
    }

    /// Keeps the first `at` bytes and returns the others.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self {
            text: self.text.split_off(at),
            owners: self.owners.split_off(at.min(self.owners.len())),
        }
    }

    fn push(&mut self, text: &str, owners: &[u32]) {
        self.text.push_str(text);
        self.owners.extend_from_slice(owners);
    }
}

/// Bytes of tokens that are not decoded yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    owners: Vec<u32>,
}

impl Pending {
    /// Appends the bytes of a token, with its number if text is traced.
    pub(crate) fn push(&mut self, bytes: &[u8], owner: Option<u32>) {
        self.bytes.extend_from_slice(bytes);
        self.owners.extend(
            owner
                .into_iter()
                .flat_map(|owner| bytes.iter().map(move |_| owner)),
        );
    }

    /// Returns the number of the token of the first byte.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.owners.first().copied()
    }

    /// Decodes all bytes except an incomplete character at the end, which only `all` decodes. Each
    /// malformed part becomes one U+FFFD, which belongs to the part's last token.
    pub(crate) fn decode(&mut self, all: bool) -> Traced {
        let (mut decoded, mut done) = (Traced::default(), 0);
        for chunk in self.bytes.utf8_chunks() {
            let valid = done..done + chunk.valid().len();
            done = valid.end;
            decoded.push(chunk.valid(), self.owners.get(valid).unwrap_or_default());
            let malformed = chunk.invalid();
            let is_last = done + malformed.len() == self.bytes.len();
            let is_unfinished =
                || std::str::from_utf8(malformed).is_err_and(|error| error.error_len().is_none());
            if malformed.is_empty() || (is_last && !all && is_unfinished()) {
                continue;
            }
            done += malformed.len();
            let replacement = "\u{FFFD}";
            let owner = self.owners.get(done - 1);
            let owners = owner.map_or(Vec::new(), |owner| vec![*owner; replacement.len()]);
            decoded.push(replacement, &owners);
        }
        self.bytes.drain(..done);
        self.owners.drain(..done.min(self.owners.len()));
        decoded
    }
}
