//! The devices of a plan: GPUs by name, or the devices of this machine.

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

/// Returns the devices of the flags.
pub(super) fn devices(args: &PlanArgs, model: &ModelArgs) -> anyhow::Result<Vec<PlannedDevice>> {
    let mut host = None;
    let mut cpu = || -> anyhow::Result<PlannedDevice> {
        let cpu = match host.take() {
            Some(cpu) => cpu,
            None => this_cpu(args, model)?,
        };
        host = Some(cpu.clone());
        Ok(measured(cpu))
    };
    if args.gpus.is_empty() {
        let planned = |device| match device {
            DeviceSpec::Cpu => cpu(),
            DeviceSpec::Gpu { ordinal, .. } => this_gpu(ordinal),
        };
        return open::devices(model)?.into_iter().map(planned).collect();
    }
    let named = |(ordinal, name): (usize, &String)| match name.trim().to_lowercase().as_str() {
        "cpu" => cpu(),
        name => Ok(known(name, ordinal)?),
    };
    args.gpus.iter().enumerate().map(named).collect()
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

/// Returns a GPU of this machine, with its free memory.
fn this_gpu(ordinal: usize) -> anyhow::Result<PlannedDevice> {
    let gpus = machine_gpus()?;
    let found = gpus.len();
    let gpu = gpus.into_iter().nth(ordinal).ok_or_else(|| {
        let what = msg!("no-such-gpu", ordinal, found);
        CliError::new(what)
    })?;
    Ok(measured(gpu))
}

/// Returns a device of this machine. Its peak arithmetic rate is unknown, because drivers do not
/// report it.
fn measured(device: Device) -> PlannedDevice {
    PlannedDevice {
        device,
        tensor_flops: None,
        has_wgmma: false,
    }
}

/// Returns the CPU with the memory and bandwidth of the flags, or those of this machine.
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
    fn old_and_unknown_gpus_have_different_errors() {
        assert!(known("v100-32", 0).unwrap_err().to_string().contains("7.0"));
        let unknown = known("t5", 0).unwrap_err().into();
        assert!(
            errors::hint(&unknown, Language::En).is_some_and(|hint| hint.contains("`t4`, `a10`"))
        );
    }
}
