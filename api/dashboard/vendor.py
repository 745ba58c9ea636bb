"""Fetches the third-party browser files into `static/vendor` and writes their manifest: `python -m api.dashboard.vendor`.

Files come from npm's tarballs (`npm pack`, which checks npm's integrity hash) and are committed, so neither an installation nor a browser
ever asks a CDN. Of ECharts only the parts that the charts use are kept, put together by esbuild: two thirds of the whole. A test compares each committed file with the manifest. Not here: deciding when to update, which is a person's work:
change a version below, run this, read the diff and the licences.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "vendor"
ESBUILD = "0.28.2"
ECHARTS_PARTS = {
    "charts": ("CustomChart", "LineChart", "ParallelChart", "ScatterChart"),
    "components": (
        "BrushComponent",
        "DataZoomInsideComponent",
        "GridComponent",
        "LegendComponent",
        "MarkLineComponent",
        "ParallelComponent",
        "ToolboxComponent",
        "TooltipComponent",
    ),
    "renderers": ("CanvasRenderer", "SVGRenderer"),
}
"""What the charts use. ECharts complains on the console, and so fails the browser tests, about a part that is missing."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """`files` maps a path inside the tarball to its name in FOLDER."""

    name: str
    version: str
    licence: str
    files: dict[str, str]
    note: str = ""


PACKAGES = (
    Package(
        name="htm",
        version="3.1.1",
        licence="Apache-2.0",
        files={"preact/standalone.module.js": "htm-preact.js", "LICENSE": "licenses/htm.txt"},
        note="the file also contains Preact 10 and its hooks (MIT)",
    ),
    Package(
        name="preact",
        version="10.19.3",
        licence="MIT",
        files={"LICENSE": "licenses/preact.txt"},
        note="licence of the code inside htm-preact.js",
    ),
    Package(
        name="echarts",
        version="6.1.0",
        licence="Apache-2.0",
        files={
            "LICENSE": "licenses/echarts.txt",
            "NOTICE": "licenses/echarts-notice.txt",
            "licenses/LICENSE-d3": "licenses/echarts-d3.txt",
        },
        note="echarts.js is a bundle of parts of it, and also contains zrender (BSD-3-Clause), tslib (0BSD) and parts of d3 (BSD-3-Clause)",
    ),
    Package(
        name="zrender",
        version="6.1.0",
        licence="BSD-3-Clause",
        files={"LICENSE": "licenses/zrender.txt"},
        note="licence of code inside echarts.js",
    ),
    Package(
        name="tslib",
        version="2.3.0",
        licence="0BSD",
        files={"LICENSE.txt": "licenses/tslib.txt"},
        note="licence of code inside echarts.js",
    ),
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(package: Package, folder: Path) -> list[dict[str, str]]:
    """Unpack the named files of one package into `folder`; the manifest's entries for them."""
    entries = []
    with tempfile.TemporaryDirectory() as scratch:
        source = f"{package.name}@{package.version}"
        subprocess.run(["npm", "pack", source, "--silent", "--pack-destination", scratch], check=True, capture_output=True)
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for inside, name in package.files.items():
                member = archive.extractfile(f"package/{inside}")
                if member is None:
                    raise FileNotFoundError(f"{source} has no file {inside}")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with member, target.open("wb") as out:
                    shutil.copyfileobj(member, out)
                entries.append(
                    {"file": name, "package": package.name, "version": package.version, "path": inside, "sha256": sha256(target)}
                )
    return entries


def bundle_echarts(folder: Path) -> dict[str, str]:
    """Put ECHARTS_PARTS together as one module with `init`; the manifest's entry for it."""
    version = next(package.version for package in PACKAGES if package.name == "echarts")
    parts = [name for names in ECHARTS_PARTS.values() for name in names]
    imports = [f'import {{ {", ".join(names)} }} from "echarts/{module}";' for module, names in ECHARTS_PARTS.items()]
    entry = ['import { init, use } from "echarts/core";', *imports, f"use([{', '.join(parts)}]);", "export { init };"]
    target = folder / "echarts.js"
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "entry.js").write_text("\n".join(entry))
        (Path(scratch) / "package.json").write_text("{}")
        install = ["npm", "install", "--silent", "--no-audit", f"echarts@{version}", f"esbuild@{ESBUILD}"]
        subprocess.run(install, check=True, capture_output=True, cwd=scratch)
        options = ["--bundle", "--minify", "--format=esm", "--legal-comments=none", '--define:process.env.NODE_ENV="production"']
        build = ["node_modules/.bin/esbuild", "entry.js", *options, f"--outfile={target}"]
        subprocess.run(build, check=True, capture_output=True, cwd=scratch)
    path = f"bundle of {', '.join(parts)} by esbuild {ESBUILD}"
    return {"file": target.name, "package": "echarts", "version": version, "path": path, "sha256": sha256(target)}


def main() -> None:
    packages = [
        {"name": package.name, "version": package.version, "licence": package.licence, "note": package.note}
        for package in PACKAGES
    ]
    files = [entry for package in PACKAGES for entry in fetch(package, FOLDER)] + [bundle_echarts(FOLDER)]
    (FOLDER / "manifest.json").write_text(json.dumps({"packages": packages, "files": files}, indent=2) + "\n")
    sys.stdout.write(f"{len(files)} files in {FOLDER}\n")


if __name__ == "__main__":
    main()
