//! Finds the folder of a model by name, with a download if allowed.

use std::sync::{Mutex, PoisonError};

use moss_hub::{
    DownloadEvent, DownloadPlan, Hub, HubError, HubSettings, ModelId, ResolvedModel, SearchPlaces,
    resolve,
};

use crate::{
    BuildError,
    event::{BuildEvent, Listener},
};

/// A hub, and the decision whether to download from it.
pub(crate) struct Download {
    pub(crate) settings: HubSettings,
    pub(crate) confirm: Box<dyn FnMut(&DownloadPlan) -> bool + Send>,
}

impl Download {
    /// Finds a model; downloads it if it is not on this machine, and completes a download that
    /// another tool left without a tokenizer.
    pub(crate) fn find(
        &mut self,
        name: &str,
        places: &SearchPlaces,
        listener: &mut Listener,
    ) -> Result<ResolvedModel, BuildError> {
        let (found, id) = match (resolve(name, places), ModelId::parse(name)) {
            (found, Err(_)) => return Ok(found?),
            (found, Ok(id)) => (found, id),
        };
        match found {
            Ok(found) => {
                let cache = places.hub_cache.as_ref();
                let is_cached = cache.is_some_and(|cache| found.folder.starts_with(cache));
                let (true, Some(missing)) = (is_cached, found.missing_file()) else {
                    return Ok(found);
                };
                listener.tell(BuildEvent::Incomplete { name, missing });
                // Token ids need no tokenizer: an incomplete model can be used.
                if self.fetch(&id, listener)? {
                    return Ok(resolve(name, places)?);
                }
                Ok(found)
            }
            // A name that resembles a published one is a typo.
            Err(HubError::NotFound { similar: None, .. }) => {
                if self.fetch(&id, listener)? {
                    return Ok(resolve(name, places)?);
                }
                Err(BuildError::Declined {
                    name: name.to_owned(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Downloads a model unless the caller declines. Returns `false` if it does.
    fn fetch(&mut self, id: &ModelId, listener: &mut Listener) -> Result<bool, HubError> {
        let hub = Hub::new(self.settings.clone())?;
        let listener = Mutex::new(listener);
        let tell = |event: BuildEvent<'_>| {
            let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
            listener.tell(event);
        };
        let report = |event: DownloadEvent<'_>| tell(BuildEvent::Download(event));
        let plan = hub.plan(id, &report)?;
        if !(self.confirm)(&plan) {
            return Ok(false);
        }
        tell(BuildEvent::DownloadStarted {
            done: plan.bytes_done,
            bytes: plan.bytes(),
        });
        let downloaded = hub.download(&plan, &report);
        tell(BuildEvent::DownloadEnded);
        downloaded?;
        Ok(true)
    }
}
