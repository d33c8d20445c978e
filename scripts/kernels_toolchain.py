"""The compilers of CUDA kernels, for scripts/build-kernels and scripts/check-kernels."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
ARCHITECTURES = ("75", "80", "90a")  # sm_90 with what this generation alone has
FLAGS = ["-std=c++17", "-lineinfo", f"-I{KERNELS}"]  # and nvcc's -O3: as in crates/moss-cuda/build/kernels.rs


class Refused(Exception):
    """A compiler's own words about a file that it does not take, or takes with a warning."""


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode != 0 or warns(said):
        raise Refused("\n".join(line for line in said.splitlines() if not re.match("ptxas info|    \\d+ bytes", line)))
    return said


def warns(said):
    return re.search(r"\bwarning( #\S+)? *:", said)


class Nvcc:
    """nvcc by NVCC, CUDA_HOME, CUDA_PATH, then PATH, as the build finds it."""

    def __init__(self):
        homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
        found = [os.environ.get("NVCC")] + [shutil.which(f"{home}/bin/nvcc") for home in homes] + [shutil.which("nvcc")]
        self.path = next(filter(None, found), None)
        if self.path is None:
            sys.exit('error: nvcc is not found\nhint: eval "$(scripts/cuda-toolkit)" puts one on PATH')
        self.version = re.search(r"release ([\d.]+)", run(self.path, "--version"))[1]

    def compile(self, source, architecture, folder):
        """Returns PTX, machine code, and what ptxas reports."""
        output = folder / f"{source.stem}.cubin"
        report = run(self.path, "-O3", *FLAGS, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v", "--keep", "--keep-dir", folder, "-o", output, source)
        return (folder / f"{source.stem}.ptx").read_text(), output.read_bytes(), report


class Nvrtc:
    """CUDA 12.2 or 12.9. Their nvcc is not among the packages: NVRTC, the same compiler as a library, makes PTX, and ptxas machine code."""

    def __init__(self, version):
        self.version = version
        printed = subprocess.run([ROOT / "scripts/cuda-toolkit", "--nvrtc", version], stdout=subprocess.PIPE, text=True)
        if printed.returncode != 0:
            sys.exit(printed.returncode)
        packages = Path(printed.stdout.strip())
        self.include = packages / "cuda_runtime/include"
        self.ptxas = packages / "cuda_nvcc/bin/ptxas"
        # By its path: two versions may be loaded, and the loader would find the first one's builtins by name.
        ctypes.CDLL(packages / f"cuda_nvrtc/lib/libnvrtc-builtins.so.{version}", ctypes.RTLD_GLOBAL)
        self.nvrtc = ctypes.CDLL(packages / "cuda_nvrtc/lib/libnvrtc.so.12")

    def text_of(self, program, what):
        """`what` is PTX or ProgramLog: NVRTC gives the size, then the text."""
        size = ctypes.c_size_t()
        getattr(self.nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.nvrtc, f"nvrtcGet{what}")(program, text)
        return text.value.decode()

    def compile(self, source, architecture, folder):
        """Returns PTX, machine code, and what ptxas reports."""
        flags = [*FLAGS, f"-I{self.include}", f"--gpu-architecture=compute_{architecture}"]
        flags = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        program = ctypes.c_void_p()
        self.nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None)
        try:
            if self.nvrtc.nvrtcCompileProgram(program, len(flags), flags) != 0 or warns(self.text_of(program, "ProgramLog")):
                raise Refused(self.text_of(program, "ProgramLog"))
            ptx = self.text_of(program, "PTX")
        finally:
            self.nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
        (folder / "kernel.ptx").write_text(ptx)
        output = folder / "kernel.cubin"
        report = run(self.ptxas, "-O3", "-v", f"-arch=sm_{architecture}", folder / "kernel.ptx", "-o", output)
        return ptx, output.read_bytes(), report
