"""Fetches the third-party browser files into `static/vendor` and writes their manifest: `python -m api.dashboard.vendor`.

Files come from npm's tarballs (`npm pack`, which checks npm's integrity hash) and are committed, so neither an installation nor a browser
ever asks a CDN. Of ECharts and D3 only the parts that the charts use are kept, put together by esbuild: two thirds of the whole ECharts. A
test compares each committed file with the manifest. Not here: deciding when to update, which is a person's work: change a version below,
run this, read the diff and the licences.
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
    Package(
        name="d3-contour",
        version="4.0.2",
        licence="ISC",
        files={"LICENSE": "licenses/d3-contour.txt"},
        note="d3-contour.js is a bundle of its contours and of what they use of d3-array",
    ),
    Package(
        name="d3-array",
        version="3.2.4",
        licence="ISC",
        files={"LICENSE": "licenses/d3-array.txt"},
        note="licence of code inside d3-contour.js",
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


def echarts_entry() -> str:
    imports = [f'import {{ {", ".join(names)} }} from "echarts/{module}";' for module, names in ECHARTS_PARTS.items()]
    parts = ", ".join(name for names in ECHARTS_PARTS.values() for name in names)
    return "\n".join(['import { init, use } from "echarts/core";', *imports, f"use([{parts}]);", "export { init };"])


def bundle(folder: Path, name: str, entry: str, parts: str) -> dict[str, str]:
    """Put what `entry` takes of the package `name` together as one module; the manifest's entry for it."""
    version = next(package.version for package in PACKAGES if package.name == name)
    target = folder / f"{name}.js"
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "entry.js").write_text(entry)
        (Path(scratch) / "package.json").write_text("{}")
        pinned = [f"{package.name}@{package.version}" for package in PACKAGES if package.name in (name, "d3-array")]
        install = ["npm", "install", "--silent", "--no-audit", *pinned, f"esbuild@{ESBUILD}"]
        subprocess.run(install, check=True, capture_output=True, cwd=scratch)
        options = ["--bundle", "--minify", "--format=esm", "--legal-comments=none", '--define:process.env.NODE_ENV="production"']
        build = ["node_modules/.bin/esbuild", "entry.js", *options, f"--outfile={target}"]
        subprocess.run(build, check=True, capture_output=True, cwd=scratch)
    path = f"bundle of {parts} by esbuild {ESBUILD}"
    return {"file": target.name, "package": name, "version": version, "path": path, "sha256": sha256(target)}


def main() -> None:
    packages = [
        {"name": package.name, "version": package.version, "licence": package.licence, "note": package.note}
        for package in PACKAGES
    ]
    files = [entry for package in PACKAGES for entry in fetch(package, FOLDER)]
    parts = ", ".join(name for names in ECHARTS_PARTS.values() for name in names)
    files.append(bundle(FOLDER, "echarts", echarts_entry(), parts))
    files.append(bundle(FOLDER, "d3-contour", 'export { contours } from "d3-contour";', "contours"))
    (FOLDER / "manifest.json").write_text(json.dumps({"packages": packages, "files": files}, indent=2) + "\n")
    sys.stdout.write(f"{len(files)} files in {FOLDER}\n")


if __name__ == "__main__":
    main()
