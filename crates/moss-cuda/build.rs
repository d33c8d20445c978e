//! Compiles the CUDA kernels when the feature `cuda` is on.

#[cfg(feature = "cuda")]
#[path = "build/kernels.rs"]
mod kernels;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "cuda")]
    kernels::build()?;
    Ok(())
}
