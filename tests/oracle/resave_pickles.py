"""Loads the pickles of a folder and saves them again with the installed version of PyTorch.

With PyTorch 1.13.1 the result is the container that the published shards have: without the records
.format_version, .storage_alignment and byteorder.

Usage: resave_pickles.py FOLDER
"""

import glob
import sys

import torch

for path in sorted(glob.glob(sys.argv[1] + "/*.bin")):
    torch.save(torch.load(path, map_location="cpu"), path)
    print(path, "by PyTorch", torch.__version__)
