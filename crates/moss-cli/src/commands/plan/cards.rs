//! Cards: those that one may not have, by name, and those of this machine.

use moss::model::{
    DeviceSpec, machine_gpus,
    placement::{Card, CardKind},
};

use crate::{
    args::{ModelArgs, PlanArgs},
    errors::{Failed, OrFail},
    memory, open,
};

const GIB: u64 = 1 << 30;

/// What a driver keeps of a card's memory, with the idle context of a program.
pub(super) const FOR_DRIVER: u64 = GIB / 2;

/// What a display takes of a card that is made for one.
pub(super) const FOR_DISPLAY: u64 = GIB / 2;

/// A card by its nominal figures: gathered from public tables, none of them measured here.
struct Known {
    name: &'static str,
    /// GiB of memory.
    memory: u64,
    /// A sixteenth of the memory holds check bits, as the card is delivered.
    check_bits: bool,
    /// Made to drive a display.
    display: bool,
    /// GB a second.
    bandwidth: f64,
    /// f16 products a second on the tensor cores, summed in f32, no sparsity; 10^12 operations.
    tensor: f64,
}

#[rustfmt::skip] // a table
const KNOWN: [Known; 11] = [
    Known { name: "t4",        memory: 16,  check_bits: true,  display: false, bandwidth: 320.0,  tensor: 65.0 },
    Known { name: "a10",       memory: 24,  check_bits: true,  display: false, bandwidth: 600.0,  tensor: 125.0 },
    Known { name: "l4",        memory: 24,  check_bits: true,  display: false, bandwidth: 300.0,  tensor: 121.0 },
    Known { name: "l40s",      memory: 48,  check_bits: true,  display: false, bandwidth: 864.0,  tensor: 362.0 },
    Known { name: "a100-40",   memory: 40,  check_bits: false, display: false, bandwidth: 1555.0, tensor: 312.0 },
    Known { name: "a100-80",   memory: 80,  check_bits: false, display: false, bandwidth: 2039.0, tensor: 312.0 },
    Known { name: "h100",      memory: 80,  check_bits: false, display: false, bandwidth: 3350.0, tensor: 989.0 },
    Known { name: "h200",      memory: 141, check_bits: false, display: false, bandwidth: 4800.0, tensor: 989.0 },
    Known { name: "rtx2080ti", memory: 11,  check_bits: false, display: true,  bandwidth: 616.0,  tensor: 53.8 },
    Known { name: "rtx3090",   memory: 24,  check_bits: false, display: true,  bandwidth: 936.0,  tensor: 71.0 },
    Known { name: "rtx4090",   memory: 24,  check_bits: false, display: true,  bandwidth: 1008.0, tensor: 165.2 },
];

/// Cards that people have and the kernels do not run on: their compute capability.
const TOO_OLD: [(&str, &str); 3] = [("v100", "7.0"), ("p100", "6.0"), ("p40", "6.1")];

impl Known {
    fn free(&self) -> u64 {
        let memory = self.memory * GIB;
        let usable = if self.check_bits {
            memory / 16 * 15
        } else {
            memory
        };
        usable - FOR_DRIVER - if self.display { FOR_DISPLAY } else { 0 }
    }
}

/// A card, and what its tensor cores do at best in a second, where that is known.
#[derive(Debug, Clone)]
pub(super) struct PlannedCard {
    pub(super) card: Card,
    pub(super) tensor_flops: Option<f64>,
}

/// The cards that the flags ask for.
pub(super) fn cards(args: &PlanArgs, model: &ModelArgs) -> anyhow::Result<Vec<PlannedCard>> {
    let mut host = None;
    let mut cpu = || -> anyhow::Result<PlannedCard> {
        let card = match host.take() {
            Some(card) => card,
            None => this_cpu(args, model)?,
        };
        host = Some(card.clone());
        Ok(PlannedCard {
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

fn known(name: &str, ordinal: usize) -> Result<PlannedCard, Failed> {
    if let Some((_, capability)) = TOO_OLD.iter().find(|(old, _)| name.starts_with(old)) {
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
    let known = KNOWN
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(|| {
            let names = KNOWN.map(|known| known.name);
            Failed::new((
                format!("`{name}` is no card of the list"),
                format!("列表中没有 `{name}` 这种卡"),
            ))
            .hint((
                format!("`--cards` knows {} and cpu", names.join(", ")),
                format!("`--cards` 可用的有 {}、cpu", names.join("、")),
            ))
        })?;
    Ok(PlannedCard {
        card: Card {
            name: known.name.to_owned(),
            kind: CardKind::Gpu { ordinal },
            free: known.free(),
            bandwidth: known.bandwidth * 1e9,
        },
        tensor_flops: Some(known.tensor * 1e12),
    })
}

/// GPU `ordinal` of this machine, with what it has free now. No driver says what its tensor cores
/// do.
fn this_gpu(ordinal: usize) -> anyhow::Result<PlannedCard> {
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
    Ok(PlannedCard {
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
    fn a_cards_free_memory_is_what_is_left_of_its_data_sheet() {
        let free = |name| known(name, 0).unwrap().card.free;
        assert_eq!(
            free("t4"),
            15 * GIB - FOR_DRIVER,
            "nvidia-smi shows 15360 MiB"
        );
        assert_eq!(free("a100-40"), 40 * GIB - FOR_DRIVER);
        assert_eq!(free("rtx3090"), 23 * GIB);
    }

    #[test]
    fn old_and_unknown_cards_are_told_apart() {
        assert!(known("v100-32", 0).unwrap_err().to_string().contains("7.0"));
        let unknown = known("t5", 0).unwrap_err().into();
        assert!(errors::hint(&unknown, Language::En).is_some_and(|hint| hint.contains("t4, a10")));
    }
}
