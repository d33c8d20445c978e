//! Cards: those that one may not have, by name, and those of this machine.

use moss::model::{
    DeviceSpec, machine_gpus,
    placement::{Card, CardKind},
};
use moss_bench::hardware::{KNOWN_GPUS, KnownGpu, PlannedDevice, too_old};

use crate::{
    args::{ModelArgs, PlanArgs},
    errors::{Failed, OrFail},
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
            card,
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

fn known(name: &str, ordinal: usize) -> Result<PlannedDevice, Failed> {
    if let Some(capability) = too_old(name) {
        let what = (
            format!("`{name}` has compute capability {capability}, the kernels need 7.5 or more"),
            format!("`{name}` 的计算能力为 {capability}，内核需要 7.5 或更高"),
        );
        let hint = (
            "cards from the T4 and the RTX 20 series on will do",
            "T4 和 RTX 20 系列及更新的显卡均可",
        );
        return Err(Failed::new(what).hint(hint));
    }
    let known = KnownGpu::find(name).ok_or_else(|| {
        let names = KNOWN_GPUS.map(|known| known.name);
        Failed::new((
            format!("`{name}` is no card of the list"),
            format!("列表中没有 `{name}` 这种卡"),
        ))
        .hint((
            format!("`--cards` knows {} and cpu", names.join(", ")),
            format!("`--cards` 可用的有 {}、cpu", names.join("、")),
        ))
    })?;
    Ok(known.device(ordinal))
}

/// GPU `ordinal` of this machine, with what it has free now. No driver says what its tensor cores
/// do.
fn this_gpu(ordinal: usize) -> anyhow::Result<PlannedDevice> {
    let gpus = machine_gpus()?;
    let found = gpus.len();
    let card = gpus.into_iter().nth(ordinal).ok_or_else(|| {
        let what = (
            format!("there is no GPU {ordinal}, {found} found"),
            format!("没有 GPU {ordinal}，共找到 {found} 张"),
        );
        Failed::new(what).hint((
            "`nvidia-smi -L` lists those there are; `--cards t4,t4` plans for cards that are elsewhere",
            "`nvidia-smi -L` 可列出本机的卡；`--cards t4,t4` 可为别处的卡做规划",
        ))
    })?;
    Ok(PlannedDevice {
        card,
        tensor_flops: None,
    })
}

/// The CPU with the memory that is available now and its own bandwidth, where the flags do not say
/// otherwise.
fn this_cpu(args: &PlanArgs, model: &ModelArgs) -> anyhow::Result<Card> {
    let bandwidth = match args.cpu_bandwidth {
        Some(gigabytes) => gigabytes * 1e9,
        None => open::pool(model)?.install(moss::cpu::read_bandwidth),
    };
    let free = match args.cpu_memory {
        Some(gigabytes) => (gigabytes * 1e9) as u64,
        None => memory::available()
            .or_fail(
                "this system does not say how much memory is available",
                "系统没有报告可用内存",
            )
            .map_err(|error| {
                error.hint((
                    "say it: `--cpu-memory 64` for 64 GB",
                    "请指明：`--cpu-memory 64` 表示 64 GB",
                ))
            })?,
    };
    Ok(Card {
        name: "cpu".into(),
        kind: CardKind::Cpu,
        free,
        bandwidth,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{errors, messages::Language};

    #[test]
    fn old_and_unknown_cards_are_told_apart() {
        assert!(known("v100-32", 0).unwrap_err().to_string().contains("7.0"));
        let unknown = known("t5", 0).unwrap_err().into();
        assert!(errors::hint(&unknown, Language::En).is_some_and(|hint| hint.contains("t4, a10")));
    }
}
