"""Files of the dashboard as the server gives them, and rules their source must keep."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest

from api.dashboard import pages
from tests.api.conftest import Server

VENDOR = pages.FOLDER / "vendor"
OURS = [path for path in sorted(pages.FOLDER.rglob("*")) if path.suffix in (".js", ".css") and VENDOR not in path.parents]
MAX_TRANSFER = 450_000


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    listed = {entry["file"]: entry["sha256"] for entry in manifest["files"]}
    present = {
        path.relative_to(VENDOR).as_posix(): path for path in VENDOR.rglob("*") if path.is_file() and path.name != "manifest.json"
    }
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in present.items()}
    named = {package["name"] for package in manifest["packages"]}
    assert named == {entry["package"] for entry in manifest["files"]}
    for package in manifest["packages"]:
        assert package["version"]
        assert package["licence"]
        assert any(entry["package"] == package["name"] and entry["file"].startswith("licenses/") for entry in manifest["files"])


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(pages.FOLDER).as_posix())
def test_source_makes_no_markup_from_text(path: Path) -> None:
    source = path.read_text()
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(|new Function|createContextualFragment"
    assert not re.search(banned, source)
    if path.suffix == ".js":
        assert not re.search(r"https?://(?!www\.w3\.org/)", source), "nothing is loaded from elsewhere"
        assert 'style="' not in source, "the content policy refuses inline styles"


@pytest.mark.parametrize(
    "path", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.relative_to(pages.FOLDER).as_posix()
)
def test_imports_name_files_that_are_there(path: Path) -> None:
    for target in re.findall(r'(?:from |import\()"(\.[^"]+)"', path.read_text()):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", ["/", "/login", "/workers", "/studies", "/studies/7", "/studies/a-name/trials/3"])
def test_pages_are_one_public_shell(server: Server, path: str) -> None:
    with server.http("") as http:
        answer = http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert "unsafe" not in policy[0]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(addresses) > 4
    with server.http("") as http:
        assert {http.get(address).status_code for address in addresses} == {200}


def test_static_files_are_compressed_and_kept_for_ever(server: Server) -> None:
    base = pages.static_files().base
    with server.http("") as http:
        plain = http.get(f"{base}/app.css", headers={"Accept-Encoding": "identity"})
        packed = http.get(f"{base}/app.css", headers={"Accept-Encoding": "gzip"})
    assert plain.content == packed.content == (pages.FOLDER / "app.css").read_bytes()
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    for answer in (plain, packed):
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/static/0000000000000000/app.js",
        "{base}/absent.js",
        "{base}/../pages.py",
        "{base}/%2e%2e/pages.py",
        "{base}/..%2fpages.py",
        "{base}//etc/passwd",
        "{base}/vendor/..%5c..%5cpages.py",
        "{base}/app.js%00.css",
        "{base}/",
    ],
)
def test_only_files_of_this_version_are_served(server: Server, path: str) -> None:
    with httpx.Client(trust_env=False, follow_redirects=True) as http:
        answer = http.get(httpx.URL(server.url + path.format(base=pages.static_files().base)))
    assert answer.status_code == 404
    assert "FOLDER" not in answer.text


def test_one_changed_byte_is_another_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for content in ("a", "b"):
        (tmp_path / "app.js").write_text(content)
        monkeypatch.setattr(pages, "FOLDER", tmp_path)
        pages.static_files.cache_clear()
        digests.append(pages.static_files().digest)
    pages.static_files.cache_clear()
    assert digests[0] != digests[1]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: of two colours #rrggbb."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_lines_are_seen_and_have_no_colour_of_a_state() -> None:
    """In each theme; the dark one stands twice, chosen and as the system's."""
    sheet = (pages.FOLDER / "app.css").read_text()
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", sheet)]
    themes = [theme for theme in themes if "series-1" in theme]
    assert len(themes) == 3
    assert themes[1] == themes[2]
    for theme in themes:
        series = [theme[f"series-{place}"] for place in range(1, 7)]
        assert len(set(series)) == 6
        assert not set(series) & {theme[state] for state in ("complete", "running", "pruned", "failed", "waiting")}
        for colour in series:
            assert min(contrast(colour, theme[ground]) for ground in ("background", "raised", "sunken")) >= 3


def test_transferred_size() -> None:
    sent = [file for name, file in pages.static_files().files.items() if name.endswith((".js", ".css", ".svg"))]
    assert sum(len(file.compressed) for file in sent) < MAX_TRANSFER
    assert all(gzip.decompress(file.compressed) == file.content for file in sent)
