"""Every YAML composes and fits its constructor; every experiment would start."""

import copy
import inspect
import pkgutil
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from threestudio_like.data.objects import held_out
from threestudio_like.run.composition import resolved
from threestudio_like.run.errors import UserError
from threestudio_like.run.inputs import in_words
from threestudio_like.run.plan import check_plan
from threestudio_like.run.signatures import check
from threestudio_like.run.stages import check_parts, check_trainer, placed

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = sorted(str(file.relative_to(CONFIGS).with_suffix("")) for file in CONFIGS.rglob("*.yaml"))
EXPERIMENTS = [name.removeprefix("experiment/") for name in NAMES if name.startswith("experiment/")]
OTHERS = ("experiment/", "config", "stage/", "study/", "hydra/")  # no parts
PARTS = [name for name in NAMES if not name.startswith(OTHERS)]
STUDIES = [name.removeprefix("study/") for name in NAMES if name.startswith("study/")]
ROOT = {
    "image": None,
    "object": None,
    "dataset": None,
    "prompt": "a cup",
    "seed": 0,
    "elevation": 0.0,
    "outputs": "outputs",
}


@pytest.fixture(autouse=True)
def composing() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def without_missing(tree: Any) -> Any:
    """Without what a stage or an experiment still has to say."""
    if isinstance(tree, dict):
        return {name: without_missing(value) for name, value in tree.items() if value != "???"}
    return [without_missing(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("name", PARTS)
def test_fits_its_constructor(name: str) -> None:
    part = composed(name)
    said = without_missing(part)
    if part != said:  # only what is said can be checked: as for a part that is called later with the rest
        said["_partial_"] = True
    if name.startswith("trainer/"):
        check_trainer(placed(said, Path()), name)
    elif name.startswith("loggers/"):
        check(placed({"logger": {"part": said}}, Path())["logger"], name)
    else:
        check(said, name)


@pytest.mark.parametrize("name", PARTS)
def test_constructors_take_keywords(name: str) -> None:
    for target in set(targets(composed(name))):
        made = pkgutil.resolve_name(target)
        if target.startswith(("threestudio_like.", "systems.")) and not issubclass_of_tuple(made):
            kinds = {parameter.kind for parameter in inspect.signature(made).parameters.values()}
            assert inspect.isfunction(made) or inspect.Parameter.POSITIONAL_OR_KEYWORD not in kinds, target


def issubclass_of_tuple(made: Any) -> bool:
    """Records are NamedTuples, whose constructors Python writes."""
    return inspect.isclass(made) and issubclass(made, tuple)


def targets(tree: Any) -> Iterator[str]:
    """Every `_target_` in a tree."""
    if isinstance(tree, dict):
        yield from [tree["_target_"]] if "_target_" in tree else []
        for value in tree.values():
            yield from targets(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from targets(value)


def composed(name: str) -> dict[str, Any]:
    """`systems/dreamcraft3d/coarse` as the option dreamcraft3d/coarse of the group systems."""
    group, _, option = name.partition("/")
    config = hydra.compose(overrides=[f"+{group}@part={option}"])
    tree = OmegaConf.to_container(OmegaConf.merge(ROOT, config), resolve=True)
    assert isinstance(tree, dict)
    return tree["part"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_would_start_and_not_with_a_mistake_in_it(name: str) -> None:
    would_start_unless_wrong(name, tries=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_mistake_goes_unseen(name: str) -> None:
    would_start_unless_wrong(name, tries=20)


def would_start_unless_wrong(name: str, *, tries: int) -> None:
    """As it is; and not with a setting, any by chance, that is misspelt, missing or of another kind."""
    config = hydra.compose("config", overrides=[f"experiment={name}"])
    assert isinstance(config, DictConfig)
    tree, chance = resolved(config), random.Random(name)
    check_plan(tree)
    check_parts(tree)
    for spoil in (misspell, remove, retype) * tries:
        spoiled = copy.deepcopy(tree)
        part, setting = chance.choice(list(settings(spoiled["stages"])))
        spoil(part, setting, chance)
        with pytest.raises(UserError, match=r"^[^\n]+$"):
            check_plan(spoiled)
            check_parts(spoiled)
            pytest.fail(f"{spoil.__name__} {setting} of {part['_target_']} was not seen")


def settings(tree: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """What our parts must be told, with the part; and the names of losses."""
    if not isinstance(tree, dict):
        return
    if tree.get("_target_", "").startswith(("threestudio_like.", "systems.")) and "_partial_" not in tree:
        for name, parameter in inspect.signature(pkgutil.resolve_name(tree["_target_"])).parameters.items():
            if parameter.default is parameter.empty and tree.get(name) is not None:
                yield tree, name
    for value in tree.values():
        yield from settings(value)


def misspell(part: dict[str, Any], setting: str, chance: random.Random) -> None:
    """With a letter twice."""
    place = chance.randrange(len(setting))
    part[setting[:place] + setting[place] + setting[place:]] = part.pop(setting)


def remove(part: dict[str, Any], setting: str, chance: random.Random) -> None:
    """Without it."""
    del part[setting]


def retype(part: dict[str, Any], setting: str, chance: random.Random) -> None:
    """Words for what is no word, a number for words."""
    part[setting] = 3 if isinstance(part[setting], str) else chance.choice(["much", [["much"]], float("nan")])


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_asks_of_experiments_that_are_there_about_objects_nobody_trained_on(name: str) -> None:
    config = hydra.compose("config", overrides=[f"study={name}"], return_hydra_config=True)
    asked = {key: value for key, value in config.hydra.sweeper.params.items() if value is not None}
    for thing in asked["object" if "object" in asked else "image"].split(","):
        assert held_out(in_words(Path(thing).stem)), thing
    parser = OverridesParser.create()
    given = parser.parse_overrides([f"{key}={value}" for key, value in asked.items()])
    (jobs,) = BasicSweeper.split_arguments(given, max_batch_size=None)  # as a grid takes them
    named = {dict(word.split("=") for word in job)["experiment"] for job in jobs}
    assert named <= set(EXPERIMENTS) and len(jobs) > 5
    if name == "ablations":
        assert {each for each in EXPERIMENTS if each.startswith("dreamcraft3d/study/")} < named
    assert config.resume == "auto" and config.hydra.mode.name == "MULTIRUN"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("hydra/")])
def test_sweepers_and_launchers_fit(name: str) -> None:
    group, option = name.rsplit("/", 1)
    try:
        config = hydra.compose("config", overrides=[f"{group}={option}"], return_hydra_config=True)
    except MissingConfigException as error:
        pytest.skip(f"its package is not installed ({str(error).splitlines()[0]})")
    node = OmegaConf.select(config, group.replace("/", "."))
    tree = OmegaConf.to_container(node)
    check(placed({"logger": tree.get("loggers", {})}, Path())["logger"], name)
    check({**tree, "loggers": {}} if "loggers" in tree else tree, name)
    assert node._target_.startswith("hydra_plugins.")


def test_cues_of_the_picture_need_no_path() -> None:
    config = hydra.compose("config", overrides=["+priors@stages.coarse.data.cues=cues"])
    check_parts(resolved(config))
    assert config.stages.coarse.data.cues.weights == "cues"


SCORE = ("train/smld", "train/smld_toy", "compare/score")
LADDERS = ("ve", "ve_wide", "ve_overlapping")
SAMPLERS = ("annealed_langevin", "annealed_langevin_short", "langevin")
SAMPLERS += ("ddim", "ancestral", "euler_ancestral", "heun")


@pytest.mark.parametrize("experiment", SCORE)
@pytest.mark.parametrize(
    "swap", [f"prior.ladder={name}" for name in LADDERS] + [f"evaluation.sampler={name}" for name in SAMPLERS]
)
def test_score_models_take_every_ladder_and_every_sampler(experiment: str, swap: str) -> None:
    """What a stage sets of its own part must not stay behind when another takes its place."""
    words = [f"experiment={experiment}", f"schedule@stages.smld.system.{swap}"]
    tree = resolved(hydra.compose("config", overrides=words))
    check_plan(tree)
    check_parts(tree)


def test_default_is_an_experiment() -> None:
    assert hydra.compose("config", overrides=[]).stages


@pytest.mark.parametrize("name", ["cpu", "ddp"])
def test_the_same_seed_gives_the_same_gradients(name: str) -> None:
    """On a CPU, threads would else add up what a picked row receives in any order."""
    assert composed(f"trainer/{name}")["deterministic"] is True


@pytest.mark.parametrize(("name", "clip"), [("small", [-1, 1]), ("full", [-1, 1]), ("paper", None)])
def test_bootstrapping_ends_where_its_stage_does(name: str, clip: list[float] | None) -> None:
    """t' and the noise levels have fallen by the last step; pixels, and only pixels, are kept in range."""
    config = hydra.compose("config", overrides=[f"experiment=dreamcraft3d/{name}"])
    stage = resolved(config)["stages"]["texture"]
    guidance, steps = stage["system"]["guidance"]["texture"], stage["trainer"]["max_steps"]
    augment = hydra.utils.instantiate(guidance["augment"])
    assert augment.level(0) == 0.5 and augment.level(steps) == pytest.approx(0.2)
    assert augment.level(steps // 2) == pytest.approx(0.35)
    assert hydra.utils.instantiate(guidance["levels"]).high(steps) == pytest.approx(0.2)
    assert augment.clip == (clip and tuple(clip))
