"""The house's laws, read from the source: who may import whom, what mirrors what, how long a thing may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from jaxtyping import TypeCheckError

ROOT = Path(__file__).parents[1]
PACKAGES = ("threestudio_like", "systems", "hydra_plugins")
CODE = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")) + [ROOT / "launch.py"]
MODULES = [file for file in CODE if file.name != "__init__.py"]
TESTS = sorted(file for file in (ROOT / "tests").rglob("test_*.py") if file.parent != ROOT / "tests")

# folder (or module) -> what of ours it may import, besides its own folder
FLOORS = {
    "records": (),
    "files": (),
    "cache": (),
    "ranges": (),
    "markdown": (),
    "scene": (),
    "schedule": (),
    "ops": ("records",),
    "ops/backends": ("records", "ops"),
    "fields": ("records", "ops"),
    "losses": ("records", "ops"),
    "metrics": ("records", "ops", "markdown"),
    "geometry": ("records", "ops", "fields"),
    "material": ("records", "ops", "fields"),
    "background": ("records", "ops", "fields"),
    "priors": ("records", "files", "cache", "ops", "schedule"),
    "data": ("records", "files", "cache", "ops"),
    "renderer": ("records", "scene", "ops", "geometry/base"),
    "guidance": ("records", "ops", "schedule", "losses", "priors/base"),
    "export": ("records", "scene", "files", "ops", "geometry/base"),
    "loggers": ("records", "files", "schedule", "markdown"),
    "run": None,  # everything
    "systems": None,  # everything of the package but run, and of systems only what is shared
    "launch": ("run",),
    "hydra_plugins": ("run",),  # where Hydra finds our sweepers
}
VOCABULARY = ("ranges",)  # for annotations: open to all, as typing is
SHARED = ("systems/base", "systems/lift", "systems/learn", "systems/denoise", "systems/observe")
# third-party package -> the only places that may import it; those that are not here are open to all
DOORS = {
    "numba": ("ops/backends/numba",),
    "triton": ("ops/backends/triton",),
    "nvdiffrast": ("ops/backends/nvdiffrast",),
    "tinycudann": ("ops/backends/tinycudann",),
    "nerfacc": ("ops/backends/nerfacc",),
    "gsplat": ("ops/backends/gsplat",),
    "diffusers": ("priors",),
    "huggingface_hub": ("priors",),
    "transformers": ("priors",),
    "peft": ("priors",),
    "onnxruntime": ("priors",),
    "safetensors": ("priors", "run"),
    "trimesh": ("export", "data"),
    "imageio": ("export", "data", "loggers"),
    "xatlas": ("export",),
    "PIL": ("data", "loggers", "export"),
    "pytorch_lightning": ("systems", "data", "loggers", "run"),
    "lightning_fabric": ("systems", "data", "loggers", "run"),
    "hydra": ("run", "launch", "hydra_plugins"),
    "omegaconf": ("run", "launch", "hydra_plugins"),
    "yaml": ("run",),
    "optuna": ("run",),
    "rich": ("run", "loggers"),
    "viser": ("loggers/viewer",),
    "wandb": ("loggers",),
    "tensorboard": ("loggers",),
    "psutil": ("loggers",),
    "jaxtyping": None,
    "torch": None,
    "numpy": None,
}


def place(file: Path) -> str:
    """`geometry/sdf`, `systems/dreamcraft3d/coarse`, `launch`: a module without the package's name."""
    return str(file.relative_to(ROOT).with_suffix("")).removeprefix("threestudio_like/")


def within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer + "/")


def floor(module: str) -> str:
    """The longest entry of FLOORS that holds it."""
    return max((name for name in FLOORS if within(module, name)), key=len, default="")


@cache
def imports(file: Path) -> list[tuple[int, str]]:
    """Line and dotted name of every import, also inside functions; `from a import b` is a.b if a module."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.append((node.lineno, inner if file_of(inner) else str(node.module)))
    return found


def file_of(dotted: str) -> Path | None:
    """Our source file of a dotted name."""
    path = ROOT / dotted.replace(".", "/")
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").exists() else None


def ours(file: Path) -> Iterator[tuple[int, str]]:
    for line, dotted in imports(file):
        target = file_of(dotted)
        if target is not None:
            yield line, place(target).removesuffix("/__init__")


def allowed(module: str, target: str) -> bool:
    """Whether one place of the house may see another."""
    home, other = floor(module), floor(target)
    if other in VOCABULARY:
        return True
    if home == "systems":
        same_folder = module.count("/") == 2 and within(target, module.rpartition("/")[0])
        return target in SHARED or same_folder if other == "systems" else other not in ("run", "launch")
    if home == other or home == "run":
        return True
    return any(within(target, name) for name in FLOORS[home] or ())


@pytest.mark.parametrize("file", CODE, ids=place)
def test_imports_go_down(file: Path) -> None:
    module = place(file)
    assert floor(module) or file.name == "__init__.py", f"{module}: on no floor"
    for line, target in ours(file):
        assert allowed(module, target), f"{file}:{line}: {module} may not import {target}"


@pytest.mark.parametrize("file", CODE, ids=place)
def test_doors(file: Path) -> None:
    for line, dotted in imports(file):
        package = dotted.split(".")[0]
        if package in sys.stdlib_module_names or package in (*PACKAGES, "launch"):
            continue
        assert package in DOORS, f"{file}:{line}: {package} has no door; name it in DOORS or do without"
        rooms = DOORS[package]
        assert rooms is None or any(within(place(file), room) for room in rooms), f"{file}:{line}: {package}"


def test_no_cycles() -> None:
    graph = {place(file): {target for _, target in ours(file)} for file in CODE}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", CODE + TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_sizes(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 400, f"{file}: split it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 40, f"{file}:{node.lineno}: {node.name} has {length} lines"


def test_launch_can_be_memorised() -> None:
    assert len((ROOT / "launch.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("file", CODE, ids=place)
def test_names(file: Path) -> None:
    for part in file.relative_to(ROOT).with_suffix("").parts:
        assert part not in sys.stdlib_module_names, f"{file}: {part} is a standard module"
        assert part not in ("utils", "common", "misc", "helpers"), f"{file}: what is it about?"
    if file.name == "__init__.py":
        assert not file.read_text(), f"{file}: keep it empty"
    else:
        assert ast.get_docstring(ast.parse(file.read_text())), f"{file}: begin with what it is"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_tests_mirror_the_source(file: Path) -> None:
    folder, name = file.parent.relative_to(ROOT / "tests"), file.name.removeprefix("test_")
    homes = [ROOT / "threestudio_like" / folder, ROOT / folder]
    sources = [home / name for home in homes] + [home / name.removesuffix(".py") for home in homes]
    assert any(source.exists() for source in sources), f"{file}: tests no file of its name"


# what a test of another file covers, and why
TESTED_ELSEWHERE = (
    "ops/backends/",
    "geometry/base",
    "priors/base",
    "records",
    "scene",
    "run/inputs",
    "launch",
    "hydra_plugins/",  # run/sweeper
)


@pytest.mark.parametrize("file", MODULES, ids=place)
def test_every_file_has_a_test(file: Path) -> None:
    module = Path(place(file))
    if str(module).startswith(TESTED_ELSEWHERE):
        return
    assert (ROOT / "tests" / module.parent / f"test_{module.name}.py").exists(), (
        f"{module}: no test of its name"
    )


MEASURED = ("ops", "fields", "geometry", "renderer", "losses", "metrics")


@pytest.mark.parametrize("folder", MEASURED)
def test_half_as_many_lines_test_a_folder_as_it_has(folder: str) -> None:
    lines = [
        sum(len(file.read_text().splitlines()) for file in (home / folder).rglob("*.py"))
        for home in (ROOT / "tests", ROOT / "threestudio_like")
    ]
    assert lines[0] >= 0.5 * lines[1], f"{folder}: {lines[0]} lines of tests for {lines[1]}"


def public(file: Path) -> Iterator[ast.FunctionDef]:
    """Functions and methods by which others use a module; kernels, whose types a compiler finds, are none."""
    for scope in ast.walk(ast.parse(file.read_text())):
        for node in scope.body if isinstance(scope, (ast.Module, ast.ClassDef)) else ():
            shown = isinstance(node, ast.FunctionDef) and (node.name == "__init__" or node.name[0] != "_")
            if shown and "kernel" not in map(ast.unparse, node.decorator_list):
                yield node


def annotations(function: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Of each argument but self, and of what it returns."""
    named = function.args
    every = [*named.posonlyargs, *named.args, *named.kwonlyargs, named.vararg, named.kwarg]
    found = {each.arg: each.annotation for each in every if each is not None}
    return {name: kind for name, kind in found.items() if name not in ("self", "cls")} | {
        "return": function.returns
    }


@pytest.mark.parametrize("file", MODULES, ids=place)
def test_what_is_public_is_annotated(file: Path) -> None:
    for function in public(file):
        bare = [name for name, kind in annotations(function).items() if kind is None]
        assert not bare, f"{file}:{function.lineno}: {function.name}: no annotation of {', '.join(bare)}"


SHAPED = (*MEASURED, "guidance", "material", "background")  # whose tensors say their shapes
ANY_SHAPE = ("like", "where", "x_t", "t", "return")  # of these: samples and moments of any shape, and devices


@pytest.mark.parametrize("file", [file for file in MODULES if place(file).startswith(SHAPED)], ids=place)
def test_tensors_say_their_shapes(file: Path) -> None:
    if "backends" in file.parts:
        return  # what stands in for an op is called through it, and autograd's functions have its signature
    for function in public(file):
        for name, kind in annotations(function).items():
            plain = isinstance(kind, ast.Name) and kind.id == "Tensor"
            assert not plain or name in ANY_SHAPE, f"{file}:{function.lineno}: {function.name}: {name}"


def test_shapes_are_checked_while_tests_run() -> None:
    from threestudio_like.ops.volume import composite

    with pytest.raises(TypeCheckError, match="values"):
        composite(torch.zeros(2, 3), torch.zeros(2, 4, 1))


CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
UNMIRRORED = (
    "config",
    "trainer/",
    "stage/",
    "experiment/",
    "study/",
    "hydra/",
)  # they configure no class of ours
# several configurations of one file
VARIANTS = {
    "schedule/vp_linear": "schedule/vp",
    "schedule/vp_scaled_linear": "schedule/vp",
    "schedule/vp_rectified": "schedule/vp",
    "schedule/ve_overlapping": "schedule/ve",
    "schedule/ve_wide": "schedule/ve",
    "fields/hashgrid_opened": "fields/hashgrid",
    "schedule/ddim": "schedule/samplers",
    "schedule/ancestral": "schedule/samplers",
    "schedule/euler_ancestral": "schedule/samplers",
    "schedule/heun": "schedule/samplers",
    "schedule/annealed_langevin": "schedule/langevin",
    "schedule/annealed_langevin_short": "schedule/langevin",
    "priors/toy": "priors/ncsn",
    "guidance/bsd_pixels": "guidance/bsd",
    "guidance/bsd_small": "guidance/bsd",
    "guidance/cfg_dual": "guidance/cfg",
    "guidance/cfg_perpendicular": "guidance/cfg",
    "guidance/bsd_checkpointed": "guidance/bsd",
    "priors/dreambooth_checkpointed": "priors/dreambooth",
    "priors/perpendicular": "priors/words",
    "priors/stable_diffusion_15": "priors/stable_diffusion",
    "priors/stable_diffusion_xl": "priors/stable_diffusion",
    "priors/zero123_xl": "priors/latent_zero123",
    "priors/marigold_normals": "priors/marigold",
    "priors/stable_zero123": "priors/latent_zero123",
    "viewer/on": "loggers/viewer",
}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.relative_to(ROOT / "configs")))
def test_configs_mirror_the_source(file: Path) -> None:
    name = str(file.relative_to(ROOT / "configs").with_suffix(""))
    if name.startswith(UNMIRRORED):
        return
    target = yaml.safe_load(file.read_text()).get("_target_", "")
    if target and target.split(".")[0] not in PACKAGES:
        return  # Lightning's loggers are its own
    name = VARIANTS.get(name, name)
    package = "" if name.startswith("systems/") else "threestudio_like/"
    assert (ROOT / package / name).with_suffix(".py").exists(), f"configs/{name}.yaml configures no {name}.py"
    module = target.rpartition(".")[0].replace(".", "/")
    assert not target or module == package + name, f"configs/{name}.yaml: _target_ is in {module}.py"


HEAVY = (
    "numba",
    "llvmlite",
    "nvdiffrast",
    "tinycudann",
    "nerfacc",
    "gsplat",
    "onnxruntime",
    "wandb",
)
# these hold the hubs' doors, or Lightning's, which imports transformers where that is installed
BEHIND_DOORS = ("ops/backends", "priors", "export", "data", "systems", "loggers", "run")
HUBS = ("diffusers", "transformers", "peft", "huggingface_hub", "trimesh", "xatlas")
BY_LIGHTNING = ("triton",)  # through torch's compiler, where it is installed


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [(BEHIND_DOORS, HEAVY + HUBS + BY_LIGHTNING), (("ops/backends",), HEAVY)],
)
def test_importing_is_light(rooms: tuple[str, ...], forbidden: tuple[str, ...]) -> None:
    """Accelerators, compilers and networks wait until they are needed; hubs stay behind their doors."""
    files = [file for file in MODULES if not any(within(place(file), room) for room in rooms)]
    names = [str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in files]
    program = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    heavy = [package for package in {forbidden!r} if package in sys.modules]
    assert not heavy, f"importing {{name}} imports {{heavy}}"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
