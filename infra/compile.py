"""Behind `infra/compile.sh`: mypyc makes extension modules of the sources listed here, beside them.

Python imports an extension module in place of the source of its name, also when that source has changed since. So a record
(`compiled.json`) keeps the digest of every source that was compiled, and `streams.runtime.compiled_check` compares.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "infra" / "compiled.json"
LIBRARY = "schemas.compiled"
"""What the modules share is a module, too. It has to be in a package: an editable installation finds nothing else of ours."""
PACKAGES = ("connectors", "schemas", "streams", "tables")
MODULES = (
    "schemas/avro_bytes.py",
    "streams/engine/keys.py",
    "streams/engine/outputs.py",
    "streams/engine/partition.py",
    "streams/engine/partitions.py",
    "streams/engine/table.py",
    "tables/inventory/allocation.py",
    "tables/inventory/atp.py",
    "tables/inventory/item_ledger.py",
    "tables/common/calendars.py",
    "tables/inventory/demand.py",
    "tables/inventory/stock_movements.py",
    "tables/inventory/item_master.py",
    "tables/inventory/demand_line.py",
    "tables/inventory/item_changes.py",
    "tables/common/raise_exception.py",
    "tables/inventory/unconfirmed_shipments.py",
    "tables/inventory/atp_record.py",
    "tables/inventory/site_position.py",
    "tables/inventory/supply.py",
    "tables/inventory/suspect_items.py",
    "tables/inventory/units.py",
)
"""Where the promise's time goes. Not modules that define tables: the engine reads their annotations, which mypyc drops."""


def extensions() -> Iterator[Path]:
    """What was compiled, also of modules that are no longer listed, and by another Python."""
    for suffix in ("so", "pyd"):
        for package in PACKAGES:
            yield from (ROOT / package).rglob(f"*.{suffix}")


def remove() -> None:
    """Back to plain Python."""
    for path in list(extensions()):
        path.unlink()
    RECORD.unlink(missing_ok=True)


def can_build() -> bool:
    """Whether there are a C compiler and this Python's headers."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(compiler) is not None and (Path(sysconfig.get_path("include")) / "Python.h").exists()


def build() -> None:
    """Compile. What was there is removed first, so that a failure leaves plain Python."""
    from mypyc.build import mypycify  # noqa: PLC0415 - takes a second to import
    from setuptools import setup  # noqa: PLC0415 - as does this

    remove()
    digests = {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in MODULES}
    extension_modules = mypycify(
        [*MODULES, "--ignore-missing-imports"], opt_level="3", target_dir=str(ROOT / "build" / "mypyc"), group_name=LIBRARY
    )
    setup(
        name="crossdock-compiled",
        packages=[],
        ext_modules=extension_modules,
        script_args=["--quiet", "build_ext", "--inplace", "--build-temp", str(ROOT / "build" / "mypyc")],
    )
    RECORD.write_text(json.dumps(digests, indent=1))
    print(f"compiled {len(MODULES)} modules; infra/compile.sh --remove goes back to plain Python")


def main() -> int:
    """See `infra/compile.sh`."""
    parser = argparse.ArgumentParser(description="Compile the rules and the engine's inner loop, in place.")
    parser.add_argument("action", choices=("check", "build", "remove"))
    action = parser.parse_args().action
    if action == "check":
        return 0 if can_build() else 1
    build() if action == "build" else remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
