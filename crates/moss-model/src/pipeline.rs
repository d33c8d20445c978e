//! Stages in a row: each runs consecutive layers where they lie, and leaves the hidden states to
//! the next.
//!
//! Between two cards nobody waits but the cards themselves, so that the stages work on different
//! passes of a prompt at the same time; the host waits where values have to come to it. How a
//! prompt is cut into passes does not depend on the stages, and so no bit does.

use std::ops::Range;

use candle_core::Tensor;

use crate::{
    DeviceSpec, Logits, ModelError,
    cpu::CpuStage,
    gpu::GpuStage,
    plan::{Answers, Pass, Plan},
    tap::Tap,
    timeline::{Clock, note},
};

/// What a stage on a card finds of the stage in front of it.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) enum Before<'a> {
    /// Nothing: it has the embedding.
    Tokens,
    /// `[rows, hidden]` f32.
    Host(Tensor),
    /// The same, in the stream of another card's stage.
    Gpu(&'a GpuStage),
}

/// Consecutive layers in one place.
#[derive(Debug)]
pub(crate) enum Stage {
    Cpu(Box<CpuStage>),
    Gpu(Box<GpuStage>),
}

impl Stage {
    pub(crate) fn weight_bytes(&self) -> u64 {
        match self {
            Self::Cpu(stage) => stage.weight_bytes(),
            Self::Gpu(stage) => stage.weight_bytes(),
        }
    }

    pub(crate) fn layers(&self) -> Range<usize> {
        match self {
            Self::Cpu(stage) => stage.layers(),
            Self::Gpu(stage) => stage.layers(),
        }
    }

    /// What this stage left of `pass`, on the host.
    fn take_hidden(&mut self, pass: &Pass<'_, '_>) -> Result<Option<Tensor>, ModelError> {
        match self {
            Self::Cpu(stage) => Ok(stage.take_hidden()),
            Self::Gpu(stage) => stage.take_hidden(pass.len()).map(Some),
        }
    }
}

/// All stages, in the order of their layers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) stages: Vec<(DeviceSpec, Stage)>,
    pub(crate) vocab_size: usize,
    /// Where the stages' work is to be noted.
    pub(crate) clock: Option<Clock>,
}

impl Pipeline {
    pub(crate) fn forward(
        &mut self,
        plan: &Plan<'_>,
        interrupted: &dyn Fn() -> bool,
        tap: &mut Tap<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        let mut answers = Answers::default();
        for (number, pass) in plan.passes().enumerate() {
            for stage in 0..self.stages.len() {
                if interrupted() {
                    return Err(ModelError::Interrupted);
                }
                let ran = self.run(stage, &pass, number, interrupted, tap);
                ran.or_else(|error| self.explain(plan, error))?;
            }
            let last = self.stages.len() - 1;
            self.fetch_flags(last)?;
            let answered = match self.stages.last_mut() {
                Some((_, Stage::Cpu(stage))) => stage.answer(&pass, &mut answers, tap),
                Some((_, Stage::Gpu(stage))) => stage.answer(&pass, number, &mut answers, tap),
                None => Err(ModelError::NothingHandedOver { layer: 0 }),
            };
            answered.map_err(|error| self.blame(last, error))?;
        }
        self.check_flags(plan)?;
        Ok(plan.share_out(answers, self.vocab_size))
    }

    fn run(
        &mut self,
        index: usize,
        pass: &Pass<'_, '_>,
        number: usize,
        interrupted: &dyn Fn() -> bool,
        tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        let (done, rest) = self.stages.split_at_mut(index);
        let front = done.last_mut().map(|(_, stage)| stage);
        let moments = self
            .clock
            .as_mut()
            .map(|clock| clock.span(index, number, pass.len()));
        if let (Stage::Gpu(stage), Some(moments)) = (&mut rest[0].1, &moments) {
            stage.note_next(moments.clone());
        }
        let ran = match (&mut rest[0].1, front) {
            (Stage::Cpu(stage), front) => {
                let before = front.map_or(Ok(None), |front| front.take_hidden(pass));
                before.and_then(|before| {
                    moments.iter().for_each(|[begin, _]| note(begin));
                    stage.run(pass, before, interrupted, tap)?;
                    moments.iter().for_each(|[_, end]| note(end));
                    Ok(())
                })
            }
            (Stage::Gpu(stage), None) => stage.run(pass, number, Before::Tokens, tap),
            (Stage::Gpu(stage), Some(Stage::Gpu(front))) => {
                stage.run(pass, number, Before::Gpu(front), tap)
            }
            (Stage::Gpu(stage), Some(front)) => front.take_hidden(pass).and_then(|before| {
                stage.run(
                    pass,
                    number,
                    before.map_or(Before::Tokens, Before::Host),
                    tap,
                )
            }),
        };
        ran.map_err(|error| self.blame(index, error))
    }

    /// A stage that meets a value that is not finite may have been handed it: then the card's
    /// report names where it came from.
    fn explain(&mut self, plan: &Plan<'_>, error: ModelError) -> Result<(), ModelError> {
        if let ModelError::NonFinite { .. } = error {
            self.fetch_flags(self.stages.len())?;
            self.check_flags(plan)?;
        }
        Err(error)
    }

    /// Starts fetching what the cards of the first `count` stages reported.
    fn fetch_flags(&mut self, count: usize) -> Result<(), ModelError> {
        self.stages[..count]
            .iter_mut()
            .try_for_each(|(_, stage)| match stage {
                Stage::Cpu(_) => Ok(()),
                Stage::Gpu(stage) => stage.fetch_flag(),
            })
    }

    /// Looks at what the cards reported, which may be passes ago.
    fn check_flags(&mut self, plan: &Plan<'_>) -> Result<(), ModelError> {
        let mut first: Option<(usize, usize, usize, f32)> = None;
        for (_, stage) in &self.stages {
            if let Stage::Gpu(stage) = stage
                && let Some(found) = stage.flag()?
                && first.is_none_or(|(pass, ..)| found.0 < pass)
            {
                first = Some(found);
            }
        }
        let Some((number, layer, row, value)) = first else {
            return Ok(());
        };
        let pass = plan
            .passes()
            .nth(number)
            .ok_or(ModelError::NothingHandedOver { layer })?;
        let is_head = self
            .stages
            .last()
            .is_some_and(|(_, stage)| stage.layers().end == layer);
        let row = if is_head {
            pass.wanted.get(row).map_or(0, |row| *row as usize)
        } else {
            row
        };
        Err(pass.non_finite(layer, row, value))
    }

    /// Names the stage that failed, where there are several.
    fn blame(&self, stage: usize, error: ModelError) -> ModelError {
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
