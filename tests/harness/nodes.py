"""A flavour's files: its jars downloaded with Maven, laid out as the server wants them, our few classes compiled.

Kept in the cache under a key that changes with everything that goes into it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

from harness import jdk
from harness.flavours import FLAVOURS, Flavour
from harness.missing import MissingError, cached, ran, tool

_JAVA = Path(__file__).parent / "java"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_LAYOUT = 2  # to be raised with every change of this module that changes what lies in the cache
_DESCRIPTOR = """\
description={name}
version={version}
name={name}
java.version={java}
elasticsearch.version={version}
classname={class_name}
"""
_CLASSES = {"transport-netty4": "org.elasticsearch.transport.netty4.Netty4Plugin", "harness": "harness.HarnessPlugin"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """A flavour that lies ready: `home/lib`, `home/modules`, and the Java to start it with."""

    flavour: Flavour
    home: Path
    jdk: jdk.Jdk

    @property
    def launch_flags(self) -> list[str]:
        """What tells the JVM where the classes are, the same in every run, as a class data archive wants it."""
        libraries = sorted((self.home / "lib").glob("*.jar"))
        if self.flavour.server_module:
            path = ["-p", ":".join(map(str, libraries)), "--add-modules", self.flavour.server_module]
            return [*path, "-cp", str(_main_jar(self.home))]
        return ["-cp", ":".join(map(str, [*libraries, _main_jar(self.home)]))]

    @property
    def class_data_archive(self) -> Path:
        """Where the JVM's archive of loaded classes lies once a run has left one; it halves the start."""
        version = hashlib.sha256((self.jdk.home / "release").read_bytes()).hexdigest()[:8]
        return self.home / f"classes-{version}.jsa"


@cache
def _prepared(name: str) -> Distribution | MissingError:
    flavour = FLAVOURS[name]
    try:
        java = jdk.choose(flavour.java)
        home = cached(f"{name}-{_digest(flavour)}", lambda folder: _build(flavour, java, folder))
        return Distribution(flavour, home, java)
    except MissingError as error:
        return error


def prepared(name: str) -> Distribution:
    """Return the flavour's files, downloaded at the first call of all; raise MissingError if they cannot be had."""
    found = _prepared(name)
    if isinstance(found, MissingError):
        raise found
    return found


def _digest(flavour: Flavour) -> str:
    digest = hashlib.sha256(f"{_LAYOUT} {flavour}".encode())
    for folder in (*flavour.sources, *flavour.plugin_sources, *flavour.stub_sources):
        for source in sorted((_JAVA / folder).glob("*.java")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _build(flavour: Flavour, java: jdk.Jdk, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home) as parent:
        jars = Path(parent, "jars")
        _download(flavour, java, jars)
        for jar in sorted(jars.glob("*.jar")):
            for folder in _places(flavour, jar.name):
                target = home / folder
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(jar, target)
    _compile(flavour, java, home, flavour.sources, _main_jar(home))
    modules = [home / "modules" / module for module in flavour.modules]
    if flavour.plugin_sources:
        modules.append(home / "modules" / "harness")
        modules[-1].mkdir()
        _compile(flavour, java, home, flavour.plugin_sources, modules[-1] / "harness.jar")
    if flavour.stub_sources:
        _compile(flavour, java, home, flavour.stub_sources, home / "modules" / "x-pack-security" / "stubs.jar")
    for module in modules:
        (module / "plugin-descriptor.properties").write_text(_descriptor(flavour, module))


def _main_jar(home: Path) -> Path:
    return home / "harness.jar"


def _download(flavour: Flavour, java: jdk.Jdk, jars: Path) -> None:
    pom = jars.with_suffix(".pom")
    pom.write_text(_pom(flavour))
    maven = tool("mvn", "Debian: apt-get install maven")
    ran(
        [maven, "-q", "-B", "-f", pom, _COPY, f"-DoutputDirectory={jars}", "-DincludeScope=runtime"],
        what=f"downloading {flavour.name} with Maven",
        env={"JAVA_HOME": str(java.home)},
    )


def _pom(flavour: Flavour) -> str:
    exclusions = "".join(
        f"<exclusion><groupId>{escape(group)}</groupId><artifactId>*</artifactId></exclusion>"
        for group in flavour.excluded
    )
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>".format(*artifact.split(":"))
        + f"<exclusions>{exclusions}</exclusions></dependency>"
        for artifact in flavour.artifacts
    )
    model = "<modelVersion>4.0.0</modelVersion>"
    name = "<groupId>harness</groupId><artifactId>jars</artifactId><version>1</version>"
    return f"<project>{model}{name}<dependencies>{dependencies}</dependencies></project>\n"


def _places(flavour: Flavour, jar: str) -> list[str]:
    """Return the folders that a jar belongs into: none, the libraries, or one or more modules."""
    if _matches(jar, flavour.unused):
        return []
    named = [module for module, patterns in flavour.modules.items() if _matches(jar, [p for p in patterns if p != "*"])]
    if named:
        return [f"modules/{module}" for module in named]
    rest = [module for module, patterns in flavour.modules.items() if "*" in patterns]
    return [f"modules/{rest[0]}"] if rest and not _matches(jar, flavour.libraries) else ["lib"]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _descriptor(flavour: Flavour, module: Path) -> str:
    """Return what the module's own jar says, without the line that makes it a named module; older ones say nothing."""
    inside = f"META-INF/es-plugins/{module.name}/plugin-descriptor.properties"
    for jar in module.glob("*.jar"):
        with zipfile.ZipFile(jar) as archive:
            if inside in archive.namelist():
                lines = archive.read(inside).decode().splitlines(keepends=True)
                return "".join(line for line in lines if not line.startswith("modulename="))
    version = flavour.artifacts[0].rpartition(":")[2]
    return _DESCRIPTOR.format(name=module.name, version=version, java=flavour.java, class_name=_CLASSES[module.name])


def _compile(flavour: Flavour, java: jdk.Jdk, home: Path, folders: Iterable[str], jar: Path) -> None:
    sources = [source for folder in folders for source in sorted((_JAVA / folder).glob("*.java"))]
    with tempfile.TemporaryDirectory(dir=home) as classes:
        options = ["-nowarn", "-proc:none", "--release", str(flavour.java), "-d", classes, "-cp", f"{home}/lib/*"]
        ran([java.javac, *options, *sources], what=f"compiling for {flavour.name}")
        with zipfile.ZipFile(jar, "w") as archive:
            for file in sorted(Path(classes).rglob("*.class")):
                archive.write(file, file.relative_to(classes))
