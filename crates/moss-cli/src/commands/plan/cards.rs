//! Cards: those that one may not have, by name, and those of this machine.

use moss::model::{
    DeviceSpec, machine_gpus,
    placement::{Device, DeviceKind},
};
use moss_bench::hardware::{KNOWN_GPUS, KnownGpu, PlannedDevice, too_old};

use moss_messages::msg;

use crate::{
    args::{ModelArgs, PlanArgs},
    errors::{CliError, Context},
    memory, open,
};

/// The cards that the flags ask for.
pub(super) fn cards(args: &PlanArgs, model: &ModelArgs) -> anyhow::Result<Vec<PlannedDevice>> {
    let mut host = None;
    let mut cpu = || -> anyhow::Result<PlannedDevice> {
        let card = match host.take() {
            Some(card) => card,
            None => this_cpu(args, model)?,
        };
        host = Some(card.clone());
        Ok(PlannedDevice {
            device: card,
            tensor_flops: None,
        })
    };
    if args.cards.is_empty() {
        let card = |device| match device {
            DeviceSpec::Cpu => cpu(),
            DeviceSpec::Gpu { ordinal, .. } => this_gpu(ordinal),
        };
        return open::devices(model)?.into_iter().map(card).collect();
    }
    let named = |(ordinal, name): (usize, &String)| match name.trim().to_lowercase().as_str() {
        "cpu" => cpu(),
        name => Ok(known(name, ordinal)?),
    };
    args.cards.iter().enumerate().map(named).collect()
}

fn known(name: &str, ordinal: usize) -> Result<PlannedDevice, CliError> {
    if let Some(capability) = too_old(name) {
        let what = msg!("gpu-too-old", name, capability);
        return Err(CliError::new(what));
    }
    let known = KnownGpu::find(name).ok_or_else(|| {
        let names = KNOWN_GPUS.map(|known| known.name.to_owned()).to_vec();
        CliError::new(msg!("unknown-gpu", name, names))
    })?;
    Ok(known.device(ordinal))
}

/// GPU `ordinal` of this machine, with what it has free now. No driver says what its tensor cores
/// do.
fn this_gpu(ordinal: usize) -> anyhow::Result<PlannedDevice> {
    let gpus = machine_gpus()?;
    let found = gpus.len();
    let card = gpus.into_iter().nth(ordinal).ok_or_else(|| {
        let what = msg!("no-such-gpu", ordinal, found);
        CliError::new(what)
    })?;
    Ok(PlannedDevice {
        device: card,
        tensor_flops: None,
    })
}

/// The CPU with the memory that is available now and its own bandwidth, where the flags do not say
/// otherwise.
fn this_cpu(args: &PlanArgs, model: &ModelArgs) -> anyhow::Result<Device> {
    let bandwidth = match args.cpu_bandwidth {
        Some(gigabytes) => gigabytes * 1e9,
        None => open::pool(model)?.install(moss::cpu::read_bandwidth),
    };
    let free = match args.cpu_memory {
        Some(gigabytes) => (gigabytes * 1e9) as u64,
        None => memory::available().context(msg!("memory-unknown"))?,
    };
    Ok(Device {
        name: "cpu".into(),
        kind: DeviceKind::Cpu,
        free,
        bandwidth,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::errors;
    use moss_messages::Language;

    #[test]
    fn old_and_unknown_cards_are_told_apart() {
        assert!(known("v100-32", 0).unwrap_err().to_string().contains("7.0"));
        let unknown = known("t5", 0).unwrap_err().into();
        assert!(
            errors::hint(&unknown, Language::En).is_some_and(|hint| hint.contains("`t4`, `a10`"))
        );
    }
}
