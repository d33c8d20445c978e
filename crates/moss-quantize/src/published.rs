//! Tensors and `config.json` of a quantized checkpoint, in the published form.

use moss_checkpoint::{Checkpoint, DType, Outline};
use moss_model::{LinearKind, MossConfig};

use crate::{FolderAction, QuantizeError, QuantizeOptions, folder::io};

/// Returns the tensors of one quantized layer: four replace the weight of each linear layer.
pub(crate) fn layer_outlines(
    checkpoint: &Checkpoint,
    config: &MossConfig,
    layer: usize,
    options: &QuantizeOptions,
) -> Vec<Outline> {
    let per_word = options.bits.per_word();
    let prefix = format!("transformer.h.{layer}.");
    let mut outlines = Vec::new();
    for info in checkpoint
        .tensor_infos()
        .filter(|info| info.name.starts_with(&prefix))
    {
        let stem = info.name.strip_suffix(".weight");
        let kind = LinearKind::ALL
            .into_iter()
            .find(|kind| Some(kind.name(layer).as_str()) == stem);
        let (Some(kind), Some(stem)) = (kind, stem) else {
            outlines.push(Outline::from(info));
            continue;
        };
        let shape = config.block().linear(kind);
        let (inputs, outputs) = (shape.in_features, shape.out_features);
        let groups = inputs.div_ceil(options.group_size.unwrap_or(inputs));
        let outline = |tail: &str, dtype, shape: &[usize]| {
            let name = format!("{stem}.{tail}");
            Outline {
                name,
                dtype,
                shape: shape.to_vec(),
            }
        };
        outlines.extend([
            outline("qweight", DType::I32, &[inputs / per_word, outputs]),
            outline("qzeros", DType::I32, &[groups, outputs.div_ceil(per_word)]),
            outline("scales", DType::F16, &[groups, outputs]),
            outline("g_idx", DType::I32, &[inputs]),
        ]);
    }
    outlines
}

/// Returns the tensors before the first layer and those after the last.
pub(crate) fn outside_layers(checkpoint: &Checkpoint) -> (Vec<Outline>, Vec<Outline>) {
    let outside = checkpoint
        .tensor_infos()
        .filter(|info| !info.name.starts_with("transformer.h."));
    outside
        .map(Outline::from)
        .partition(|outline| outline.name.starts_with("transformer.wte."))
}

/// Returns `config.json` with the additional keys of the published quantized checkpoints.
pub(crate) fn config_json(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
) -> Result<Vec<u8>, QuantizeError> {
    let path = checkpoint.folder().join("config.json");
    let bytes = moss_files::read_bytes(&path, moss_files::MAX_BYTES)
        .map_err(|source| io(FolderAction::Read, &path, source))?;
    let text = moss_unicode::decode(&bytes).unwrap_or_default(); // `Checkpoint::open` decoded it before
    let mut config: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    config["wbits"] = options.bits.bits().into();
    config["groupsize"] = options.group_size.map_or((-1).into(), Into::into);
    Ok(format!("{config:#}\n").into_bytes())
}
