//! The pipeline of stages: each runs consecutive layers on its device and transfers the residual
//! stream to the next.
//!
//! Between two GPUs only the GPUs wait, so that the stages work on different micro-batches of a prompt
//! at the same time. The host waits only if values are copied to it. The split of a prompt into
//! micro-batches is independent of the stages, and so are the bits of the results.

mod blocks;

use crate::{
    Logits, ModelError,
    hook::Hook,
    micro_batch::{BatchOutput, MicroBatch, Plan},
    stage::{PlacedStage, RunContext, StageInput},
    timeline::Clock,
};

/// All stages, in the order of their layers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) stages: Vec<PlacedStage>,
    pub(crate) vocab_size: usize,
    /// Records the times of the stages, if set.
    pub(crate) clock: Option<Clock>,
}

impl Pipeline {
    pub(crate) fn forward(
        &mut self,
        plan: &Plan<'_>,
        interrupted: &dyn Fn() -> bool,
        hook: &mut Hook<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        let mut output = BatchOutput::default();
        let last = self.stages.len() - 1;
        // A decode step whose results are still on the device: the prompt behind it is enqueued
        // before the host waits.
        let mut step = None;
        for batch in plan.micro_batches() {
            for stage in 0..self.stages.len() {
                if interrupted() {
                    return Err(ModelError::Interrupted);
                }
                let ran = self.run(stage, &batch, interrupted, hook);
                ran.or_else(|error| self.upstream_cause(plan, error))?;
            }
            self.fetch_non_finite(last)?;
            if self.stages[last].1.keeps_results(&batch, hook) {
                step = Some(batch);
                continue;
            }
            if let Some(step) = step.take_if(|_| !batch.wanted.is_empty()) {
                self.logits(&step, &mut output, hook)?;
            }
            self.logits(&batch, &mut output, hook)?;
        }
        if let Some(step) = step {
            self.logits(&step, &mut output, hook)?;
        }
        self.check_non_finite(plan)?;
        Ok(plan.split_by_sequence(output, self.vocab_size))
    }

    /// Runs stage `index` on the output of the previous stage.
    fn run(
        &mut self,
        index: usize,
        batch: &MicroBatch<'_, '_>,
        interrupted: &dyn Fn() -> bool,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        let span = self
            .clock
            .as_mut()
            .map(|clock| clock.span(index, batch.index, batch.len()));
        let (done, rest) = self.stages.split_at_mut(index);
        let stage = &mut rest[0].1;
        let input = match done.last_mut() {
            None => Ok(StageInput::TokenIds(batch.token_ids())),
            Some((_, previous)) => previous.output(batch.len(), stage.is_gpu()),
        };
        let mut context = RunContext {
            interrupted,
            hook,
            span,
        };
        let ran = input.and_then(|input| stage.run(batch, input, &mut context));
        ran.map_err(|error| self.with_stage_context(index, error))
    }

    /// Adds the results of the last stage to `output`.
    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        let last = self.stages.len() - 1;
        let done = self.stages[last].1.logits(batch, output, hook);
        done.map_err(|error| self.with_stage_context(last, error))
    }

    /// Replaces the non-finite error of a stage by the report of an earlier stage, if there is one:
    /// the value may have been part of the stage's input.
    fn upstream_cause(&mut self, plan: &Plan<'_>, error: ModelError) -> Result<(), ModelError> {
        if let ModelError::NonFinite { .. } = error {
            self.fetch_non_finite(self.stages.len())?;
            self.check_non_finite(plan)?;
        }
        Err(error)
    }

    /// Enqueues the copies of the reports of the first `count` stages to the host.
    fn fetch_non_finite(&mut self, count: usize) -> Result<(), ModelError> {
        self.stages[..count]
            .iter_mut()
            .try_for_each(|(_, stage)| stage.fetch_non_finite())
    }

    /// Returns an error for the first non-finite value that a stage reports, possibly of an earlier
    /// micro-batch.
    ///
    /// Reports of padding rows of a decode step are ignored. They may hide a report of a later layer
    /// of the same forward pass, whose value the sampler then finds in the logits.
    fn check_non_finite(&self, plan: &Plan<'_>) -> Result<(), ModelError> {
        let head = self.stages.last().map(|(_, stage)| stage.layers().end);
        let mut first = None;
        for (_, stage) in &self.stages {
            let Some(found) = stage.non_finite()? else {
                continue;
            };
            let layer = found.layer;
            let batch = plan
                .micro_batches()
                .nth(found.batch)
                .ok_or(ModelError::NoStageInput { layer })?;
            let row = if head == Some(layer) {
                batch.wanted.get(found.row).map(|row| *row as usize)
            } else {
                Some(found.row).filter(|row| *row < batch.len())
            };
            let is_earlier = |(other, _): &(usize, ModelError)| found.batch < *other;
            if let Some(row) = row
                && first.as_ref().is_none_or(is_earlier)
            {
                first = Some((found.batch, batch.non_finite(layer, row, found.value)));
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Adds the stage to an error if there are several stages.
    pub(crate) fn with_stage_context(&self, stage: usize, error: ModelError) -> ModelError {
        match (&error, self.stages.get(stage)) {
            (ModelError::Kernel { .. } | ModelError::Gpu(_), Some((device, _)))
                if self.stages.len() > 1 =>
            {
                ModelError::Stage {
                    stage,
                    device: *device,
                    source: Box::new(error),
                }
            }
            _ => error,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
