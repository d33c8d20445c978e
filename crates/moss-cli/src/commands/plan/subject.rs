//! The model of a plan.

use moss::{
    BuildError, Checkpoint, EngineOptions,
    checkpoint::{DType, LinearFormat},
    hub::HubError,
    model::{
        ComputeDtype, LoadOptions, MossConfig, WeightFormat,
        placement::{Capacity, Device, DeviceKind, ModelBytes, Request, WantedCapacity, capacity},
    },
    weights::GptqBits,
};

use moss_messages::msg;

use crate::{
    args::{Cli, FormatArg, PlanArgs},
    errors::{CliError, Context, build_failed},
    open,
    printer::Printer,
    progress, source,
};

/// The published formats, largest first.
const FORMATS: [FormatArg; 3] = [FormatArg::Fp16, FormatArg::Int8, FormatArg::Int4];

/// The model of a plan.
pub(super) struct Subject {
    pub(super) name: String,
    /// The format of the weights, for the report.
    pub(super) format: String,
    pub(super) is_packed: bool,
    pub(super) config: MossConfig,
    /// The KV cache, and the concurrent answers of a server.
    pub(super) options: LoadOptions,
    pub(super) bytes: ModelBytes,
}

impl Subject {
    /// Reads the tensors of a checkpoint. Without one, uses the published sizes.
    pub(super) fn find(
        args: &PlanArgs,
        cli: &Cli,
        printer: &Printer,
        dtype: ComputeDtype,
    ) -> anyhow::Result<Self> {
        let options = |config: &MossConfig| -> anyhow::Result<LoadOptions> {
            Ok(LoadOptions {
                dtype,
                kv_cache: open::kv_cache(&cli.model),
                max_decode_rows: 1,
                ..LoadOptions::cpu(positions(args, config)?)
            })
        };
        let named =
            |config: MossConfig, name: String, format: WeightFormat| -> anyhow::Result<Self> {
                let options = options(&config)?;
                Ok(Self {
                    name,
                    format: format.to_string(),
                    is_packed: format != WeightFormat::F16,
                    bytes: ModelBytes::in_format(&config, format, &options),
                    config,
                    options,
                })
            };
        let builder = source::model(&cli.model).on_event(progress::building(printer));
        let mut found = match builder.find() {
            Ok(found) => found,
            Err(error) => {
                let absent = matches!(error, BuildError::Hub(HubError::NotFound { .. }));
                return match published(&cli.model.model).filter(|_| absent) {
                    Some(by_name) => {
                        let format = args.format.map_or(by_name, FormatArg::format);
                        named(MossConfig::moon_003(), "MOSS-moon-003".into(), format)
                    }
                    None => Err(build_failed(error)),
                };
            }
        };
        let name = found.name().to_owned();
        // Files are mapped even with `--no-mmap`, because only headers are read.
        let checkpoint = found.checkpoint().context(msg!("cannot-open-checkpoint"))?;
        let config = MossConfig::try_from(checkpoint.config())?;
        if let Some(format) = args.format {
            return named(config, name, format.format());
        }
        let options = options(&config)?;
        Ok(Self {
            name,
            format: stored_format(&checkpoint),
            is_packed: checkpoint.quantization().is_some(),
            bytes: ModelBytes::of(&checkpoint, &config, &options),
            config,
            options,
        })
    }

    /// Returns the KV cache and the concurrent answers of a server on `devices`, and counts the
    /// buffers of these: what fits then also fits for one conversation.
    pub(super) fn serve_on(&mut self, devices: &[Device], layers: Option<&[usize]>) -> Capacity {
        let on_cpu = devices.iter().any(|device| device.kind == DeviceKind::Cpu);
        let request = Request {
            model: &self.bytes,
            devices,
            layers_per_device: layers,
            other_formats: &[],
        };
        let wanted = WantedCapacity {
            positions: self.options.cache.positions(),
            sequences: if on_cpu {
                LoadOptions::CPU_ROWS
            } else {
                EngineOptions::MAX_SEQUENCES
            },
            may_reduce: !on_cpu,
        };
        let capacity = capacity(&request, &self.config, wanted);
        self.options.max_decode_rows = capacity.sequences;
        let bytes = self.bytes.clone();
        self.bytes = bytes.with_decode_rows(&self.config, capacity.sequences);
        capacity
    }

    /// Returns the same network in the smaller formats.
    pub(super) fn smaller(&self) -> Vec<(WeightFormat, ModelBytes)> {
        let total = |bytes: &ModelBytes| bytes.layers.iter().sum::<u64>();
        FORMATS
            .map(|format| format.format())
            .map(|format| {
                let bytes = ModelBytes::in_format(&self.config, format, &self.options);
                (format, bytes)
            })
            .into_iter()
            .filter(|(_, bytes)| total(bytes) < total(&self.bytes))
            .collect()
    }
}

/// Returns the format of the linear layers, with the number of each if they differ.
fn stored_format(checkpoint: &Checkpoint) -> String {
    let name = |format: &LinearFormat| match format {
        LinearFormat::Gptq(found) => format!("int{}", found.bits),
        LinearFormat::Dense(DType::F16) => "fp16".into(),
        LinearFormat::Dense(dtype) => dtype.to_string(),
    };
    match checkpoint.linear_formats() {
        [] => "fp16".into(),
        [(format, _)] => name(format),
        formats => {
            let part = |(format, count): &(LinearFormat, usize)| match format {
                LinearFormat::Gptq(found) => {
                    format!("{} group {} x {count}", name(format), found.group_size)
                }
                LinearFormat::Dense(_) => format!("{} x {count}", name(format)),
            };
            format!(
                "mixed ({})",
                formats.iter().map(part).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// Returns the format that the name of a published checkpoint implies.
fn published(name: &str) -> Option<WeightFormat> {
    let name = name
        .rsplit('/')
        .next()
        .filter(|name| name.starts_with("moss-moon-003"))?;
    Some(match name {
        _ if name.ends_with("-int4") => WeightFormat::Gptq(GptqBits::Four),
        _ if name.ends_with("-int8") => WeightFormat::Gptq(GptqBits::Eight),
        _ => WeightFormat::F16,
    })
}

/// Returns the positions of the KV cache.
fn positions(args: &PlanArgs, config: &MossConfig) -> Result<usize, CliError> {
    let window = config.context_length;
    match args.context.unwrap_or(window) {
        positions if (1..=window).contains(&positions) => Ok(positions),
        positions => {
            let what = msg!("plan-context", positions, window);
            Err(CliError::new(what))
        }
    }
}
