"""Base images by digest: asks their registry once, writes images.lock, and builds with these digests.

python -m deploy.images lock                 # writes deploy/images.lock; needs a network
python -m deploy.images build flink          # docker build with the digests of images.lock; refuses one that is missing

A publisher can move a tag such as python:3.11-slim-bookworm; a digest identifies the image's content.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIST, LOCK = "images.txt", "images.lock"
HUB = "https://registry-1.docker.io"
"""Registry of names that say none."""
ACCEPTED = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "docker.distribution.manifest.list.v2", "oci.image.manifest.v1")
)
"""Kinds of manifests, that of all platforms first: a digest of one platform would break the others."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TIMEOUT_S = 30.0


class ImageError(RuntimeError):
    """A digest is missing or cannot be found; the text says what to do."""


@dataclass(frozen=True)
class Base:
    """A base image of the Dockerfile."""

    argument: str
    """Build argument that names it."""
    image: str
    """NAME:TAG."""
    targets: frozenset[str]
    """Targets of the Dockerfile that need it."""


def bases(folder: Path = FOLDER) -> list[Base]:
    """Content of images.txt."""
    lines = [line.split() for line in (folder / LIST).read_text().splitlines() if line and not line.startswith("#")]
    named = [(first.partition("="), targets) for first, *targets in lines]
    return [Base(argument, image, frozenset(targets)) for (argument, _, image), targets in named]


def locked(folder: Path = FOLDER) -> dict[str, str]:
    """Image -> digest, as images.lock has it; {} if nobody has written it yet.

    Raises:
        ImageError: a line is not IMAGE@sha256:DIGEST.
    """
    if not (folder / LOCK).exists():
        return {}
    found = {}
    for line in (folder / LOCK).read_text().splitlines():
        image, _, digest = line.partition("@")
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"{LOCK}: {line!r} is not IMAGE@sha256:DIGEST; run `make lock-images`")
        found[image] = digest
    return found


def arguments(target: str, folder: Path = FOLDER) -> list[str]:
    """Options of `docker build` that name the bases of a target by digest.

    Raises:
        ImageError: no such target, or a digest is missing.
    """
    needed = [base for base in bases(folder) if target in base.targets]
    if not needed:
        there = sorted(set().union(*(base.targets for base in bases(folder))))
        raise ImageError(f"no target {target!r}; there are {', '.join(there)}")
    known = locked(folder)
    missing = [base.image for base in needed if base.image not in known]
    if missing:
        raise ImageError(f"deploy/{LOCK} has no digest of {', '.join(missing)}: run `make lock-images` with a network")
    return [f"--build-arg={base.argument}={base.image}@{known[base.image]}" for base in needed]


def digest_of(image: str, registry: str | None = None) -> str:
    """Ask a registry for the current digest of a tag, anonymously (OCI Distribution Specification, pulling manifests).

    Raises:
        ImageError: it cannot be reached, refuses, or answers no digest.
    """
    name, _, tag = image.partition(":")
    host, _, rest = name.partition("/")
    elsewhere = "." in host or ":" in host
    base = registry or (f"https://{host}" if elsewhere else HUB)
    path = rest if elsewhere else name if "/" in name else f"library/{name}"
    url = f"{base}/v2/{path}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": ACCEPTED})  # noqa: S310 - of HUB or the list
    try:
        answer = _open(request)
        digest = answer.get("Docker-Content-Digest", "")
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(f"{image}: the registry gave no digest: {error}") from None
    if not DIGEST.fullmatch(digest):
        raise ImageError(f"{image}: the registry answered {digest!r}, expected sha256:...")
    return digest


def _open(request: urllib.request.Request) -> dict[str, str]:
    """Headers of the answer; asks for an anonymous token first if the registry needs one."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - of HUB or the list
            return dict(answer.headers)
    except urllib.error.HTTPError as error:
        if error.code != 401 or request.has_header("Authorization"):
            raise
        asked = dict(re.findall(r'(\w+)="([^"]*)"', error.headers.get("WWW-Authenticate", "")))
    query = urllib.parse.urlencode({k: v for k, v in asked.items() if k in ("service", "scope")})
    with urllib.request.urlopen(f"{asked['realm']}?{query}", timeout=TIMEOUT_S) as answer:  # noqa: S310 - https, or loopback
        token = json.load(answer)
    request.add_header("Authorization", f"Bearer {token.get('token') or token['access_token']}")
    return _open(request)


def lock(folder: Path = FOLDER, registry: str | None = None) -> None:
    """Write images.lock, all of it or nothing.

    Raises:
        ImageError: see `digest_of`.
    """
    lines = [f"{base.image}@{digest_of(base.image, registry)}\n" for base in bases(folder)]
    (folder / LOCK).write_text("".join(lines))


def main() -> int:
    """Lock or build."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["lock", "build"])
    parser.add_argument("target", nargs="?", default="flink", help="of the Dockerfile")
    parser.add_argument("--version", default="0.1.0", help="tag of the image that is built")
    asked = parser.parse_args()
    try:
        if asked.verb == "lock":
            lock()
            return 0
        named = ["--target", asked.target, "--tag", f"landweave-{asked.target}:{asked.version}"]
        command = ["docker", "build", "--file", "deploy/Dockerfile", *named, *arguments(asked.target), "."]
        return subprocess.run(command, cwd=FOLDER.parent, check=False).returncode  # noqa: S603 - our own command
    except (ImageError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
