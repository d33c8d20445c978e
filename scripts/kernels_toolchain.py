"""CUDA compilers for scripts/build-kernels and scripts/check-kernels."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
ARCHITECTURES = ("75", "80", "90a")  # 90a: with wgmma, which no other architecture has
# With -O3, the flags of crates/moss-cuda/build/kernels.rs.
FLAGS = ["-std=c++17", "-lineinfo", f"-I{KERNELS}"]


class Refused(Exception):
    """Messages of a compiler that fails or warns."""


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    output = done.stdout + done.stderr
    if done.returncode != 0 or has_warning(output):
        statistics = re.compile(r"ptxas info|    \d+ bytes")
        lines = [line for line in output.splitlines() if not statistics.match(line)]
        raise Refused("\n".join(lines))
    return output


def has_warning(output):
    return re.search(r"\bwarning( #\S+)? *:", output)


class Nvcc:
    """nvcc from NVCC, CUDA_HOME, CUDA_PATH, then PATH: the order of the build."""

    def __init__(self):
        homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
        found = [shutil.which(f"{home}/bin/nvcc") for home in homes]
        found = [os.environ.get("NVCC"), *found, shutil.which("nvcc")]
        self.path = next(filter(None, found), None)
        if self.path is None:
            hint = 'run `eval "$(scripts/cuda-toolkit)"` to install nvcc and add it to PATH'
            sys.exit(f"error: nvcc not found\nhint: {hint}")
        self.version = re.search(r"release ([\d.]+)", run(self.path, "--version"))[1]

    def compile(self, source, architecture, folder):
        """Returns PTX, machine code, and the report of ptxas."""
        output = folder / f"{source.stem}.cubin"
        flags = ["-O3", *FLAGS, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v"]
        report = run(self.path, *flags, "--keep", "--keep-dir", folder, "-o", output, source)
        return (folder / f"{source.stem}.ptx").read_text(), output.read_bytes(), report


class Nvrtc:
    """CUDA 12.2 or 12.9. PyPI has no nvcc of CUDA 12: NVRTC, the same compiler as a library,
    compiles to PTX, and ptxas to machine code."""

    def __init__(self, version):
        self.version = version
        command = [ROOT / "scripts/cuda-toolkit", "--nvrtc", version]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if printed.returncode != 0:
            sys.exit(printed.returncode)
        packages = Path(printed.stdout.strip())
        self.include = packages / "cuda_runtime/include"
        self.ptxas = packages / "cuda_nvcc/bin/ptxas"
        # Loaded by path: by name, the loader would find the builtins of another loaded version.
        libraries = packages / "cuda_nvrtc/lib"
        ctypes.CDLL(libraries / f"libnvrtc-builtins.so.{version}", ctypes.RTLD_GLOBAL)
        self.nvrtc = ctypes.CDLL(libraries / "libnvrtc.so.12")

    def text_of(self, program, what):
        """Returns the `PTX` or the `ProgramLog` of a program."""
        size = ctypes.c_size_t()
        getattr(self.nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.nvrtc, f"nvrtcGet{what}")(program, text)
        return text.value.decode()

    def compile(self, source, architecture, folder):
        """Returns PTX, machine code, and the report of ptxas."""
        flags = [*FLAGS, f"-I{self.include}", f"--gpu-architecture=compute_{architecture}"]
        flags = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        program = ctypes.c_void_p()
        self.nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None
        )
        try:
            status = self.nvrtc.nvrtcCompileProgram(program, len(flags), flags)
            log = self.text_of(program, "ProgramLog")
            if status != 0 or has_warning(log):
                raise Refused(log)
            ptx = self.text_of(program, "PTX")
        finally:
            self.nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
        (folder / "kernel.ptx").write_text(ptx)
        output = folder / "kernel.cubin"
        flags = ["-O3", "-v", f"-arch=sm_{architecture}"]
        report = run(self.ptxas, *flags, folder / "kernel.ptx", "-o", output)
        return ptx, output.read_bytes(), report
