"""Does what a page says, in a folder prepared as the page expects it: types its commands, runs its Python."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.flow.job import CHECKOUT, Done, forked
from tests.flow.pages import Block, blocks
from tests.flow.recipe_parts import check, documents

_SAVED = re.compile(r"[Ss]ave this as `([^`]+)`")
_SERVERS = re.compile(r"(?:python -m )?landweave (?:browse|serve) (?!.*--static)")
_LOADERS = {"webdataset", "streaming", "litdata", "datasets"}
"""Packages that do not fit beside ours; the formats of `landweave export` that are written with some of them."""
_FORMATS = {"webdataset", "mds", "litdata"}
_PORT = "8080"
"""The port that pages name. Another one is taken, which is free."""


class Reader:
    """Someone who follows a page to its end; servers that the page starts run until then."""

    def __init__(self, page: Path, folder: Path, environment: Mapping[str, str], port: int) -> None:
        self._page, self._folder, self._port = page, folder, str(port)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**environment, "PYTHONPATH": str(CHECKOUT), "PATH": path, "HF_HUB_OFFLINE": "1"}
        self._servers: list[subprocess.Popen[str]] = []
        self._program: list[Block] = []
        self.ran: list[Block] = []
        """Blocks that were run, or checked."""
        self.said: list[str] = []
        """What each command and program printed."""

    def follow(self) -> None:
        """All blocks, in order. Python blocks that follow one another are one program."""
        try:
            for block in blocks(self._page):
                if block.whole or not block.language:
                    continue
                if block.language != "python":
                    self._run_program()
                self._one(block)
                self.ran.append(block)
            self._run_program()
        finally:
            self._stop()

    def _one(self, block: Block) -> None:
        if block.language == "python":
            if self._program and self._needs_loaders(block) != self._needs_loaders(self._program[0]):
                self._run_program()
            self._program.append(block)
        elif block.language == "yaml":
            self._recipe(block)
        else:
            for line in block.lines():
                self._command(block, line.replace(_PORT, self._port))

    def _recipe(self, block: Block) -> None:
        saved = _SAVED.findall(block.before.rpartition("```")[2])
        if saved:
            (self._folder / saved[-1]).write_text(block.body)
            return
        for tree in documents(block.body):
            check(tree, self._folder)

    def _command(self, block: Block, line: str) -> None:
        words = shlex.split(line, comments=True)
        if _SERVERS.match(line):
            self._serve([*_module(words), *(() if "--port" in words else ("--port", "0"))])
            return
        if "export" in words and _FORMATS.intersection(words):
            done = self._process([_loaders(), "-m", *_module(words)])
        elif _operators(line) or not _module(words):
            done = self._process(["bash", "-euo", "pipefail", "-c", line])
        else:
            done = forked(_module(words), self._environment, self._folder)
        self._expect(block, line, done, block.exit)

    def _process(self, words: list[str]) -> Done:
        return subprocess.run(
            words, cwd=self._folder, env=self._environment, text=True, capture_output=True, check=False
        )

    def _serve(self, words: list[str]) -> None:
        line = [sys.executable, "-m", *words]
        server = subprocess.Popen(line, cwd=self._folder, env=self._environment, text=True, stdout=subprocess.PIPE)
        self._servers.append(server)
        assert server.stdout is not None
        said = server.stdout.readline()
        assert "http://127.0.0.1:" in said, f"{self._page.name}: {shlex.join(words)} said {said!r}"
        self.said.append(said)

    def _stop(self) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGINT)
            server.communicate()
        assert {server.returncode for server in self._servers} <= {0, 130}

    def _run_program(self) -> None:
        """Each block stands at its lines of the page, so that an error names them."""
        if not self._program:
            return
        first, code = self._program[0], ""
        for block in self._program:
            code += "\n" * (block.line - code.count("\n")) + block.body
        with tempfile.TemporaryDirectory() as kept:
            path = Path(kept) / f"{self._page.stem}.py"
            path.write_text(code.replace(_PORT, self._port))
            if self._needs_loaders(first):
                done = self._process([_loaders(), str(path)])
            else:
                done = forked([str(path)], self._environment, self._folder)
        self._program = []
        self._expect(first, "its Python", done, 0)

    def _needs_loaders(self, block: Block) -> bool:
        names = {a.name for n in ast.walk(ast.parse(block.body)) if isinstance(n, ast.Import) for a in n.names}
        return bool(_LOADERS & names)

    def _expect(self, block: Block, what: str, done: Done, status: int) -> None:
        assert done.returncode == status, f"{block}: {what}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        self.said.append(done.stdout + done.stderr)


def _module(words: list[str]) -> list[str]:
    """'python -m MODULE ...' and 'landweave ...' as [MODULE, ...]; [] for another command."""
    if words[:2] == ["python", "-m"]:
        return words[2:]
    return words if words[0] == "landweave" else []


def _operators(line: str) -> bool:
    """Whether a line has more than one command, or a file of its output."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    return any(set(word) <= set("|;&<>") for word in lexer)


def _loaders() -> str:
    from benchmarks.loading_venv import make

    return str(make())
