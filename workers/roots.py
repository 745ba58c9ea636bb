"""The folders below which this host reads data sets, and what of them stays closed.

A submitter names the files of a data set, so without this a study could read whatever the worker can. The folders come from the worker's
command line, travel with each assignment, and are asked before a file is opened. Code that the operator has allowed to run is not held
back by this: it reads what the worker's user may read.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from workers.errors import Refused


class DataRoots(BaseModel):
    """`folders` and `closed` are absolute; what lies in one of `closed` is only read where a folder inside of it is named as well."""

    model_config = ConfigDict(frozen=True)

    folders: tuple[Path, ...] = ()
    closed: tuple[Path, ...] = ()

    def locate(self, path: str, field: str) -> Path:
        """Where a path leads, links followed; a relative one from the first folder that has it. Refused unless that is in a folder.

        Hidden files and folders are refused as well: among them lie keys.
        """
        if not self.folders:
            raise Refused(
                f"{field}: this worker reads no files; its operator can name the folder of the data with --data-root DIR."
            )
        roots = [folder.resolve() for folder in self.folders]
        try:
            given = Path(path).expanduser()
            found = [(root / given).resolve() for root in roots]
            place = next((each for each in found if each.exists()), found[0])
        except (OSError, RuntimeError, ValueError):  # a loop of links, an unknown user, a name that no file can have
            raise Refused(f"{field}: {path[:200]!r} is no path that this worker can follow.") from None
        if not any(self._is_open(place, root) for root in roots):
            shown = ", ".join(map(str, self.folders))
            raise Refused(
                f"{field}: {path[:200]} does not lie in a folder that this worker reads data from ({shown}), or is hidden in it;"
                " its operator can name another with --data-root DIR."
            )
        return place

    def _is_open(self, place: Path, root: Path) -> bool:
        if not place.is_relative_to(root) or any(part.startswith(".") for part in place.relative_to(root).parts):
            return False
        closed = [folder.resolve() for folder in self.closed]
        return not any(place.is_relative_to(folder) and not root.is_relative_to(folder) for folder in closed)
